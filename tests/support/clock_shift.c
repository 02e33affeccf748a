/* SPDX-License-Identifier: MIT */
/* support/clock_shift.c - preloaded into a program, sets its wall clock off by the
 * milliseconds of CLOCK_SHIFT_MS. The monotonic clock stays. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static struct timespec shifted(void)
{
    const char *text = getenv("CLOCK_SHIFT_MS");
    long long shift_ms = text ? atoll(text) : 0, ns;
    struct timespec now;

    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    ns = now.tv_nsec + shift_ms % 1000 * 1000000;
    now.tv_sec += shift_ms / 1000 + (ns < 0 ? -1 : ns / 1000000000);
    now.tv_nsec = ns < 0 ? ns + 1000000000 : ns % 1000000000;
    return now;
}

EXPORT int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now = shifted();

    (void)zone;
    *out = (struct timeval){ now.tv_sec, now.tv_nsec / 1000 };
    return 0;
}

EXPORT time_t time(time_t *out)
{
    struct timespec now = shifted();

    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *out)
{
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
        return (int)syscall(SYS_clock_gettime, clock, out);
    *out = shifted();
    return 0;
}
