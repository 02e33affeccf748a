/* SPDX-License-Identifier: MIT */
/* conformance/conformance.c - running the list, and what its cases are made of. */
#include "conformance/cases.h"

#include "base/buf.h"
#include "base/clock.h"
#include "codec/message.h"

#include <stdio.h>
#include <stdlib.h>

cronq_bytes conformance_message(const char *queue, const char *id)
{
    static char ring[64][256];
    static size_t at;
    cq_message message = { .type = CQ_STR("t"),
                           .id = cq_str_of(id),
                           .queue = cq_str_of(queue),
                           .max_retry = 25,
                           .timeout_s = 1800 };
    char *out = ring[at++ % 64];
    cq_buf buf;
    size_t len;

    cq_buf_init(&buf, sizeof ring[0]);
    assert_int_equal(cq_message_encode(&message, &buf, NULL), CRONQ_OK);
    memcpy(out, buf.data, len = buf.len);
    cq_buf_release(&buf);
    return (cronq_bytes){ out, len };
}

cronq_status conformance_push_item(cq_broker *broker, cq_push *item)
{
    cronq_error err = { 0 };

    if (!item->message.data) {
        char queue[64], id[64];

        snprintf(queue, sizeof queue, "%.*s", CQ_FMT(item->queue));
        snprintf(id, sizeof id, "%.*s", CQ_FMT(item->id));
        item->message = conformance_message(queue, id);
    }
    if (broker->ops->push(broker, item, 1, CONFORMANCE_NOW_NS, &err))
        fail_msg("push: %s", err.text);
    return item->status;
}

void conformance_push(cq_broker *broker, const char *queue, const char *id)
{
    cq_push item = { .queue = cq_str_of(queue), .id = cq_str_of(id) };

    assert_int_equal(conformance_push_item(broker, &item), CRONQ_OK);
}

cq_intake *conformance_intake(cq_broker *broker, const char *queues)
{
    cronq_error err = { 0 };
    cq_str names[16];
    cq_intake *intake;
    size_t count = 0;

    while (*queues) {
        size_t len = strcspn(queues, " ");

        names[count++] = (cq_str){ queues, len };
        queues += len + (queues[len] == ' ');
    }
    if (broker->ops->intake_open(broker, names, count, &intake, &err))
        fail_msg("intake_open: %s", err.text);
    return intake;
}

void conformance_exchange_init(conformance_exchange *x, uint32_t fence)
{
    memset(x, 0, sizeof *x);
    cq_arena_init(&x->arena, (size_t)1 << 26);
    x->exchange.fence = fence;
    x->exchange.now_ns = CONFORMANCE_NOW_NS;
    x->exchange.arena = &x->arena;
    x->exchange.wants = x->wants;
}

void conformance_exchange_release(conformance_exchange *x)
{
    cq_arena_release(&x->arena);
}

static void run_exchange(conformance_exchange *x, cq_intake *intake)
{
    cronq_error err = { 0 };

    cq_arena_reset(&x->arena);
    if (!intake->ops->exchange_send(intake, &x->exchange, &err) &&
        !intake->ops->exchange_recv(intake, &x->exchange, &err))
        return;
    fprintf(stderr, "exchange: %s\n", err.text); /* should the intake not be let go of */
    fail_msg("exchange: %s", err.text);
}

size_t conformance_take(conformance_exchange *x, cq_intake *intake, size_t queues,
                        uint32_t budget)
{
    for (uint32_t i = 0; i < queues; i++)
        x->wants[i].queue = i;
    x->exchange.want_count = queues;
    x->exchange.budget = budget;
    x->exchange.outcomes = NULL;
    x->exchange.outcome_count = 0;
    run_exchange(x, intake);
    x->exchange.forward = false;
    return x->exchange.delivery_count;
}

void conformance_settle_all(conformance_exchange *x, cq_intake *intake,
                            cq_outcome *outcomes, size_t count)
{
    x->exchange.budget = 0;
    x->exchange.outcomes = outcomes;
    x->exchange.outcome_count = count;
    run_exchange(x, intake);
}

cronq_status conformance_settle(conformance_exchange *x, cq_intake *intake,
                                cq_outcome *outcome)
{
    conformance_settle_all(x, intake, outcome, 1);
    return outcome->status;
}

cq_outcome conformance_outcome(cq_outcome_kind kind, const char *id, uint32_t fence)
{
    return (cq_outcome){ .kind = kind,
                         .fence = fence,
                         .taken_at_ns = CONFORMANCE_NOW_NS,
                         .id = cq_str_of(id) };
}

cq_queue_counts conformance_counts(cq_broker *broker, const char *queue)
{
    cq_queue_counts counts = { 0 };
    cronq_error err = { 0 };

    if (broker->inspect->counts(broker, cq_str_of(queue), CONFORMANCE_NOW_NS, &counts,
                                &err))
        fail_msg("counts: %s", err.text);
    return counts;
}

const char *conformance_ids(const conformance_exchange *x)
{
    static char text[4096];
    size_t at = 0;

    text[0] = '\0';
    for (size_t i = 0; i < x->exchange.delivery_count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", i ? " " : "",
                               CQ_FMT(x->exchange.deliveries[i].id));
    return text;
}

/* ---- running ---- */

static conformance_store *the_store;

static int set_up(void **state)
{
    const cq_broker_options options = { .lease_ms = CONFORMANCE_LEASE_MS,
                                        .task_check_interval_ms = 200 };

    the_store->wipe(the_store);
    the_store->broker = the_store->open(the_store, &options);
    *state = the_store;
    return 0;
}

static int tear_down(void **state)
{
    conformance_store *store = *state;

    store->broker->ops->free(store->broker);
    return 0;
}

static void add_cases(struct CMUnitTest *tests, size_t *count,
                      const conformance_case *from)
{
    for (; from->run; from++)
        tests[(*count)++] =
            (struct CMUnitTest){ from->name, from->run, set_up, tear_down, NULL };
}

int conformance_run(const char *name, conformance_store *store)
{
    struct CMUnitTest tests[128];
    size_t count = 0;

    the_store = store;
    add_cases(tests, &count, conformance_push_cases);
    add_cases(tests, &count, conformance_exchange_cases);
    add_cases(tests, &count, conformance_lease_cases);
    if (!store->polls)
        add_cases(tests, &count, conformance_wait_cases);
    add_cases(tests, &count, conformance_inspect_cases);
    add_cases(tests, &count, conformance_group_cases);
    add_cases(tests, &count, conformance_archive_cases);
    add_cases(tests, &count, conformance_figure_cases);
    return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}
