/* SPDX-License-Identifier: MIT */
/* active_test.c - what ends leaves the list of active tasks wherever it is in it, and
 * leaves the others there in their order. */
#include "broker/redis/test_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define OURS  60
#define CROWD 1000

/* Take OURS tasks; before and after, others have so many active. */
static void take_ours(redis_bench *b, int before, int after)
{
    char id[16];

    for (int i = 0; i < before; i++)
        redis_server_do(b->server, "LPUSH asynq:{q}:active old-%d", i);
    for (int i = 0; i < OURS; i++) {
        snprintf(id, sizeof id, "%d", i);
        conformance_push(b->broker, "q", id);
    }
    conformance_take(&b->x, b->intake, 1, OURS);
    assert_int_equal(b->x.exchange.delivery_count, OURS);
    for (int i = 0; i < after; i++)
        redis_server_do(b->server, "LPUSH asynq:{q}:active new-%d", i);
}

/* End every step-th of them, from the first on, in one exchange. */
static void end_ours(redis_bench *b, int first, int step)
{
    static cq_outcome done[OURS];
    static char ids[OURS][16];
    size_t count = 0;

    for (int i = first; i < OURS; i += step) {
        snprintf(ids[count], sizeof ids[count], "%d", i);
        done[count] = conformance_outcome(CQ_DONE, ids[count], 7);
        done[count++].taken_at_ns = NOW_NS;
    }
    conformance_settle_all(&b->x, b->intake, done, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(done[i].status, CRONQ_OK);
}

/* The list from the newest on, as the others, ours that are left, the others. */
static void expect_active(redis_bench *b, int before, int after, int first, int step)
{
    redisReply *reply = redis_server_command(b->server, "LRANGE asynq:{q}:active 0 -1");
    size_t at = 0;
    char id[16];

    for (int i = after - 1; i >= 0; i--) {
        snprintf(id, sizeof id, "new-%d", i);
        assert_string_equal(reply->element[at++]->str, id);
    }
    for (int i = OURS - 1; i >= 0; i--) {
        if (i >= first && (i - first) % step == 0)
            continue;
        snprintf(id, sizeof id, "%d", i);
        assert_string_equal(reply->element[at++]->str, id);
    }
    for (int i = before - 1; i >= 0; i--) {
        snprintf(id, sizeof id, "old-%d", i);
        assert_string_equal(reply->element[at++]->str, id);
    }
    assert_int_equal(reply->elements, at);
    freeReplyObject(reply);
}

static void what_ends_leaves_the_list_wherever_it_is(void **state)
{
    static const struct {
        int before, after, first, step;
    } rows[] = {
        { 0, 0, 0, 1 },         /* all, at the tail */
        { 0, 0, 0, 2 },         /* every other one */
        { 0, 0, 3, 1 },         /* all but the oldest */
        { 0, 20, 0, 1 },        /* at the tail, beside newer ones */
        { CROWD, 0, 0, 1 },     /* at the head of many */
        { CROWD, 30, 0, 2 },    /* near the head, every other one */
        { CROWD, CROWD, 0, 1 }, /* far from either end */
        { CROWD, 0, 50, 1 },    /* few */
    };
    redis_bench *b = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        redis_server_do(b->server, "FLUSHALL");
        take_ours(b, rows[i].before, rows[i].after);
        end_ours(b, rows[i].first, rows[i].step);
        expect_active(b, rows[i].before, rows[i].after, rows[i].first, rows[i].step);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REDIS_CASE(what_ends_leaves_the_list_wherever_it_is),
    };

    return REDIS_RUN(tests);
}
