/* Preloaded into headwater: counts what it does to the files of one database, and kills it in the middle of one such call.
 *
 * TEAR_DATABASE  the database's path; the files beside it whose names begin with it belong to it
 * TEAR_AT        the call to stop in, from 1; of a write, the first TEAR_KEEP bytes (half of them at most) still happen
 * TEAR_LOG       a file that gets a line for each call: its name, the file's suffix
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

/* Whether to stop in this call. */
static int stops(const char *call, const char *path) {
    const char *database = getenv("TEAR_DATABASE");
    size_t length = database ? strlen(database) : 0;
    if (!length || strncmp(path, database, length) || !strcmp(path + length, ".lock")) return 0;
    long count = atomic_fetch_add(&calls, 1) + 1;
    FILE *log = getenv("TEAR_LOG") ? fopen(getenv("TEAR_LOG"), "a") : NULL;
    if (log) {
        fprintf(log, "%s %s\n", call, path + length);
        fclose(log);
    }
    return count == number("TEAR_AT");
}

static int stops_on(const char *call, int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return stops(call, path);
}

static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static size_t kept(size_t length) {
    size_t keep = (size_t)number("TEAR_KEEP");
    return keep < length / 2 ? keep : length / 2;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define PWRITE(name, offset) \
    ssize_t name(int descriptor, const void *bytes, size_t length, offset at) { \
        if (!stops_on("pwrite", descriptor)) return REAL(name)(descriptor, bytes, length, at); \
        if (REAL(name)(descriptor, bytes, kept(length), at) >= -1) end(); \
        return -1; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int descriptor, const void *bytes, size_t length) {
    if (!stops_on("write", descriptor)) return REAL(write)(descriptor, bytes, length);
    if (REAL(write)(descriptor, bytes, kept(length)) >= -1) end();
    return -1;
}

/* What a process has written outlives it, so nothing is synced: that is for power cuts, and slow. */
#define SYNC(name) \
    int name(int descriptor) { \
        if (stops_on("sync", descriptor)) end(); \
        return 0; \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name, offset) \
    int name(int descriptor, offset length) { \
        if (stops_on("truncate", descriptor)) end(); \
        return REAL(name)(descriptor, length); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define REMOVE(name) \
    int name(const char *path) { \
        if (stops("remove", path)) end(); \
        return REAL(name)(path); \
    }
REMOVE(unlink)
REMOVE(remove)

int rename(const char *from, const char *to) {
    if (stops("rename", from)) end();
    return REAL(rename)(from, to);
}
