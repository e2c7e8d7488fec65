// Notes what would be there after a power cut: the folder TEST_SHADOW, beside the store, gets of
// each file of the store what was in it when it was last synced, under the name that it has now.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH 4096

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

// Where the shadow of a file of the store is; 0 for other files. TEST_STORE is the store.
static int shadow_of(const char *path, char *shadow) {
    const char *store = getenv("TEST_STORE"), *folder = getenv("TEST_SHADOW");
    if (store == NULL || folder == NULL || strncmp(path, store, strlen(store)) != 0)
        return 0;
    return snprintf(shadow, PATH, "%s%s", folder, path + strlen(store)) < PATH;
}

static void make_folders(char *path) {
    for (char *at = path + 1; *at != 0; at++) {
        if (*at == '/') {
            *at = 0;
            mkdir(path, 0700);
            *at = '/';
        }
    }
}

// Only what differs is written: most of a journal is as it was, and its end is a hole.
static void copy(int from, const char *path) {
    static char bytes[1 << 16], there[1 << 16];
    struct stat now;
    int to = open(path, O_RDWR | O_CREAT, 0600);
    if (to < 0 || fstat(from, &now) != 0 || ftruncate(to, now.st_size) != 0)
        abort();
    // A file that was opened for appending cannot be read by its own descriptor.
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", from);
    int source = open(link, O_RDONLY);
    off_t at = 0;
    while (source >= 0 && (at = lseek(source, at, SEEK_DATA)) >= 0) {
        ssize_t length = pread(source, bytes, sizeof bytes, at);
        if (length <= 0)
            break;
        if (pread(to, there, length, at) != length || memcmp(bytes, there, length) != 0)
            if (pwrite(to, bytes, length, at) != length)
                abort();
        at += length;
    }
    close(source);
    close(to);
}

// The names in a folder hold once it is synced; what is in the files is another matter.
static void note_names(const char *folder, const char *shadow) {
    char path[2 * PATH];
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        if (entry->d_type != DT_REG)
            continue;
        snprintf(path, sizeof path, "%s/%s", shadow, entry->d_name);
        make_folders(path);
        close(open(path, O_WRONLY | O_CREAT, 0600));
    }
    if (entries != NULL)
        closedir(entries);
}

static void note(int file) {
    char link[64], path[PATH], shadow[PATH];
    struct stat now;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 2);
    if (length <= 0 || fstat(file, &now) != 0)
        return;
    path[length] = 0;
    // The store's own folder is named without the slash that its files have behind it.
    if (S_ISDIR(now.st_mode))
        strcpy(path + length, "/");
    if (!shadow_of(path, shadow))
        return;
    pthread_mutex_lock(&one_at_a_time);
    if (S_ISDIR(now.st_mode)) {
        note_names(path, shadow);
        pthread_mutex_unlock(&one_at_a_time);
        return;
    }
    make_folders(shadow);
    if (length > 4 && strcmp(path + length - 4, ".jnl") == 0) {
        copy(file, shadow);
    } else {
        // Whole or not at all: a kill in the middle is no power cut.
        char whole[PATH + 8];
        snprintf(whole, sizeof whole, "%s.whole", shadow);
        copy(file, whole);
        syscall(SYS_renameat2, AT_FDCWD, whole, AT_FDCWD, shadow, 0);
    }
    pthread_mutex_unlock(&one_at_a_time);
}

int fdatasync(int file) {
    note(file);
    return (int)syscall(SYS_fdatasync, file);
}

int fsync(int file) {
    note(file);
    return (int)syscall(SYS_fsync, file);
}

// The names are those of the moment: any later sync would have brought them to the disk.
int rename(const char *from, const char *to) {
    char shadow_from[PATH], shadow_to[PATH];
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (result == 0 && shadow_of(from, shadow_from) && shadow_of(to, shadow_to)) {
        make_folders(shadow_to);
        syscall(SYS_renameat2, AT_FDCWD, shadow_from, AT_FDCWD, shadow_to, 0);
    }
    return result;
}

int unlink(const char *path) {
    char shadow[PATH];
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (result == 0 && shadow_of(path, shadow))
        syscall(SYS_unlinkat, AT_FDCWD, shadow, 0);
    return result;
}
