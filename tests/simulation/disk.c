/* Preloaded into the simulator: tells it of every operation that changes a file below one folder,
   before it happens, so that it knows what a power loss may take back. It may let an operation
   fail. Everything else passes through. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { OPENED, CLOSED, WRITE, TRUNCATE, SYNC, UNLINK, LINK, RENAME };

/* 0 lets the operation happen; anything else is the errno it fails with. */
typedef int (*watcher)(int what, int fd, const char *path, const char *other, const void *data,
                       long size, long at);

#define FDS 65536
static unsigned char watched[FDS];
static char folder[512];
static size_t folder_size;
static watcher tell;

void weft_disk_watch(const char *path, watcher who) {
    tell = 0;
    memset(watched, 0, sizeof watched);
    folder_size = path ? strlen(path) : 0;
    if (folder_size >= sizeof folder) folder_size = 0;
    memcpy(folder, path ? path : "", folder_size);
    tell = who;
}

static int below(const char *path) {
    return tell && folder_size && path && !strncmp(path, folder, folder_size);
}

static int is_watched(int fd) { return tell && fd >= 0 && fd < FDS && watched[fd]; }

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name); real; })
#define ASK(...) do { int error_ = tell(__VA_ARGS__); if (error_) { errno = error_; return -1; } } while (0)

static int opened(int fd, const char *path, int existed) {
    if (fd >= 0 && fd < FDS) {
        watched[fd] = 1;
        int error = tell(OPENED, fd, path, 0, 0, 0, existed);
        if (error) { watched[fd] = 0; REAL(close)(fd); if (!existed) REAL(unlink)(path); errno = error; return -1; }
    }
    return fd;
}

#define OPEN(name)                                                                  \
    int name(const char *path, int flags, ...) {                                    \
        va_list list; va_start(list, flags); mode_t mode = va_arg(list, mode_t); va_end(list); \
        if (!below(path)) return REAL(name)(path, flags, mode);                     \
        int existed = access(path, F_OK) == 0;                                      \
        return opened(REAL(name)(path, flags, mode), path, existed);                \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (is_watched(fd)) { watched[fd] = 0; tell(CLOSED, fd, 0, 0, 0, 0, 0); }
    return REAL(close)(fd);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    if (is_watched(fd)) ASK(WRITE, fd, 0, 0, data, size, at);
    return REAL(pwrite64)(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    if (is_watched(fd)) ASK(WRITE, fd, 0, 0, data, size, at);
    return REAL(pwrite)(fd, data, size, at);
}

ssize_t write(int fd, const void *data, size_t size) {
    if (is_watched(fd)) ASK(WRITE, fd, 0, 0, data, size, lseek(fd, 0, SEEK_CUR));
    return REAL(write)(fd, data, size);
}

int ftruncate64(int fd, off64_t size) {
    if (is_watched(fd)) ASK(TRUNCATE, fd, 0, 0, 0, size, 0);
    return REAL(ftruncate64)(fd, size);
}

int ftruncate(int fd, off_t size) {
    if (is_watched(fd)) ASK(TRUNCATE, fd, 0, 0, 0, size, 0);
    return REAL(ftruncate)(fd, size);
}

int fsync(int fd) {
    if (is_watched(fd)) ASK(SYNC, fd, 0, 0, 0, 0, 0);
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    if (is_watched(fd)) ASK(SYNC, fd, 0, 0, 0, 0, 0);
    return REAL(fdatasync)(fd);
}

int unlink(const char *path) {
    if (below(path)) ASK(UNLINK, -1, path, 0, 0, 0, access(path, F_OK) == 0);
    return REAL(unlink)(path);
}

int link(const char *from, const char *to) {
    if (below(to)) ASK(LINK, -1, from, to, 0, 0, access(to, F_OK) == 0);
    return REAL(link)(from, to);
}

int rename(const char *from, const char *to) {
    if (below(to)) ASK(RENAME, -1, from, to, 0, 0, 0);
    return REAL(rename)(from, to);
}
