/* Preloaded into processes by fault tests (tests/shim.py): moves their wall clock, and makes the file system below a
   folder slow, stale, or one without locks. What it does stands in a file that they share and the test writes. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    double shift_s;     /* of the wall clock */
    int32_t delay_ms;   /* of each call below the folder */
    int32_t error;      /* that each such call fails with; 0: none */
    int32_t lock_error; /* that flock fails with there; 0: none */
    int32_t calls;      /* so far */
    char folder[1000];
};

#define MOST 4096
static char is_below[MOST]; /* of each descriptor */

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static struct control *control(void) {
    static struct control none, *shared;
    if (!shared) {
        const char *name = getenv("FINETOP_TEST_SHIM");
        int file = name ? (int)syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC) : -1;
        void *map = file < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (file >= 0) syscall(SYS_close, file);
        shared = map == MAP_FAILED ? &none : map;
    }
    return shared;
}

static int below(int at, const char *path) {
    const char *folder = control()->folder;
    if (!folder[0] || !path) return 0;
    if (path[0] == '/') return strncmp(path, folder, strlen(folder)) == 0;
    return at >= 0 && at < MOST && is_below[at];
}

static int refused(void) {
    struct control *c = control();
    __atomic_fetch_add(&c->calls, 1, __ATOMIC_RELAXED);
    struct timespec slice = {0, 10000000L};
    for (int32_t slept = 0; slept < c->delay_ms; slept += 10) syscall(SYS_nanosleep, &slice, NULL); /* until set anew */
    if (c->error) errno = c->error;
    return c->error;
}

#define PATH_CALL(kind, failed, name, at, path, args, call)          \
    kind name args {                                                 \
        if (below(at, path) && refused()) return failed;             \
        return REAL(name) call;                                      \
    }
#define FILE_CALL(kind, name, args, call)                            \
    kind name args {                                                 \
        if (file >= 0 && file < MOST && is_below[file] && refused()) return -1; \
        return REAL(name) call;                                      \
    }
#define OPEN_CALL(name, at, args, call)                              \
    int name args {                                                  \
        va_list rest;                                                \
        va_start(rest, flags);                                       \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                \
        int slow = below(at, path);                                  \
        if (slow && refused()) return -1;                            \
        int file = REAL(name) call;                                  \
        if (file >= 0 && file < MOST) is_below[file] = slow;         \
        return file;                                                 \
    }

OPEN_CALL(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN_CALL(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN_CALL(openat, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPEN_CALL(openat64, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))
PATH_CALL(int, -1, stat, AT_FDCWD, path, (const char *path, struct stat *to), (path, to))
PATH_CALL(int, -1, stat64, AT_FDCWD, path, (const char *path, struct stat64 *to), (path, to))
PATH_CALL(int, -1, lstat, AT_FDCWD, path, (const char *path, struct stat *to), (path, to))
PATH_CALL(int, -1, lstat64, AT_FDCWD, path, (const char *path, struct stat64 *to), (path, to))
PATH_CALL(int, -1, fstatat, at, path, (int at, const char *path, struct stat *to, int flags), (at, path, to, flags))
PATH_CALL(int, -1, fstatat64, at, path, (int at, const char *path, struct stat64 *to, int flags), (at, path, to, flags))
PATH_CALL(int, -1, access, AT_FDCWD, path, (const char *path, int mode), (path, mode))
PATH_CALL(int, -1, mkdir, AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
PATH_CALL(int, -1, rename, AT_FDCWD, path, (const char *path, const char *to), (path, to))
PATH_CALL(int, -1, unlink, AT_FDCWD, path, (const char *path), (path))
PATH_CALL(int, -1, unlinkat, at, path, (int at, const char *path, int flags), (at, path, flags))
PATH_CALL(int, -1, rmdir, AT_FDCWD, path, (const char *path), (path))
PATH_CALL(int, -1, chmod, AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
PATH_CALL(DIR *, NULL, opendir, AT_FDCWD, path, (const char *path), (path))
PATH_CALL(ssize_t, -1, readlink, AT_FDCWD, path, (const char *path, char *to, size_t size), (path, to, size))
FILE_CALL(ssize_t, read, (int file, void *to, size_t size), (file, to, size))
FILE_CALL(ssize_t, pread, (int file, void *to, size_t size, off_t at), (file, to, size, at))
FILE_CALL(ssize_t, pread64, (int file, void *to, size_t size, off64_t at), (file, to, size, at))
FILE_CALL(ssize_t, write, (int file, const void *from, size_t size), (file, from, size))
FILE_CALL(int, fsync, (int file), (file))

int flock(int file, int what) {
    if (file >= 0 && file < MOST && is_below[file]) {
        if (refused()) return -1;
        if (control()->lock_error) {
            errno = control()->lock_error;
            return -1;
        }
    }
    return REAL(flock)(file, what);
}

int clock_gettime(clockid_t clock, struct timespec *to) {
    int made = REAL(clock_gettime)(clock, to);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) to->tv_sec += (time_t)control()->shift_s;
    return made;
}

time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict to, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    to->tv_sec = now.tv_sec;
    to->tv_usec = now.tv_nsec / 1000;
    return 0;
}
