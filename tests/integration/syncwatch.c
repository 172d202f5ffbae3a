/* Preloaded into a process under test: writes one line to the file descriptor SYNCWATCH_FD for
   every write to and every sync of a file, in the order in which they happen. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static void note(const char *what, int fd) {
    char link[64], path[512], line[640];
    const char *log = getenv("SYNCWATCH_FD");
    if (!log) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return;
    path[size] = 0;
    const char *name = strrchr(path, '/');
    int length = snprintf(line, sizeof line, "%s %s\n", what, name ? name + 1 : path);
    static ssize_t (*real_write)(int, const void *, size_t);
    if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
    if (real_write(atoi(log), line, length) != length) abort();
}

int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    int result = real(fd);
    note("sync", fd);
    return result;
}

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    note("sync", fd);
    return result;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    ssize_t result = real(fd, data, size, at);
    /* The log is filled up with zeros beside the commits, megabytes at once: that is no commit. */
    if (size < 1 << 20) note("write", fd);
    return result;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return pwrite64(fd, data, size, at);
}
