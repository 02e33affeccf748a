/* SPDX-License-Identifier: MIT */
/* clock.c - reading time. */
#include "base/clock.h"

#include <errno.h>
#include <time.h>

static int64_t read_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * CQ_NS_PER_S + ts.tv_nsec;
}

int64_t cq_wall_ns(void)
{
    return read_ns(CLOCK_REALTIME);
}

int64_t cq_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

void cq_sleep_ms(int64_t ms)
{
    struct timespec rest = { ms / CQ_MS_PER_S, (long)(ms % CQ_MS_PER_S * CQ_NS_PER_MS) };

    while (ms > 0 && clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, &rest) == EINTR)
        continue;
}

int64_t cq_seconds_down(int64_t ms)
{
    int64_t seconds = ms / CQ_MS_PER_S;

    return ms % CQ_MS_PER_S < 0 ? seconds - 1 : seconds;
}

int64_t cq_seconds_up(int64_t ms)
{
    int64_t seconds = ms / CQ_MS_PER_S;

    return ms % CQ_MS_PER_S > 0 ? seconds + 1 : seconds;
}
