// The sync number TEST_FAIL_AT of a journal fails, or with TEST_FAIL_ANY that of any file or folder; those
// before and behind it do not.
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long syncs;

static int is_due(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    int is_journal = length >= 4 && memcmp(path + length - 4, ".jnl", 4) == 0;
    if (!is_journal && getenv("TEST_FAIL_ANY") == NULL)
        return 0;
    const char *at = getenv("TEST_FAIL_AT");
    return at != NULL && atomic_fetch_add(&syncs, 1) + 1 == atol(at);
}

int fdatasync(int file) {
    if (is_due(file)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, file);
}

int fsync(int file) {
    if (is_due(file)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, file);
}
