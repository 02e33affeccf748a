/* SPDX-License-Identifier: MIT */
/* conformance/wait_cases.c - being woken: by pushes, by due tasks, by wake, by time. */
#include "conformance/cases.h"

#include "base/clock.h"
#include "base/thread.h"
#include "support/patience.h"

#include <stdatomic.h>
#include <stdio.h>

/* An intake with somebody who listens. */
typedef struct waiter {
    cq_intake *intake;
    _Atomic bool stop;
    pthread_t listener, pusher;
    cq_broker *broker;
    cq_push item;
    int64_t delay_ms, pushed_mono_ns;
    char cancelled[64];
} waiter;

static void note_cancel(cq_str id, void *arg)
{
    waiter *w = arg;

    snprintf(w->cancelled, sizeof w->cancelled, "%.*s", CQ_FMT(id));
}

static void *listen_on(void *arg)
{
    waiter *w = arg;

    while (!w->stop)
        w->intake->ops->listen(w->intake, 10, note_cancel, w, NULL);
    return NULL;
}

static void waiter_init(waiter *w, void **state)
{
    memset(w, 0, sizeof *w);
    w->broker = broker_of(state);
    w->intake = conformance_intake(w->broker, "q low");
    assert_int_equal(cq_thread_start(&w->listener, "listener", listen_on, w, NULL),
                     CRONQ_OK);
}

static void waiter_release(waiter *w)
{
    w->stop = true;
    pthread_join(w->listener, NULL);
    w->intake->ops->intake_close(w->intake);
}

static int64_t wait_for(waiter *w, cq_wait *wait, int64_t most_ms)
{
    int64_t began = cq_mono_ns();

    wait->until_mono_ns = began + most_ms * CQ_NS_PER_MS;
    assert_int_equal(w->intake->ops->wait(w->intake, wait, NULL), CRONQ_OK);
    return (cq_mono_ns() - began) / CQ_NS_PER_MS;
}

static void *push_later(void *arg)
{
    waiter *w = arg;

    cq_sleep_ms(w->delay_ms);
    w->pushed_mono_ns = cq_mono_ns();
    w->broker->ops->push(w->broker, &w->item, 1, w->broker->ops->now_ns(w->broker), NULL);
    return NULL;
}

/* Wait while another thread pushes a task; how long after it the wait ended, in us. */
static int64_t wait_for_push(waiter *w, const char *queue, const char *id)
{
    cq_wait wait;
    int64_t ended;

    w->item = (cq_push){ .queue = cq_str_of(queue),
                         .id = cq_str_of(id),
                         .message = conformance_message(queue, id) };
    w->delay_ms = 30;
    assert_int_equal(cq_thread_start(&w->pusher, "pusher", push_later, w, NULL),
                     CRONQ_OK);
    wait_for(w, &wait, 3000);
    ended = cq_mono_ns();
    pthread_join(w->pusher, NULL);
    assert_int_equal(w->item.status, CRONQ_OK);
    assert_true(wait.work);
    return (ended - w->pushed_mono_ns) / 1000;
}

static void drain(waiter *w)
{
    conformance_exchange x;

    conformance_exchange_init(&x, 7);
    while (conformance_take(&x, w->intake, 2, 10) > 0)
        continue;
    conformance_exchange_release(&x);
}

static void an_empty_wait_ends_with_its_time(void **state)
{
    cq_wait wait;
    int64_t ms;
    waiter w;

    waiter_init(&w, state);
    ms = wait_for(&w, &wait, 300);
    assert_in_range(ms, 295, 300 + 100 * PATIENCE);
    assert_false(wait.work || wait.due || wait.woken);
    waiter_release(&w);
}

static void what_is_pending_ends_a_wait_at_once(void **state)
{
    cq_wait wait;
    waiter w;

    waiter_init(&w, state);
    conformance_push(w.broker, "low", "a");
    assert_in_range(wait_for(&w, &wait, 1000), 0, 500);
    assert_true(wait.work);
    assert_in_range(wait_for(&w, &wait, 1000), 0, 500);
    assert_true(wait.work);
    waiter_release(&w);
}

static void a_push_wakes_within_milliseconds(void **state)
{
    int64_t us, total = 0;
    cq_wait wait;
    char id[16];
    waiter w;

    waiter_init(&w, state);
    wait_for(&w, &wait, 100); /* until somebody listens */
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof id, "t%d", i);
        us = wait_for_push(&w, i % 2 ? "low" : "q", id);
        assert_in_range(us, 0, 50000 * PATIENCE);
        total += us;
        drain(&w);
    }
    assert_in_range(total / 10, 0, 10000 * PATIENCE);
    waiter_release(&w);
}

static void a_wake_ends_a_wait_and_is_not_lost(void **state)
{
    cq_wait wait;
    waiter w;

    waiter_init(&w, state);
    w.intake->ops->wake(w.intake);
    assert_in_range(wait_for(&w, &wait, 1000), 0, 500);
    assert_true(wait.woken);
    wait_for(&w, &wait, 50);
    assert_false(wait.woken);
    waiter_release(&w);
}

static void a_due_task_ends_a_wait_just_after_its_second(void **state)
{
    cq_push item = { .kind = CQ_PUSH_LATER, .queue = CQ_STR("q"), .id = CQ_STR("a") };
    conformance_exchange x;
    int64_t now_ns, late_ms;
    cq_wait wait;
    waiter w;

    waiter_init(&w, state);
    wait_for(&w, &wait, 100);
    w.broker->ops->sync_clock(w.broker, NULL);
    item.run_at_ms = (w.broker->ops->now_ns(w.broker) / CQ_NS_PER_S + 1) * CQ_MS_PER_S;
    assert_int_equal(conformance_push_item(w.broker, &item), CRONQ_OK);
    wait_for(&w, &wait, 3000);
    now_ns = w.broker->ops->now_ns(w.broker);
    late_ms = now_ns / CQ_NS_PER_MS - item.run_at_ms;
    assert_true(wait.due);
    assert_in_range(late_ms, 0, 30 * PATIENCE);

    conformance_exchange_init(&x, 7);
    x.exchange.now_ns = now_ns;
    x.exchange.forward = true;
    assert_int_equal(conformance_take(&x, w.intake, 2, 10), 1);
    assert_string_equal(conformance_ids(&x), "a");
    wait_for(&w, &wait, 50);
    assert_false(wait.work || wait.due);
    conformance_exchange_release(&x);
    waiter_release(&w);
}

static void a_paused_queue_is_no_work_until_it_is_resumed(void **state)
{
    const cq_inspect_ops *inspect = broker_of(state)->inspect;
    conformance_exchange x;
    cq_wait wait;
    waiter w;

    waiter_init(&w, state);
    conformance_exchange_init(&x, 7);
    conformance_push(w.broker, "q", "a");
    assert_int_equal(
        inspect->pause(w.broker, CQ_STR("q"), true, CONFORMANCE_NOW_NS, NULL), CRONQ_OK);
    wait_for(&w, &wait, 100);
    assert_false(wait.work);
    assert_int_equal(conformance_take(&x, w.intake, 2, 10), 0);
    assert_int_equal(
        inspect->pause(w.broker, CQ_STR("q"), false, CONFORMANCE_NOW_NS, NULL), CRONQ_OK);
    wait_for(&w, &wait, 1000);
    assert_true(wait.work);
    assert_int_equal(conformance_take(&x, w.intake, 2, 10), 1);
    conformance_exchange_release(&x);
    waiter_release(&w);
}

/* Without a listener the store is looked at every 200 ms. */
static void without_a_listener_work_is_found_by_looking(void **state)
{
    cq_wait wait;
    waiter w;

    waiter_init(&w, state);
    w.stop = true;
    pthread_join(w.listener, NULL);
    w.intake->ops->intake_close(w.intake);
    w.intake = conformance_intake(w.broker, "q low");
    wait_for(&w, &wait, 1);
    assert_in_range(wait_for_push(&w, "q", "a"), 0, 400000 * PATIENCE);
    w.intake->ops->intake_close(w.intake);
}

const conformance_case conformance_wait_cases[] = {
    CONFORMANCE_CASE(an_empty_wait_ends_with_its_time),
    CONFORMANCE_CASE(what_is_pending_ends_a_wait_at_once),
    CONFORMANCE_CASE(a_push_wakes_within_milliseconds),
    CONFORMANCE_CASE(a_wake_ends_a_wait_and_is_not_lost),
    CONFORMANCE_CASE(a_due_task_ends_a_wait_just_after_its_second),
    CONFORMANCE_CASE(a_paused_queue_is_no_work_until_it_is_resumed),
    CONFORMANCE_CASE(without_a_listener_work_is_found_by_looking),
    { 0 },
};
