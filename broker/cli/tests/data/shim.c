/* Loaded before the C library of a broker (LD_PRELOAD), to do to it what happens to processes and what a test cannot
   do from outside: its wall clock is set, one of its threads hangs, one of its threads fails.

   The test writes to the file that SHIM_CONTROL names; it is mapped here. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct control {
    volatile int64_t wall_seconds; /* added to the wall clock */
    volatile int64_t hangs;        /* while it is not 0, worker 0 hangs */
    volatile int64_t fails;        /* the steady clock fails worker 0 once: at 1 anywhere, at 2 after it has read */
} *control;

__attribute__((constructor)) static void map(void) {
    const char *path = getenv("SHIM_CONTROL");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) control = mapped;
}

static int is_worker(void) {
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    return strcmp(name, "worker-0") == 0;
}

/* What reads from a socket is a connection's task, and so is what asks for the time next. */
static __thread int has_read;

ssize_t recv(int socket, void *buffer, size_t size, int flags) {
    ssize_t count = syscall(SYS_recvfrom, socket, buffer, size, flags, NULL, NULL);
    if (count > 0) has_read = 1;
    return count;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (control && control->fails && clock == CLOCK_MONOTONIC && is_worker() && (control->fails == 1 || has_read)) {
        control->fails = 0;
        errno = EINVAL;
        return -1;
    }
    has_read = 0;
    int result = syscall(SYS_clock_gettime, clock, now);
    if (control && result == 0 && clock == CLOCK_REALTIME) now->tv_sec += control->wall_seconds;
    return result;
}

int epoll_wait(int poll, struct epoll_event *events, int max, int timeout) {
    struct timespec moment = {0, 1000000};
    while (control && control->hangs && is_worker()) syscall(SYS_nanosleep, &moment, NULL);
    return syscall(SYS_epoll_pwait, poll, events, max, timeout, NULL, 8);
}
