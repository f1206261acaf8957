/* Preloaded into a process, it lets a chosen system call kill the process, fail or take long, and
 * moves its clocks. What it does stands in a file of 64-bit words that a judge maps as well:
 *   0  kind of call that is hit, a bit per kind (the enum below)
 *   1  at which call of these kinds, counted from 1; 0 for never
 *   2  and at every so many calls after it; 0 for that one alone
 *   3  what happens: 1 killed before the call, 2 killed after it, 3 the call fails, 4 it takes long,
 *      5 nothing happens, and the call says that it did
 *   4  errno of the failure, or the pause in microseconds
 *   5  calls of the chosen kinds so far
 *   6  how often something happened
 *   7  nanoseconds that the wall clock is ahead
 *   8  nanoseconds that the clock since boot is ahead
 *   9  while it is not zero nothing is counted towards the hit
 *   16 and on: calls so far, by kind
 * $FAULTS_FILE is that file, $FAULTS_BELOW the directory whose files count, $FAULTS_ONLY a part of
 * the command line of the processes that are meant, $FAULTS_NEVER of those that are not; the clocks are moved in every process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SYNC, WRITE, TRUNCATE, RENAME, UNLINK, MAP, OPEN, ALLOCATE, MAKE_DIR, KINDS };
enum { WHICH, AT, EVERY, ACTION, DETAIL, SEEN, DONE, WALL_NS, BOOT_NS, HELD, BY_KIND = 16 };
enum { NOTHING, KILL_BEFORE, KILL_AFTER, FAIL, SLOW, LIE };

static _Atomic int64_t *words;
static const char *below;
static int meant;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_FILE"), *only = getenv("FAULTS_ONLY");
    const char *never = getenv("FAULTS_NEVER");
    below = getenv("FAULTS_BELOW");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *map = (void *)syscall(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) return;
    words = map;
    char line[8192] = {0};
    fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
    close(fd);
    for (ssize_t i = 0; i + 1 < got; i++) if (!line[i]) line[i] = ' ';
    meant = below && (!only || strstr(line, only)) && !(never && strstr(line, never));
}

static int is_below(const char *path) { return path && !strncmp(path, below, strlen(below)); }

static int fd_is_below(int fd) {
    char link[64], path[PATH_MAX] = {0};
    if (!words || !meant || fd < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && is_below(path);
}

static int path_is_below(int dir, const char *path) {
    if (!words || !meant || !path) return 0;
    return *path == '/' || dir == AT_FDCWD ? is_below(path) : fd_is_below(dir);
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts a call; returns what is to happen to it. */
static int64_t due(int kind) {
    atomic_fetch_add(&words[BY_KIND + kind], 1);
    if (!(words[WHICH] >> kind & 1) || words[HELD]) return NOTHING;
    int64_t seen = atomic_fetch_add(&words[SEEN], 1) + 1, at = words[AT], every = words[EVERY];
    int hit = at && (seen == at || (every && seen > at && (seen - at) % every == 0));
    if (!hit) return NOTHING;
    atomic_fetch_add(&words[DONE], 1);
    if (words[ACTION] == KILL_BEFORE) die();
    if (words[ACTION] == SLOW) usleep((useconds_t)words[DETAIL]);
    return words[ACTION];
}

#define REAL(name) static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
/* What every call does: maybe fails, is made, maybe is the last one. */
#define AROUND(kind, counts, failed, call) do { \
    int64_t what = (counts) ? due(kind) : NOTHING; \
    if (what == FAIL) { errno = (int)words[DETAIL]; return failed; } \
    if (what == LIE) return 0; \
    __typeof__(call) result = call; \
    if (what == KILL_AFTER) die(); \
    return result; } while (0)

int fsync(int fd) { REAL(fsync); AROUND(SYNC, fd_is_below(fd), -1, real(fd)); }
int fdatasync(int fd) { REAL(fdatasync); AROUND(SYNC, fd_is_below(fd), -1, real(fd)); }
ssize_t write(int fd, const void *from, size_t n) {
    REAL(write); AROUND(WRITE, fd_is_below(fd), -1, real(fd, from, n));
}
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) {
    REAL(pwrite); AROUND(WRITE, fd_is_below(fd), -1, real(fd, from, n, at));
}
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) {
    REAL(pwrite64); AROUND(WRITE, fd_is_below(fd), -1, real(fd, from, n, at));
}
int ftruncate(int fd, off_t n) { REAL(ftruncate); AROUND(TRUNCATE, fd_is_below(fd), -1, real(fd, n)); }
int ftruncate64(int fd, off64_t n) { REAL(ftruncate64); AROUND(TRUNCATE, fd_is_below(fd), -1, real(fd, n)); }
int rename(const char *from, const char *to) {
    REAL(rename); AROUND(RENAME, path_is_below(AT_FDCWD, to), -1, real(from, to));
}
int unlink(const char *path) { REAL(unlink); AROUND(UNLINK, path_is_below(AT_FDCWD, path), -1, real(path)); }
int unlinkat(int dir, const char *path, int flags) {
    REAL(unlinkat); AROUND(UNLINK, path_is_below(dir, path), -1, real(dir, path, flags));
}
int rmdir(const char *path) { REAL(rmdir); AROUND(UNLINK, path_is_below(AT_FDCWD, path), -1, real(path)); }
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir); AROUND(MAKE_DIR, path_is_below(AT_FDCWD, path), -1, real(path, mode));
}
void *mmap(void *at, size_t n, int use, int flags, int fd, off_t from) {
    REAL(mmap); AROUND(MAP, fd_is_below(fd), MAP_FAILED, real(at, n, use, flags, fd, from));
}
void *mmap64(void *at, size_t n, int use, int flags, int fd, off64_t from) {
    REAL(mmap64); AROUND(MAP, fd_is_below(fd), MAP_FAILED, real(at, n, use, flags, fd, from));
}
int open(const char *path, int flags, ...) {
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more);
    REAL(open); AROUND(OPEN, path_is_below(AT_FDCWD, path), -1, real(path, flags, mode));
}
int open64(const char *path, int flags, ...) {
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more);
    REAL(open64); AROUND(OPEN, path_is_below(AT_FDCWD, path), -1, real(path, flags, mode));
}
/* These two return the error in place of setting errno. */
int posix_fallocate(int fd, off_t from, off_t n) {
    REAL(posix_fallocate); AROUND(ALLOCATE, fd_is_below(fd), (int)words[DETAIL], real(fd, from, n));
}
int posix_fallocate64(int fd, off64_t from, off64_t n) {
    REAL(posix_fallocate64);
    AROUND(ALLOCATE, fd_is_below(fd), (int)words[DETAIL], real(fd, from, n));
}

static void ahead(struct timespec *now, int64_t ns) {
    int64_t all = (int64_t)now->tv_nsec + ns % 1000000000;
    now->tv_sec += ns / 1000000000 + all / 1000000000 - (all < 0 && all % 1000000000 != 0);
    now->tv_nsec = (all % 1000000000 + 1000000000) % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int code = real(clock, now);
    if (code || !words) return code;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) ahead(now, words[WALL_NS]);
    if (clock == CLOCK_BOOTTIME) ahead(now, words[BOOT_NS]);
    return 0;
}
int gettimeofday(struct timeval *now, void *zone) {
    (void)zone;
    struct timespec exact;
    int code = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return code;
}
time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
