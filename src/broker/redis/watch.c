/* SPDX-License-Identifier: MIT */
/* broker/redis/watch.c - waiting for work. */
#include "broker/redis/redis.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"

#include <stdlib.h>

struct cq_redis_watch {
    cq_event event;
    cq_redis_intake *intake;
};

cronq_status cq_redis_watch_new(cq_redis_intake *intake, cq_redis_watch **out,
                                cronq_error *err)
{
    cq_redis_watch *watch = calloc(1, sizeof *watch);
    cronq_status status;

    if (!watch)
        return cq_fail_nomem(err);
    watch->intake = intake;
    status = cq_event_init(&watch->event, err);
    if (status) {
        free(watch);
        return status;
    }
    *out = watch;
    return CRONQ_OK;
}

void cq_redis_watch_free(cq_redis_watch *watch)
{
    if (!watch)
        return;
    cq_event_release(&watch->event);
    free(watch);
}

cronq_status cq_redis_wait(cq_intake *base, cq_wait *wait, cronq_error *err)
{
    cq_redis_intake *intake = cq_redis_intake_of(base);
    int64_t ms = (wait->until_mono_ns - cq_mono_ns()) / CQ_NS_PER_MS;

    (void)err;
    if (ms < 0)
        ms = 0;
    if (ms > 20)
        ms = 20;
    cq_event_wait(&intake->watch->event, ms);
    wait->woken = cq_event_clear(&intake->watch->event);
    wait->work = wait->due = !wait->woken;
    return CRONQ_OK;
}

void cq_redis_wake(cq_intake *base)
{
    cq_event_set(&cq_redis_intake_of(base)->watch->event);
}

cronq_status cq_redis_listen(cq_intake *base, int64_t timeout_ms, cq_cancel_fn *on_cancel,
                             void *arg, cronq_error *err)
{
    (void)base;
    (void)on_cancel;
    (void)arg;
    (void)err;
    cq_sleep_ms(timeout_ms > 100 ? 100 : timeout_ms);
    return CRONQ_OK;
}
