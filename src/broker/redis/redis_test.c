/* SPDX-License-Identifier: MIT */
/* broker/redis/redis_test.c - what only a Redis can do to its broker: forget scripts, go
 * away, be full, hold what others wrote. */
#include "broker/redis/test_bench.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cronq_status settle(redis_bench *b, cq_outcome_kind kind, uint32_t queue)
{
    cq_outcome outcome = conformance_outcome(kind, "a", 7);

    outcome.queue = queue;
    outcome.message = conformance_message("q", "a");
    outcome.at_ms = (NOW_S + 9) * CQ_MS_PER_S;
    return conformance_settle(&b->x, b->intake, &outcome);
}

static void send(redis_bench *b, cq_exchange *x, uint32_t budget)
{
    static const cq_want wants[] = { { 0, 0 }, { 1, 0 } };
    cronq_error err = { 0 };

    x->wants = wants;
    x->want_count = 2;
    x->budget = budget;
    if (b->intake->ops->exchange_send(b->intake, x, &err))
        fail_msg("exchange_send: %s", err.text);
}

static cronq_status recv_one(redis_bench *b, cq_exchange *x)
{
    return b->intake->ops->exchange_recv(b->intake, x, NULL);
}

/* ---- scripts ---- */

static void forgotten_scripts_are_loaded_again(void **state)
{
    cq_lease lease = { .queue = CQ_STR("q"), .id = CQ_STR("a"), .fence = 7 };
    redis_bench *b = *state;

    for (int i = 0; i < 3; i++) {
        conformance_push(b->broker, "q", "a");
        redis_server_do(b->server, "SCRIPT FLUSH");
        assert_int_equal(conformance_take(&b->x, b->intake, 2, 10), 1);
        redis_server_do(b->server, "SCRIPT FLUSH");
        assert_int_equal(b->broker->ops->extend(b->broker, &lease, 1, NOW_NS, NULL),
                         CRONQ_OK);
        assert_int_equal(lease.status, CRONQ_OK);
        redis_server_do(b->server, "SCRIPT FLUSH");
        assert_int_equal(settle(b, CQ_DONE, 0), CRONQ_OK);
        redis_server_do(b->server, "SCRIPT FLUSH");
    }
}

static void forgotten_scripts_are_loaded_again_with_two_in_flight(void **state)
{
    redis_bench *b = *state;
    conformance_exchange y;

    conformance_exchange_init(&y, 8);
    conformance_push(b->broker, "q", "a");
    conformance_push(b->broker, "q", "b");
    conformance_take(&b->x, b->intake, 2, 0);
    redis_server_do(b->server, "SCRIPT FLUSH");
    b->x.exchange.forward = true;
    send(b, &b->x.exchange, 1);
    send(b, &y.exchange, 1);
    assert_int_equal(recv_one(b, &b->x.exchange), CRONQ_OK);
    assert_int_equal(recv_one(b, &y.exchange), CRONQ_OK);
    assert_string_equal(conformance_ids(&b->x), "a");
    assert_string_equal(conformance_ids(&y), "b");
    conformance_exchange_release(&y);
}

/* ---- going away ---- */

static void a_lost_connection_loses_no_task(void **state)
{
    cq_delivery *found;
    size_t count;
    redis_bench *b = *state;

    conformance_push(b->broker, "q", "a");
    conformance_take(&b->x, b->intake, 2, 0);
    send(b, &b->x.exchange, 1);
    while (redis_server_int(b->server, "LLEN asynq:{q}:pending") > 0)
        continue;
    redis_server_do(b->server, "CLIENT KILL TYPE normal SKIPME yes");
    if (recv_one(b, &b->x.exchange) == CRONQ_OK)
        return; /* the answer was here before the cut */
    assert_int_equal(
        b->intake->ops->find_leased(b->intake, 7, &b->arena, &found, &count, NULL),
        CRONQ_OK);
    assert_int_equal(count, 1);
    assert_int_equal(settle(b, CQ_DONE, 0), CRONQ_OK);
}

static void nothing_is_in_flight_after_a_failure(void **state)
{
    cq_outcome done = conformance_outcome(CQ_DONE, "a", 7);
    redis_bench *b = *state;
    conformance_exchange y;

    conformance_exchange_init(&y, 8);
    conformance_take(&b->x, b->intake, 2, 0);
    redis_server_pause(b->server);
    b->x.exchange.outcomes = &done;
    b->x.exchange.outcome_count = 1;
    send(b, &b->x.exchange, 1);
    send(b, &y.exchange, 1);
    assert_int_equal(recv_one(b, &b->x.exchange), CRONQ_EIO);
    assert_int_equal(done.status, CRONQ_EIO);
    assert_int_equal(recv_one(b, &y.exchange), CRONQ_EIO);
    redis_server_resume(b->server);
    conformance_push(b->broker, "q", "a");
    b->x.exchange.outcome_count = 0;
    while (b->intake->ops->exchange_send(b->intake, &y.exchange, NULL))
        cq_sleep_ms(20);
    assert_int_equal(recv_one(b, &y.exchange), CRONQ_OK);
    conformance_exchange_release(&y);
}

static void a_restarted_server_is_found_again(void **state)
{
    cq_push item = { .queue = CQ_STR("q"), .id = CQ_STR("b"), .message = CRONQ_LIT("x") };
    redis_bench *b = *state;
    cronq_status status;

    conformance_push(b->broker, "q", "a");
    conformance_take(&b->x, b->intake, 2, 1);
    redis_server_kill(b->server);
    assert_int_equal(b->broker->ops->push(b->broker, &item, 1, NOW_NS, NULL), CRONQ_EIO);
    redis_server_restart(b->server);
    for (int i = 0; i < 500; i++) {
        item.again = true;
        status = b->broker->ops->push(b->broker, &item, 1, NOW_NS, NULL);
        if (!status)
            break;
        cq_sleep_ms(20);
    }
    assert_int_equal(item.status, CRONQ_OK);
    assert_int_equal(redis_server_int(b->server, "SISMEMBER asynq:queues q"), 1);
    for (int i = 0; i < 500; i++) {
        if (!b->intake->ops->exchange_send(b->intake, &b->x.exchange, NULL) &&
            !recv_one(b, &b->x.exchange))
            break;
        cq_sleep_ms(20);
    }
    assert_string_equal(conformance_ids(&b->x), "b");
}

/* ---- full ---- */

static void at_maxmemory_pushes_are_refused_and_workers_go_on(void **state)
{
    cq_lease lease = { .queue = CQ_STR("q"), .id = CQ_STR("a"), .fence = 7 };
    cq_push item = { .queue = CQ_STR("q"), .id = CQ_STR("x") };
    cq_push unique = { .queue = CQ_STR("q"),
                       .id = CQ_STR("y"),
                       .unique_key = CQ_STR("asynq:{q}:unique:t:1"),
                       .unique_ttl_s = 9 };
    redis_bench *b = *state;

    conformance_push(b->broker, "q", "a");
    conformance_push(b->broker, "q", "b");
    redis_server_do(b->server, "CONFIG SET maxmemory 1000");
    assert_int_equal(conformance_push_item(b->broker, &item), CRONQ_EFULL);
    assert_int_equal(conformance_push_item(b->broker, &unique), CRONQ_EFULL);
    assert_int_equal(conformance_take(&b->x, b->intake, 2, 1), 1);
    assert_int_equal(b->broker->ops->extend(b->broker, &lease, 1, NOW_NS, NULL),
                     CRONQ_OK);
    assert_int_equal(lease.status, CRONQ_OK);
    assert_int_equal(b->broker->ops->mark_started(b->broker, &lease, 1, NULL), CRONQ_OK);
    assert_int_equal(settle(b, CQ_RETRY, 0), CRONQ_OK);
    b->x.exchange.now_ns += 10 * CQ_NS_PER_S;
    b->x.exchange.forward = true;
    assert_int_equal(conformance_take(&b->x, b->intake, 2, 10), 2);
    assert_int_equal(settle(b, CQ_ARCHIVE, 0), CRONQ_OK);
    redis_server_do(b->server, "CONFIG SET maxmemory 0");
    assert_int_equal(redis_server_int(b->server, "EXISTS asynq:{q}:t:x asynq:{q}:t:y"
                                                 " asynq:{q}:unique:t:1"),
                     0);
    assert_int_equal(conformance_push_item(b->broker, &unique), CRONQ_OK);
}

/* ---- not now ---- */

/* Nothing is stored, and it is worth coming back. */
static void a_store_that_can_not_write_now_is_come_back_to(void **state)
{
    static const char *const rows[][2] = {
        { "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0" },
        { "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE" },
    };
    redis_bench *b = *state;
    cronq_status status;

    for (size_t i = 0; i < 2; i++) {
        char id[8] = { (char)('a' + i), '\0' };
        cq_push item = { .queue = CQ_STR("q"),
                         .id = cq_str_of(id),
                         .message = CRONQ_LIT("x") };

        conformance_take(&b->x, b->intake, 2, 0);
        redis_server_do(b->server, rows[i][0]);
        status = b->broker->ops->push(b->broker, &item, 1, NOW_NS, NULL);
        assert_int_equal(status, CRONQ_EIO);
        send(b, &b->x.exchange, 1);
        assert_int_equal(recv_one(b, &b->x.exchange), CRONQ_EIO);
        redis_server_do(b->server, rows[i][1]);
        while (b->broker->ops->push(b->broker, &item, 1, NOW_NS, NULL))
            cq_sleep_ms(20);
        assert_int_equal(item.status, CRONQ_OK);
        while (b->intake->ops->exchange_send(b->intake, &b->x.exchange, NULL) ||
               recv_one(b, &b->x.exchange))
            cq_sleep_ms(20);
        assert_string_equal(conformance_ids(&b->x), id);
    }
}

static void a_producer_needs_few_rights(void **state)
{
    cq_push item = { .queue = CQ_STR("q"), .id = CQ_STR("a"), .message = CRONQ_LIT("x") };
    redis_bench *b = *state;
    char uri[128];

    redis_bench_close_broker(b);
    redis_server_do(b->server, "ACL SETUSER p on >pw ~asynq:* -@all +ping +auth +hello "
                               "+evalsha +eval +script|load +sadd +exists +hset +hget "
                               "+lpush +llen +zadd +zcard +scard +set +get");
    snprintf(uri, sizeof uri, "redis-socket://p:pw@%s", redis_server_socket(b->server));
    redis_bench_open_with(b, uri);
    assert_int_equal(b->broker->ops->push(b->broker, &item, 1, NOW_NS, NULL), CRONQ_OK);
    assert_int_equal(item.status, CRONQ_OK);
    item.id = CQ_STR("b");
    redis_server_do(b->server, "ACL SETUSER p -hset");
    assert_int_equal(b->broker->ops->push(b->broker, &item, 1, NOW_NS, NULL), CRONQ_OK);
    assert_int_equal(item.status, CRONQ_EPROTO); /* Redis tells no more within scripts */
}

/* ---- what others wrote ---- */

static void a_broken_queue_does_not_stop_the_others(void **state)
{
    static const char *const parts[] = { "pending", "active", "lease", "paused" };
    cq_outcome outcomes[2];
    redis_bench *b = *state;

    for (size_t i = 0; i < 4; i++) {
        redis_server_do(b->server, "FLUSHALL");
        conformance_push(b->broker, "q", "a");
        conformance_push(b->broker, "r", "a");
        assert_int_equal(conformance_take(&b->x, b->intake, 2, 10), 2);
        redis_server_do(b->server, "DEL asynq:{q}:%s", parts[i]);
        redis_server_do(b->server, "PFADD asynq:{q}:%s x", parts[i]);
        redis_server_do(b->server, "HSET asynq:{q}:t:z msg m state pending");
        freeReplyObject(redis_server_try(b->server, "LPUSH asynq:{q}:pending z"));
        conformance_push(b->broker, "r", "b");
        outcomes[0] = conformance_outcome(CQ_GIVE_BACK, "a", 7);
        outcomes[1] = conformance_outcome(CQ_DONE, "a", 7);
        outcomes[1].queue = 1;
        conformance_settle_all(&b->x, b->intake, outcomes, 2);
        assert_int_equal(outcomes[0].status, i == 3 ? CRONQ_OK : CRONQ_EPROTO);
        assert_int_equal(outcomes[1].status, CRONQ_OK);
        assert_int_equal(conformance_take(&b->x, b->intake, 2, 10), 1);
        assert_string_equal(conformance_ids(&b->x), "b");
    }
}

static void broken_parts_that_an_outcome_needs_are_seen_before_it_is_written(void **state)
{
    static const struct {
        const char *part;
        cq_outcome_kind kind;
    } rows[] = { { "retry", CQ_RETRY },
                 { "archived", CQ_ARCHIVE },
                 { "completed", CQ_COMPLETE } };
    redis_bench *b = *state;

    for (size_t i = 0; i < 3; i++) {
        redis_server_do(b->server, "FLUSHALL");
        conformance_push(b->broker, "q", "a");
        conformance_take(&b->x, b->intake, 2, 10);
        redis_server_do(b->server, "SET asynq:{q}:%s x", rows[i].part);
        assert_int_equal(settle(b, rows[i].kind, 0), CRONQ_EPROTO);
        assert_int_equal(redis_server_int(b->server, "ZCARD asynq:{q}:lease"), 1);
        assert_int_equal(redis_server_int(b->server, "LLEN asynq:{q}:active"), 1);
        redis_server_do(b->server, "DEL asynq:{q}:%s", rows[i].part);
        assert_int_equal(settle(b, rows[i].kind, 0), CRONQ_OK);
    }
}

static void ids_without_a_task_are_dropped(void **state)
{
    redis_bench *b = *state;

    redis_server_do(b->server, "LPUSH asynq:{q}:pending g1 g2");
    conformance_push(b->broker, "q", "a");
    redis_server_do(b->server, "SET asynq:{q}:t:g2 x");
    redis_server_do(b->server, "ZADD asynq:{q}:scheduled 1 s1");
    b->x.exchange.forward = true;
    assert_int_equal(conformance_take(&b->x, b->intake, 2, 1), 1);
    assert_string_equal(conformance_ids(&b->x), "a");
    assert_int_equal(redis_server_int(b->server, "LLEN asynq:{q}:pending"), 0);
    assert_int_equal(redis_server_int(b->server, "LLEN asynq:{q}:active"), 1);
    assert_int_equal(redis_server_int(b->server, "EXISTS asynq:{q}:scheduled"), 0);
    assert_in_range(b->warnings, 1, 10);
}

static void garbage_in_a_message_passes_through(void **state)
{
    redis_bench *b = *state;

    redis_server_do(b->server, "HSET asynq:{q}:t:a msg %b state pending", "\xff\0\xfe",
                    (size_t)3);
    redis_server_do(b->server, "LPUSH asynq:{q}:pending a");
    assert_int_equal(conformance_take(&b->x, b->intake, 2, 10), 1);
    assert_int_equal(b->x.exchange.deliveries[0].message.len, 3);
    assert_memory_equal(b->x.exchange.deliveries[0].message.data, "\xff\0\xfe", 3);
}

static void a_lease_of_a_go_peer_is_left_alone_for_thirty_seconds(void **state)
{
    cq_outcome done = conformance_outcome(CQ_DONE, "a", 0);
    cq_expired *found;
    redis_bench *b = *state;
    size_t count;

    conformance_push(b->broker, "q", "a");
    conformance_take(&b->x, b->intake, 2, 1);
    redis_server_do(b->server, "ZADD asynq:{q}:lease 2000000010 a");
    assert_int_equal(conformance_settle(&b->x, b->intake, &done), CRONQ_ESTATE);
    for (int64_t s = 11; s <= 40; s += 29) {
        assert_int_equal(b->broker->ops->list_expired(b->broker, CQ_STR("q"),
                                                      (NOW_S + s) * CQ_NS_PER_S, 10,
                                                      &b->arena, &found, &count, NULL),
                         CRONQ_OK);
        assert_int_equal(count, s == 40);
    }
    assert_true(found[0].score == 2000000010.0);
}

static void active_without_a_lease_is_adopted_and_recovered(void **state)
{
    cq_recovery recovery = { .kind = CQ_RECOVER_PUT_BACK };
    cq_expired *found;
    redis_bench *b = *state;
    cq_str *ids;
    size_t count;

    conformance_push(b->broker, "q", "a");
    conformance_push(b->broker, "q", "b");
    conformance_take(&b->x, b->intake, 2, 2);
    redis_server_do(b->server, "ZREM asynq:{q}:lease a");
    assert_int_equal(b->broker->ops->list_unleased(b->broker, CQ_STR("q"), 10, &b->arena,
                                                   &ids, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 1);
    assert_int_equal(
        b->broker->ops->adopt(b->broker, CQ_STR("q"), ids, count, NOW_NS, NULL),
        CRONQ_OK);
    assert_int_equal(b->broker->ops->list_expired(b->broker, CQ_STR("q"), NOW_NS, 10,
                                                  &b->arena, &found, &count, NULL),
                     CRONQ_OK);
    assert_int_equal(count, 1);
    recovery.id = found[0].id;
    recovery.score = found[0].score;
    assert_int_equal(
        b->broker->ops->recover(b->broker, CQ_STR("q"), &recovery, 1, NOW_NS, NULL),
        CRONQ_OK);
    assert_int_equal(recovery.status, CRONQ_OK);
    assert_int_equal(conformance_take(&b->x, b->intake, 2, 2), 1);
    assert_string_equal(conformance_ids(&b->x), "a");
}

static void quarantined_bytes_are_kept(void **state)
{
    cq_recovery recovery = { .kind = CQ_RECOVER_QUARANTINE,
                             .id = CQ_STR("a"),
                             .message = CRONQ_LIT("readable") };
    redis_bench *b = *state;
    redisReply *reply;

    redis_server_do(b->server, "HSET asynq:{q}:t:a msg %b state pending", "\xff\0\xfe",
                    (size_t)3);
    redis_server_do(b->server, "LPUSH asynq:{q}:pending a");
    conformance_take(&b->x, b->intake, 2, 10);
    recovery.score = b->x.exchange.deliveries[0].score;
    assert_int_equal(
        b->broker->ops->recover(b->broker, CQ_STR("q"), &recovery, 1, NOW_NS, NULL),
        CRONQ_OK);
    assert_int_equal(recovery.status, CRONQ_OK);
    reply = redis_server_command(b->server, "HMGET asynq:{q}:t:a msg raw state");
    assert_string_equal(reply->element[0]->str, "readable");
    assert_int_equal(reply->element[1]->len, 3);
    assert_memory_equal(reply->element[1]->str, "\xff\0\xfe", 3);
    assert_string_equal(reply->element[2]->str, "archived");
    freeReplyObject(reply);
}

static void lost_groups_are_put_back(void **state)
{
    cq_push item = { .kind = CQ_PUSH_LATER,
                     .queue = CQ_STR("q"),
                     .id = CQ_STR("a"),
                     .group = CQ_STR("g"),
                     .run_at_ms = (NOW_S - 5) * CQ_MS_PER_S };
    redis_bench *b = *state;
    size_t moved;

    assert_int_equal(conformance_push_item(b->broker, &item), CRONQ_OK);
    b->broker->ops->forward(b->broker, CQ_STR("q"), NOW_NS, 10, &moved, NULL);
    redis_server_do(b->server, "DEL asynq:{q}:groups");
    assert_int_equal(b->broker->ops->repair_groups(b->broker, CQ_STR("q"), NOW_NS, NULL),
                     CRONQ_OK);
    assert_int_equal(redis_server_int(b->server, "SISMEMBER asynq:{q}:groups g"), 1);
    /* A group that is over is forgotten. */
    redis_server_do(b->server, "DEL asynq:{q}:g:g asynq:{q}:groups");
    assert_int_equal(b->broker->ops->repair_groups(b->broker, CQ_STR("q"), NOW_NS, NULL),
                     CRONQ_OK);
    assert_int_equal(
        redis_server_int(b->server, "EXISTS asynq:{q}:groups asynq:{q}:cronq:groups"), 0);
}

static void an_archive_keeps_the_newest_ten_thousand(void **state)
{
    redis_bench *b = *state;

    redis_server_do(b->server, "EVAL %s 0",
                    "for i = 1, 10500 do "
                    "redis.call('ZADD', 'asynq:{q}:archived', 1999000000 + i, 'o' .. i) "
                    "redis.call('HSET', 'asynq:{q}:t:o' .. i, 'msg', 'm', 'state', "
                    "'archived', 'unique_key', 'asynq:{q}:unique:t:' .. i) "
                    "redis.call('SET', 'asynq:{q}:unique:t:' .. i, i % 2 == 0 and "
                    "'other' or 'o' .. i) end");
    conformance_push(b->broker, "q", "a");
    conformance_take(&b->x, b->intake, 2, 1);
    assert_int_equal(settle(b, CQ_ARCHIVE, 0), CRONQ_OK);
    assert_int_equal(redis_server_int(b->server, "ZCARD asynq:{q}:archived"), 10000);
    assert_int_equal(redis_server_int(b->server,
                                      "EXISTS asynq:{q}:t:o501 asynq:{q}:t:o502"
                                      " asynq:{q}:unique:t:501"),
                     1);
    assert_int_equal(
        redis_server_int(b->server, "EXISTS asynq:{q}:t:a asynq:{q}:unique:t:500"), 2);
}

static void totals_start_again_at_the_greatest_integer(void **state)
{
    redisReply *reply;
    redis_bench *b = *state;

    redis_server_do(b->server, "SET asynq:{q}:processed 9223372036854775806");
    for (int i = 0; i < 2; i++) {
        conformance_push(b->broker, "q", "a");
        conformance_take(&b->x, b->intake, 2, 1);
        assert_int_equal(settle(b, CQ_DONE, 0), CRONQ_OK);
        reply = redis_server_command(b->server, "GET asynq:{q}:processed");
        assert_string_equal(reply->str, i ? "1" : "9223372036854775807");
        freeReplyObject(reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REDIS_CASE(forgotten_scripts_are_loaded_again),
        REDIS_CASE(forgotten_scripts_are_loaded_again_with_two_in_flight),
        REDIS_CASE(a_lost_connection_loses_no_task),
        REDIS_CASE(nothing_is_in_flight_after_a_failure),
        REDIS_CASE(a_restarted_server_is_found_again),
        REDIS_CASE(at_maxmemory_pushes_are_refused_and_workers_go_on),
        REDIS_CASE(a_store_that_can_not_write_now_is_come_back_to),
        REDIS_CASE(a_producer_needs_few_rights),
        REDIS_CASE(a_broken_queue_does_not_stop_the_others),
        REDIS_CASE(broken_parts_that_an_outcome_needs_are_seen_before_it_is_written),
        REDIS_CASE(ids_without_a_task_are_dropped),
        REDIS_CASE(garbage_in_a_message_passes_through),
        REDIS_CASE(a_lease_of_a_go_peer_is_left_alone_for_thirty_seconds),
        REDIS_CASE(active_without_a_lease_is_adopted_and_recovered),
        REDIS_CASE(quarantined_bytes_are_kept),
        REDIS_CASE(lost_groups_are_put_back),
        REDIS_CASE(an_archive_keeps_the_newest_ten_thousand),
        REDIS_CASE(totals_start_again_at_the_greatest_integer),
    };

    return REDIS_RUN(tests);
}
