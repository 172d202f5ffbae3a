/* Preloaded into a process under test: lets calls on the files of one folder fail, as a full or a
   dying disk does. The process arms and disarms it through the functions at the end (ctypes).

   Of the calls whose kind is in `kinds`, those from number `first` on, `times` of them, fail with
   `error`. With `shorten`, the first of them that writes more than one byte writes half of it
   before, as a disk does that fills up in the middle. With `forget`, a sync that fails takes back
   what was written since the last one that did not, as a system does that drops the pages it could
   not write, says so once, and lets the next sync succeed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, READ = 8, OPEN = 16, NAME = 32 };
enum { GO_ON, FAIL, SHORTEN };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[256];
static int kinds, error_given, shorten, forget;
static long first, times, calls, failures;

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

static int judge(int kind, const char *path, size_t size) {
    int verdict = GO_ON;
    pthread_mutex_lock(&lock);
    if (kinds & kind && strncmp(path, folder, strlen(folder)) == 0) {
        long number = calls++ - first;
        if (number >= 0 && number < times) {
            verdict = shorten && failures == 0 && kind == WRITE && size > 1 ? SHORTEN : FAIL;
            failures++;
            errno = error_given;
        }
    }
    pthread_mutex_unlock(&lock);
    return verdict;
}

static int judge_fd(int kind, int fd, size_t size) {
    if (!(kinds & kind)) return GO_ON;
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return GO_ON;
    path[length] = 0;
    return judge(kind, path, size);
}

/* What stood where something was written that is not synced yet; newest first. */
static struct unsynced {
    struct unsynced *next;
    dev_t device;
    ino_t file;
    off64_t at;
    size_t size;
    char old[];
} *unsynced;

static void remember(int fd, size_t size, off64_t at) {
    REAL(pread64);
    struct stat about;
    if (!kinds || !forget || fstat(fd, &about)) return;
    struct unsynced *one = calloc(1, sizeof *one + size);
    if (!one) abort();
    one->device = about.st_dev, one->file = about.st_ino, one->at = at, one->size = size;
    /* What is behind the end of the file reads as zeros after it has grown. */
    if (real(fd, one->old, size, at) < 0) abort();
    pthread_mutex_lock(&lock);
    one->next = unsynced, unsynced = one;
    pthread_mutex_unlock(&lock);
}

static void settle(int fd, int is_synced) {
    REAL(pwrite64);
    struct stat about;
    if (!forget || fstat(fd, &about)) return;
    pthread_mutex_lock(&lock);
    for (struct unsynced **link = &unsynced; *link;) {
        struct unsynced *one = *link;
        if (one->device != about.st_dev || one->file != about.st_ino) {
            link = &one->next;
            continue;
        }
        if (!is_synced && real(fd, one->old, one->size, one->at) < 0) abort();
        *link = one->next;
        free(one);
    }
    pthread_mutex_unlock(&lock);
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    int verdict = judge_fd(WRITE, fd, size);
    return verdict == FAIL ? -1 : real(fd, data, verdict == SHORTEN ? size / 2 : size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    int verdict = judge_fd(WRITE, fd, size);
    if (verdict == GO_ON) remember(fd, size, at);
    return verdict == FAIL ? -1 : real(fd, data, verdict == SHORTEN ? size / 2 : size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return pwrite64(fd, data, size, at);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
    REAL(pread64);
    return judge_fd(READ, fd, 0) ? -1 : real(fd, data, size, at);
}

ssize_t pread(int fd, void *data, size_t size, off_t at) { return pread64(fd, data, size, at); }

ssize_t read(int fd, void *data, size_t size) {
    REAL(read);
    return judge_fd(READ, fd, 0) ? -1 : real(fd, data, size);
}

int fsync(int fd) {
    REAL(fsync);
    int verdict = judge_fd(SYNC, fd, 0), error = errno;
    settle(fd, verdict == GO_ON);
    errno = error;
    return verdict ? -1 : real(fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    int verdict = judge_fd(SYNC, fd, 0), error = errno;
    settle(fd, verdict == GO_ON);
    errno = error;
    return verdict ? -1 : real(fd);
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    return judge_fd(TRUNCATE, fd, 0) ? -1 : real(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fallocate64(int fd, int mode, off64_t at, off64_t size) {
    REAL(fallocate64);
    return judge_fd(WRITE, fd, 0) ? -1 : real(fd, mode, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size) {
    REAL(posix_fallocate64);
    return judge_fd(WRITE, fd, 0) ? errno : real(fd, at, size);
}

/* Opening to write is refused (a read-only or a full file system); opening to read is not. */
int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    REAL(open64);
    if ((flags & O_ACCMODE) != O_RDONLY && judge(OPEN, path, 0)) return -1;
    return real(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open64(path, flags, mode);
}

int link(const char *from, const char *to) {
    REAL(link);
    return judge(NAME, from, 0) ? -1 : real(from, to);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    REAL(linkat);
    return judge(NAME, from, 0) ? -1 : real(from_fd, from, to_fd, to, flags);
}

int unlink(const char *path) {
    REAL(unlink);
    return judge(NAME, path, 0) ? -1 : real(path);
}

int unlinkat(int fd, const char *path, int flags) {
    REAL(unlinkat);
    return judge(NAME, path, 0) ? -1 : real(fd, path, flags);
}

/* ---- for the process under test ----------------------------------------------------------- */

void diskfault_arm(const char *where, int what, int error, int half, int drop, long from,
                   long count) {
    pthread_mutex_lock(&lock);
    while (unsynced) {
        struct unsynced *one = unsynced;
        unsynced = one->next;
        free(one);
    }
    forget = drop;
    snprintf(folder, sizeof folder, "%s", where);
    kinds = what, error_given = error, shorten = half, first = from, times = count;
    calls = failures = 0;
    pthread_mutex_unlock(&lock);
}

/* Ends it; how many calls failed. */
long diskfault_end(void) {
    pthread_mutex_lock(&lock);
    kinds = 0;
    long found = failures;
    pthread_mutex_unlock(&lock);
    return found;
}

long diskfault_failures(void) { return failures; }
long diskfault_calls(void) { return calls; }
