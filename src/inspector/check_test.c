/* SPDX-License-Identifier: MIT */
/* check_test.c - each invariant of a queue broken by hand: found, repaired, and gone. */
#include <cronq/client.h>
#include <cronq/inspector.h>

#include "support/redis_server.h"
#include "support/scratch.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define P "asynq:{q}:"

static redis_server *server;
static cronq_inspector *inspector;
static cronq_client *client;

static int start(void **state)
{
    (void)state;
    server = redis_server_start(NULL);
    assert_int_equal(
        cronq_inspector_new(redis_server_uri(server), NULL, &inspector, NULL), CRONQ_OK);
    assert_int_equal(cronq_client_new(redis_server_uri(server), NULL, &client, NULL),
                     CRONQ_OK);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    cronq_client_free(client);
    cronq_inspector_free(inspector);
    redis_server_stop(server);
    return 0;
}

static void push(cronq_client *to, cronq_task task)
{
    cronq_error err;

    task.struct_size = sizeof task;
    task.type = "t";
    task.queue = "q";
    if (cronq_client_push(to, &task, NULL, &err))
        fail_msg("%s", err.text);
}

/* A task in each state that a client can make, and one that runs. */
static void fill(void)
{
    redis_server_do(server, "FLUSHALL");
    redis_server_do(server, "SADD asynq:queues q"); /* clients do so now and then */
    push(client, (cronq_task){ .id = "p1" });
    push(client, (cronq_task){ .id = "p2" });
    push(client, (cronq_task){ .id = "u", .unique_for_ms = 3600000 });
    push(client, (cronq_task){ .id = "s", .process_in_ms = 3600000 });
    push(client, (cronq_task){ .id = "g", .group = "gg" });
    push(client, (cronq_task){ .id = "a" });
    redis_server_do(server, "LREM " P "pending 1 a");
    redis_server_do(server, "LPUSH " P "active a");
    redis_server_do(server, "HSET " P "t:a state active");
    redis_server_do(server, "EVAL %s 0",
                    "redis.call('ZADD', '" P
                    "lease', redis.call('TIME')[1] + 30 + 7 / 1048576, 'a')");
}

typedef struct tally {
    size_t count[CRONQ_FINDING_STORE + 1], all, repaired;
} tally;

static void on_finding(const cronq_finding *finding, void *arg)
{
    tally *t = arg;

    assert_string_equal(finding->queue, "q");
    assert_true(finding->text[0] != '\0');
    if (t->all < 10)
        print_message("  %s %s: %s\n", cronq_finding_kind_name(finding->kind),
                      finding->id, finding->text);
    t->count[finding->kind]++;
    t->all++;
    t->repaired += finding->repaired;
}

static tally check(cronq_inspector *with, bool repair)
{
    tally t = { .all = 0 };
    cronq_error err;

    if (cronq_inspector_check(with, "q", repair, on_finding, &t, &err))
        fail_msg("%s", err.text);
    return t;
}

/* then: what must answer 1 after the repair, as EVAL. */
static const struct {
    cronq_finding_kind kind;
    const char *how[3];
    const char *then;
} faults[] = {
    { CRONQ_FINDING_NO_TASK,
      { "RPUSH " P "pending ghost" },
      "redis.call('LLEN', P..'pending') == 3" },
    { CRONQ_FINDING_NO_TASK,
      { "ZADD " P "retry 1 ghost" },
      "redis.call('EXISTS', P..'retry') == 0" },
    { CRONQ_FINDING_NO_TASK,
      { "ZADD " P "g:gg 1 ghost" },
      "redis.call('ZCARD', P..'g:gg') == 1" },
    { CRONQ_FINDING_NO_TASK,
      { "ZADD " P "lease 1 ghost" },
      "redis.call('ZCARD', P..'lease') == 1" },
    { CRONQ_FINDING_NO_MESSAGE,
      { "HSET " P "t:x result r" },
      "redis.call('EXISTS', P..'t:x') == 0" },
    { CRONQ_FINDING_CORRUPT,
      { "HSET " P "t:p1 msg \377garbage" },
      "redis.call('HGET', P..'t:p1', 'raw') == '\377garbage' and "
      "redis.call('ZSCORE', P..'archived', 'p1')" },
    { CRONQ_FINDING_CORRUPT,
      { "HSET " P "t:a msg %b" },
      "redis.call('ZSCORE', P..'archived', 'a') and not redis.call('ZSCORE', P..'lease', "
      "'a')" },
    { CRONQ_FINDING_CORRUPT,
      { "DEL " P "t:s", "SET " P "t:s string" },
      "redis.call('ZSCORE', P..'archived', 's')" },
    { CRONQ_FINDING_CORRUPT, /* the message of another task */
      { "COPY " P "t:p1 " P "t:p2 REPLACE" },
      "redis.call('ZSCORE', P..'archived', 'p2')" },
    { CRONQ_FINDING_LOST,
      { "LREM " P "pending 1 p1" },
      "redis.call('LINDEX', P..'pending', -1) == 'p1'" },
    { CRONQ_FINDING_LOST,
      { "DEL " P "scheduled" },
      "redis.call('ZSCORE', P..'scheduled', 's')" },
    { CRONQ_FINDING_LOST, { "DEL " P "active" }, "redis.call('LPOS', P..'active', 'a')" },
    { CRONQ_FINDING_LOST, { "DEL " P "g:gg" }, "redis.call('ZSCORE', P..'g:gg', 'g')" },
    { CRONQ_FINDING_LOST,
      { "LREM " P "pending 1 p1", "HSET " P "t:p1 state dreaming" },
      "redis.call('HGET', P..'t:p1', 'state') == 'pending'" },
    { CRONQ_FINDING_MISPLACED,
      { "HSET " P "t:p1 state retry" },
      "redis.call('HGET', P..'t:p1', 'state') == 'pending'" },
    { CRONQ_FINDING_MISPLACED,
      { "HDEL " P "t:g group" },
      "redis.call('HGET', P..'t:g', 'group') == 'gg'" },
    { CRONQ_FINDING_TWICE,
      { "LPUSH " P "pending p1" },
      "redis.call('LLEN', P..'pending') == 3" },
    { CRONQ_FINDING_TWICE,
      { "ZADD " P "retry 5 a" },
      "redis.call('EXISTS', P..'retry') == 0" },
    { CRONQ_FINDING_NO_LEASE,
      { "DEL " P "lease" },
      "redis.call('ZSCORE', P..'lease', 'a')" },
    { CRONQ_FINDING_STRAY_LEASE,
      { "ZADD " P "lease 5 p1" },
      "redis.call('ZCARD', P..'lease') == 1" },
    { CRONQ_FINDING_TIME,
      { "ZADD " P "lease inf a" },
      "redis.call('ZSCORE', P..'lease', 'a') ~= 'inf'" },
    { CRONQ_FINDING_TIME,
      { "ZADD " P "scheduled inf s" },
      "redis.call('ZSCORE', P..'scheduled', 's') ~= 'inf'" },
    { CRONQ_FINDING_GROUP,
      { "DEL " P "groups" },
      "redis.call('SISMEMBER', P..'groups', 'gg') == 1" },
    { CRONQ_FINDING_GROUP, /* a set that nobody would give back */
      { "RENAME " P "g:gg " P "g:gg:00000000-0000-4000-8000-000000000000" },
      "redis.call('ZCARD', P..'aggregation_sets') == 1" },
    { CRONQ_FINDING_SET,
      { "ZADD " P "aggregation_sets 5 " P "g:gg:x" },
      "redis.call('EXISTS', P..'aggregation_sets') == 0" },
    { CRONQ_FINDING_LOCK,
      { "SET " P "unique:t:0 nobody" },
      "redis.call('EXISTS', P..'unique:t:0') == 0" },
    { CRONQ_FINDING_TYPE,
      { "SET " P "retry text" },
      "redis.call('EXISTS', P..'retry') == 0" },
    { CRONQ_FINDING_TYPE,
      { "DEL " P "pending", "HSET " P "pending a b" },
      "redis.call('LLEN', P..'pending') == 3" },
    { CRONQ_FINDING_QUEUE, { "SREM asynq:queues q" }, "true" },
};

static void must_hold(const char *condition)
{
    char script[512];

    snprintf(script, sizeof script, "local P = '" P "' return (%s) and 1 or 0",
             condition);
    if (redis_server_int(server, "EVAL %s 0", script) != 1)
        fail_msg("after the repair not: %s", condition);
}

static void each_broken_invariant_is_found_and_repaired_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        tally t;

        fill();
        for (size_t k = 0; k < 3 && faults[i].how[k]; k++)
            redis_server_do(server, faults[i].how[k], "\n\005tr", (size_t)4);
        print_message("%s\n", faults[i].how[0]);
        t = check(inspector, false);
        assert_true(t.count[faults[i].kind] > 0);
        assert_int_equal(t.repaired, 0);
        t = check(inspector, true);
        assert_true(t.count[faults[i].kind] > 0);
        assert_int_equal(t.repaired, t.all);
        assert_int_equal(check(inspector, false).all, 0);
        must_hold(faults[i].then);
    }
}

static void a_queue_as_it_should_be_has_no_findings(void **state)
{
    (void)state;
    fill();
    assert_int_equal(check(inspector, true).all, 0);
}

static void a_queue_that_is_not_there_is_not_found(void **state)
{
    tally t = { .all = 0 };

    (void)state;
    redis_server_do(server, "FLUSHALL");
    assert_int_equal(cronq_inspector_check(inspector, "q", true, on_finding, &t, NULL),
                     CRONQ_ENOENT);
    assert_int_equal(cronq_inspector_check(inspector, "{", true, on_finding, &t, NULL),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_inspector_check(inspector, "q", true, NULL, NULL, NULL),
                     CRONQ_EINVAL);
}

/* Names that mean something in patterns do not make it look into other queues. */
static void a_queue_with_a_patterns_name_is_checked_alone(void **state)
{
    tally t = { .all = 0 };

    (void)state;
    fill();
    redis_server_do(server, "LPUSH " P "pending ghost");
    redis_server_do(server, "SADD asynq:queues %s", "[q]");
    assert_int_equal(cronq_inspector_check(inspector, "[q]", true, on_finding, &t, NULL),
                     CRONQ_OK);
    assert_int_equal(t.all, 0);
}

static void push_many(cronq_client *to, size_t count)
{
    static const cronq_task task = { .struct_size = sizeof task,
                                     .type = "t",
                                     .queue = "q" };
    const cronq_task *tasks[1000];

    for (size_t i = 0; i < 1000; i++)
        tasks[i] = &task;
    for (size_t i = 0; i < count; i += 1000)
        assert_int_equal(cronq_client_push_many(to, tasks, 1000, NULL, NULL, NULL),
                         CRONQ_OK);
}

/* More than a window, and more than is suspected at a time. The mean, because a busy
 * machine makes any single step long. */
static void a_long_queue_is_mended_in_short_steps(void **state)
{
    redisReply *reply;
    const char *line;
    double mean_us;
    tally t;

    (void)state;
    fill();
    push_many(client, 60000);
    redis_server_do(server, "EVAL %s 0",
                    "local ids = redis.call('LRANGE', '" P "pending', 0, -1) "
                    "for i = 1, #ids, 150 do redis.call('UNLINK', '" P "t:' .. ids[i]) "
                    "redis.call('HSET', '" P "t:' .. ids[i + 1], 'msg', 'x') end");
    redis_server_do(server, "CONFIG RESETSTAT");
    t = (tally){ .all = 0 };
    assert_int_equal(cronq_inspector_check(inspector, "q", true, on_finding, &t, NULL),
                     CRONQ_OK);
    assert_int_equal(t.count[CRONQ_FINDING_NO_TASK], 401);
    assert_int_equal(t.count[CRONQ_FINDING_CORRUPT], 401);
    assert_int_equal(check(inspector, false).all, 0);
    reply = redis_server_command(server, "INFO commandstats");
    line = strstr(reply->str, "cmdstat_evalsha:");
    assert_non_null(line);
    assert_int_equal(
        sscanf(line, "cmdstat_evalsha:calls=%*u,usec=%*u,usec_per_call=%lf", &mean_us),
        1);
    print_message("a step: %.1f ms\n", mean_us / 1000);
    assert_true(mean_us < 20000);
    freeReplyObject(reply);
}

/* ---- the embedded store ---- */

static const struct {
    cronq_finding_kind kind;
    const char *how;
} file_faults[] = {
    { CRONQ_FINDING_CORRUPT, "UPDATE cronq_task SET message = x'ff00' WHERE id = 'p1'" },
    { CRONQ_FINDING_CORRUPT, "UPDATE cronq_task SET id = 'other' WHERE id = 'p1'" },
    { CRONQ_FINDING_LOST, "UPDATE cronq_task SET state = 9 WHERE id = 'p1'" },
    { CRONQ_FINDING_LOST, "UPDATE cronq_task SET state = 6 WHERE id = 'p1'" },
    { CRONQ_FINDING_LOST, "UPDATE cronq_task SET state = 7, set_n = 5, group_name = 'g' "
                          "WHERE id = 'p1'" },
    { CRONQ_FINDING_TIME, "UPDATE cronq_task SET state = 1, at = 9000000000000000 "
                          "WHERE id = 'p1'" },
    { CRONQ_FINDING_LOCK,
      "INSERT INTO cronq_lock VALUES ('asynq:{q}:unique:t:', 'nobody', "
      "9000000000000000)" },
};

static void alter(const char *path, const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_file_is_checked_and_repaired(void **state)
{
    char room[SCRATCH_ROOM], path[SCRATCH_ROOM + 8], uri[SCRATCH_ROOM + 16];
    const char *directory = scratch_new(room);
    cronq_inspector *with = NULL;
    cronq_client *to = NULL;
    tally t;

    (void)state;
    snprintf(path, sizeof path, "%s/db", directory);
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    assert_int_equal(cronq_client_new(uri, NULL, &to, NULL), CRONQ_OK);
    push(to, (cronq_task){ .id = "p1", .unique_for_ms = 3600000 });
    assert_int_equal(cronq_inspector_new(uri, NULL, &with, NULL), CRONQ_OK);
    assert_int_equal(check(with, false).all, 0);
    for (size_t i = 0; i < sizeof file_faults / sizeof *file_faults; i++) {
        alter(path, "DELETE FROM cronq_task; DELETE FROM cronq_lock");
        push(to, (cronq_task){ .id = "p1" });
        alter(path, file_faults[i].how);
        t = check(with, false);
        assert_int_equal(t.count[file_faults[i].kind], 1);
        t = check(with, true);
        assert_int_equal(t.count[file_faults[i].kind], 1);
        assert_int_equal(t.repaired, t.all);
        assert_int_equal(check(with, false).all, 0);
    }
    push_many(to, 1000);
    alter(path, "UPDATE cronq_task SET message = x'ff' WHERE n % 2 = 0");
    t = check(with, true);
    assert_int_equal(t.count[CRONQ_FINDING_CORRUPT], 500);
    assert_int_equal(check(with, false).all, 0);
    cronq_client_free(to);
    cronq_inspector_free(with);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_as_it_should_be_has_no_findings),
        cmocka_unit_test(each_broken_invariant_is_found_and_repaired_once),
        cmocka_unit_test(a_queue_that_is_not_there_is_not_found),
        cmocka_unit_test(a_queue_with_a_patterns_name_is_checked_alone),
        cmocka_unit_test(a_long_queue_is_mended_in_short_steps),
        cmocka_unit_test(a_file_is_checked_and_repaired),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
