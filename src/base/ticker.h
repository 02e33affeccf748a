/* SPDX-License-Identifier: MIT */
/* base/ticker.h - one thread that calls components, each with a name and a period.
 *
 * A component is called first one period after the start, then a period after each call
 * ended. A slow one delays the others: what must not wait gets a ticker of its own. */
#ifndef CQ_BASE_TICKER_H
#define CQ_BASE_TICKER_H

#include <cronq/base.h>

typedef struct cq_component {
    const char *name;
    int64_t period_ms; /* at least 1 */
    void (*tick)(void *arg);
    void *arg;
} cq_component;

typedef struct cq_ticker cq_ticker;

/* The array is copied; names and arguments are borrowed until the stop. */
cronq_status cq_ticker_start(const char *thread_name, const cq_component *components,
                             size_t count, cq_ticker **out, cronq_error *err);

/* Call one component as soon as possible, out of its turn. Any thread. */
void cq_ticker_hurry(cq_ticker *ticker, const char *name);

/* Waits for the call under way, then frees. NULL is fine. */
void cq_ticker_stop(cq_ticker *ticker);

#endif
