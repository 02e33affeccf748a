/* SPDX-License-Identifier: MIT */
/* base/clock.h - reading time.
 *
 * What must not jump uses the monotonic clock; what is written to a store uses the
 * store's clock, which a broker provides (broker/broker.h) as monotonic time plus an
 * offset. */
#ifndef CQ_BASE_CLOCK_H
#define CQ_BASE_CLOCK_H

#include <stdint.h>

#define CQ_NS_PER_MS ((int64_t)1000000)
#define CQ_NS_PER_S  ((int64_t)1000000000)
#define CQ_MS_PER_S  ((int64_t)1000)

/* A period of a server is no longer than this. */
#define CQ_PERIOD_LIMIT_S ((int64_t)366 * 24 * 3600)

/* Nanoseconds since 1970 of this machine's clock, and since some fixed moment. */
int64_t cq_wall_ns(void);
int64_t cq_mono_ns(void);

static inline int64_t cq_mono_ms(void)
{
    return cq_mono_ns() / CQ_NS_PER_MS;
}

void cq_sleep_ms(int64_t ms);

/* The one place where milliseconds become the wire's whole seconds: what is waited for
 * is rounded up, what happened is rounded down. Both saturate and take negatives. */
int64_t cq_seconds_up(int64_t ms);
int64_t cq_seconds_down(int64_t ms);

#endif
