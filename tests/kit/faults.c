/* Faults under a process that knows nothing of them; loaded with LD_PRELOAD.
 *
 * For files below FAULTS_UNDER it counts writes, syncs and truncations, and makes those that the
 * control file (FAULTS_CONTROL, shared memory with the test) names fail, wait, or be the last thing
 * that the process does. It shifts CLOCK_REALTIME. If FAULTS_TRACE names a file, each change of a
 * file that happened is told there. tests/kit/faults.py is the other side: layouts are there too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SYNC, WRITE, TRUNCATE, KINDS };
enum { KILL_BEFORE = -1, KILL_AFTER = -2, KILL_HALFWAY = -3 };

struct rule {
    int64_t seen;     /* calls so far, counted by us */
    int64_t from;     /* the first call it is for, from 1; 0: none */
    int64_t until;    /* the first call it is no longer for */
    int64_t action;   /* an errno, 0 for none, or a way to be killed */
    int64_t delay_ms; /* waited before the call */
    char suffix[24];  /* only files that end so */
};

struct control {
    int64_t clock_offset_ms;
    struct rule rules[KINDS];
};

struct record { /* of the trace; the name and, of a write, the data follow */
    uint32_t kind;
    uint32_t name_bytes;
    int64_t offset; /* of a write; the new length of a truncation */
    int64_t data_bytes;
    int64_t begun_ns; /* CLOCK_MONOTONIC */
};

static struct control nothing, *control = &nothing;
static char under[PATH_MAX];
static size_t under_bytes;
static int trace_fd = -1;
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL"), *where = getenv("FAULTS_UNDER");
    if (path == NULL || where == NULL)
        return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        abort();
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        abort();
    syscall(SYS_close, fd);
    under_bytes = (size_t)snprintf(under, sizeof under, "%s/", where);
    control = mapped;
    if ((path = getenv("FAULTS_TRACE")) != NULL)
        trace_fd = (int)syscall(SYS_openat, AT_FDCWD, path,
                                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int64_t monotonic_ns(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* The name of a file below FAULTS_UNDER, relative to it ("" for itself); NULL for another one. */
static const char *name_of(int fd, char *path) {
    char link[64];
    if (under_bytes == 0)
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size < 0)
        return NULL;
    path[size] = 0;
    if (strncmp(path, under, under_bytes) == 0)
        return path + under_bytes;
    if ((size_t)size == under_bytes - 1 && strncmp(path, under, (size_t)size) == 0)
        return path + size;
    return NULL;
}

static int has_suffix(const char *name, const char *suffix) {
    size_t whole = strlen(name), end = strlen(suffix);
    return whole >= end && strcmp(name + whole - end, suffix) == 0;
}

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;)
        syscall(SYS_sched_yield);
}

/* What is to happen at this call; it has waited by then, and died before it. */
static int64_t verdict(int kind, const char *name) {
    struct rule *rule = &control->rules[kind];
    if (!has_suffix(name, rule->suffix))
        return 0;
    int64_t call = __atomic_add_fetch(&rule->seen, 1, __ATOMIC_SEQ_CST);
    if (rule->from == 0 || call < rule->from || call >= rule->until)
        return 0;
    if (rule->delay_ms > 0) {
        struct timespec span = {rule->delay_ms / 1000, rule->delay_ms % 1000 * 1000000};
        syscall(SYS_nanosleep, &span, NULL);
    }
    if (rule->action == KILL_BEFORE)
        die();
    return rule->action;
}

static void tell(int kind, const char *name, int64_t offset, const void *data, size_t size,
                 int64_t begun_ns) {
    if (trace_fd < 0)
        return;
    struct record record = {(uint32_t)kind, (uint32_t)strlen(name), offset, (int64_t)size, begun_ns};
    struct iovec parts[] = {
        {&record, sizeof record}, {(void *)name, record.name_bytes}, {(void *)data, size}};
    pthread_mutex_lock(&trace_lock);
    if (syscall(SYS_writev, trace_fd, parts, 3) < 0)
        abort();
    pthread_mutex_unlock(&trace_lock);
}

/* Writes. */

static ssize_t write_at(int fd, const void *data, size_t size, int64_t offset, int is_at) {
    char path[PATH_MAX];
    const char *name = name_of(fd, path);
    int64_t action = 0, begun_ns = 0;
    if (name != NULL) {
        action = verdict(WRITE, name);
        begun_ns = monotonic_ns();
        if (action > 0) {
            errno = (int)action;
            return -1;
        }
        if (!is_at)
            offset = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    }
    size_t wanted = action == KILL_HALFWAY ? size / 2 : size;
    ssize_t written = is_at ? syscall(SYS_pwrite64, fd, data, wanted, offset)
                            : syscall(SYS_write, fd, data, wanted);
    if (action < 0)
        die();
    if (name != NULL && written > 0)
        tell(WRITE, name, offset, data, (size_t)written, begun_ns);
    return written;
}

ssize_t write(int fd, const void *data, size_t size) { return write_at(fd, data, size, 0, 0); }

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return write_at(fd, data, size, offset, 1);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return write_at(fd, data, size, offset, 1);
}

/* Syncs and truncations. */

static int changed(int kind, long number, int fd, int64_t length) {
    char path[PATH_MAX];
    const char *name = name_of(fd, path);
    int64_t action = 0, begun_ns = 0;
    if (name != NULL) {
        action = verdict(kind, name);
        begun_ns = monotonic_ns();
        if (action > 0) {
            errno = (int)action;
            return -1;
        }
    }
    long result = syscall(number, fd, length);
    if (action < 0)
        die();
    if (name != NULL && result == 0)
        tell(kind, name, length, NULL, 0, begun_ns);
    return (int)result;
}

int fsync(int fd) { return changed(SYNC, SYS_fsync, fd, 0); }
int fdatasync(int fd) { return changed(SYNC, SYS_fdatasync, fd, 0); }
int ftruncate(int fd, off_t length) { return changed(TRUNCATE, SYS_ftruncate, fd, length); }
int ftruncate64(int fd, off64_t length) { return changed(TRUNCATE, SYS_ftruncate, fd, length); }

/* The wall clock. */

static void shift(time_t *s, long *ns) {
    int64_t total = *s * 1000LL + control->clock_offset_ms;
    *s = (time_t)(total / 1000);
    *ns += (long)(total % 1000) * 1000000;
    if (*ns >= 1000000000) {
        *ns -= 1000000000;
        ++*s;
    }
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        shift(&now->tv_sec, &now->tv_nsec);
    return (int)result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    long result = syscall(SYS_gettimeofday, now, zone);
    if (result == 0) {
        long ns = now->tv_usec * 1000;
        shift(&now->tv_sec, &ns);
        now->tv_usec = ns / 1000;
    }
    return (int)result;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now != NULL)
        *now = exact.tv_sec;
    return exact.tv_sec;
}
