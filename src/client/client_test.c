/* SPDX-License-Identifier: MIT */
/* client_test.c - what pushes store, on a real Redis, beside what the reference stored.
 */
#include "client/client.h"

#include "base/clock.h"
#include "base/connected.h"
#include "codec/message.h"
#include "support/golden.h"
#include "support/redis_server.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define HOUR_MS  3600000

static redis_server *server;
static cronq_client *client;

static int start(void **state)
{
    cronq_error err = { .text = "" };

    (void)state;
    server = redis_server_start(NULL);
    if (cronq_client_new(redis_server_uri(server), NULL, &client, &err))
        fail_msg("%s", err.text);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    cronq_client_free(client);
    redis_server_stop(server);
    return 0;
}

static int empty(void **state)
{
    (void)state;
    redis_server_do(server, "FLUSHALL");
    return 0;
}

static void must(cronq_status status, const cronq_error *err)
{
    if (status)
        fail_msg("%s: %s", cronq_status_name(status), err->text);
}

/* A string reply, copied; "" when there is none. */
static const char *ask(char out[4096], const char *format, const char *a, const char *b)
{
    redisReply *reply = redis_server_command(server, format, a, b);

    assert_true(reply->len < 4096);
    memcpy(out, reply->str ? reply->str : "", reply->len);
    out[reply->len] = '\0';
    freeReplyObject(reply);
    return out;
}

/* ---- the recorded defaults of the reference ---- */

typedef struct recorded_push {
    const char *op; /* how the recording's step is called, or begins to */
    cronq_task task;
    const char *message; /* where we differ on purpose; else as recorded */
    cronq_status status;
} recorded_push;

static const cronq_header header_a = { "a", "opt" };

#define TASK(...)                                      \
    {                                                  \
        .struct_size = sizeof(cronq_task), __VA_ARGS__ \
    }
#define DEADLINE 2000000000000

static const recorded_push rows[] = {
    { "Client.Enqueue defaults", TASK(.type = "t", .payload = CRONQ_LIT("p"), .id = "d1"),
      0, 0 },
    { "Client.Enqueue no TaskID",
      TASK(.type = "t", .id = "00000000-0000-4000-8000-000000000002"), 0, 0 },
    { "Client.Enqueue deadline only",
      TASK(.type = "t", .id = "d2", .deadline_at_ms = DEADLINE), 0, 0 },
    { "Client.Enqueue timeout 1.9s", TASK(.type = "t", .id = "d3", .timeout_ms = 1900),
      "0a01741a026433220764656661756c7428194002", 0 },
    { "Client.Enqueue timeout 900ms", TASK(.type = "t", .id = "d4", .timeout_ms = 900),
      "0a01741a026434220764656661756c7428194001", 0 },
    { "Client.Enqueue timeout and deadline",
      TASK(.type = "t", .id = "d5", .timeout_ms = 60000, .deadline_at_ms = DEADLINE), 0,
      0 },
    { "Client.Enqueue deadline at epoch", TASK(.type = "t", .id = "d6"), 0, 0 },
    { "Client.Enqueue retention 1.5s",
      TASK(.type = "t", .id = "d7", .retain_for_ms = 1500),
      "0a01741a026437220764656661756c74281940880e6002", 0 },
    { "Client.Enqueue maxretry -3", TASK(.type = "t", .id = "d8", .max_retry = -3), 0,
      0 },
    { "Client.Enqueue unique 1h, nil",
      TASK(.type = "t", .id = "d9", .unique_for_ms = HOUR_MS), 0, 0 },
    { "Client.Enqueue unique 1h, empty",
      TASK(.type = "t", .id = "d10", .payload = { "", 0 }, .unique_for_ms = HOUR_MS), 0,
      0 },
    { "Client.Enqueue unique 500ms", TASK(.type = "t", .id = "d11", .unique_for_ms = 500),
      0, CRONQ_EINVAL },
    { "Client.Enqueue group and ProcessAt",
      TASK(.type = "t", .id = "d13", .group = "G", .process_at_ms = DEADLINE), 0, 0 },
    { "Client.Enqueue group", TASK(.type = "t", .id = "d12", .group = "G"), 0, 0 },
    { "Client.Enqueue ProcessAt + unique",
      TASK(.type = "t", .payload = CRONQ_LIT("w"), .id = "d14", .process_in_ms = HOUR_MS,
           .unique_for_ms = 60000),
      0, 0 },
    { "Client.Enqueue ProcessAt in the past",
      TASK(.type = "t", .id = "d15", .process_at_ms = 1000), 0, 0 },
    { "Client.Enqueue headers",
      TASK(.type = "t", .id = "d16", .headers = &header_a, .header_count = 1), 0, 0 },
    { "Client.Enqueue queue of spaces", TASK(.type = "t", .id = "x", .queue = "  "), 0,
      CRONQ_EINVAL },
    { "Client.Enqueue queue is case", TASK(.type = "t", .id = "d17", .queue = " Mixed "),
      0, 0 },
    { "Client.Enqueue blank task id", TASK(.type = "t", .id = " "), 0, CRONQ_EINVAL },
    { "Client.Enqueue blank type", TASK(.type = " ", .id = "x"), 0, CRONQ_EINVAL },
    { "Client.Enqueue blank group", TASK(.type = "t", .id = "x", .group = " "), 0,
      CRONQ_EINVAL },
    { "Client.Enqueue id conflict", TASK(.type = "t", .id = "d1"), 0, CRONQ_EEXIST },
    { "Client.Enqueue unique conflict",
      TASK(.type = "t", .id = "x", .unique_for_ms = HOUR_MS), 0, CRONQ_EDUP },
    { "Client.Enqueue invalid utf-8", TASK(.type = "\xff", .id = "x"), 0, CRONQ_EINVAL },
};

static size_t rows_seen;

static const recorded_push *row_of(const char *op)
{
    for (size_t i = 0; i < COUNT(rows); i++)
        if (strncmp(rows[i].op, op, strlen(rows[i].op)) == 0)
            return &rows[i];
    return NULL;
}

static void check_field(const char *key, const json_t *fields, const char *name)
{
    const char *recorded = json_string_value(json_object_get(fields, name));
    char stored[4096];

    ask(stored, "HGET %s %s", key, name);
    if (strcmp(stored, recorded ? recorded : "") != 0)
        fail_msg("%s %s: \"%s\", recorded \"%s\"", key, name, stored, recorded);
}

static void check_message(const char *key, const json_t *fields, const char *ours)
{
    const char *recorded =
        json_string_value(json_object_get(json_object_get(fields, "msg"), "hex"));
    redisReply *reply = redis_server_command(server, "HGET %s msg", key);
    char hex[2 * 1024 + 1] = "";

    assert_true(reply->len > 0 && reply->len < 1024);
    for (size_t i = 0; i < reply->len; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)reply->str[i]);
    freeReplyObject(reply);
    assert_string_equal(hex, ours ? ours : recorded);
}

static void check_lock(const json_t *keys, const char *unique_key, const char *id)
{
    json_int_t recorded =
        json_integer_value(json_object_get(json_object_get(keys, unique_key), "ttl"));
    long long ttl = redis_server_int(server, "TTL %s", unique_key);
    char holder[4096];

    assert_string_equal(ask(holder, "GET %s%s", unique_key, ""), id);
    /* The reference cuts the 3660 seconds of d14. */
    assert_in_range(recorded == 3659 ? 3660 - ttl : recorded - ttl, 0, 1);
}

static void check_stored(const recorded_push *row, const json_t *line,
                         const cronq_task_info *info)
{
    const json_t *result = json_object_get(line, "result");
    const json_t *keys = json_object_get(line, "keys"), *fields;
    const char *state = json_string_value(json_object_get(result, "state"));
    const char *id = json_string_value(json_object_get(result, "id"));
    char key[256], lock[4096];

    assert_string_equal(cronq_task_info_id(info), id);
    assert_string_equal(cronq_state_name(cronq_task_info_state(info)), state);
    assert_int_equal(cronq_task_info_max_retry(info),
                     json_integer_value(json_object_get(result, "max_retry")));
    snprintf(key, sizeof key, "asynq:{%s}:t:%s", cronq_task_info_queue(info), id);
    fields = json_object_get(json_object_get(keys, key), "value");
    assert_non_null(fields);
    check_message(key, fields, row->message);
    check_field(key, fields, "state");
    check_field(key, fields, "unique_key");
    if (!row->task.process_at_ms) /* with a time: the field is ours, and the name */
        check_field(key, fields, "group");
    if (*ask(lock, "HGET %s %s", key, "unique_key"))
        check_lock(keys, lock, id);
}

static void check_default(json_t *line, size_t number)
{
    const char *op = json_string_value(json_object_get(line, "op"));
    cronq_task_info *info = NULL;
    cronq_error err = { .text = "" };
    cronq_status status;
    const recorded_push *row;

    (void)number;
    if (strcmp(json_string_value(json_object_get(line, "scenario")), "client_defaults"))
        return;
    row = row_of(op);
    if (!row)
        fail_msg("no test for the recorded step: %s", op);
    rows_seen++;
    status = cronq_client_push(client, &row->task, &info, &err);
    if (status != row->status)
        fail_msg("%s: %s %s", op, cronq_status_name(status), err.text);
    if (!status)
        check_stored(row, line, info);
    cronq_task_info_free(info);
}

static void defaults_are_stored_as_the_reference_stores_them(void **state)
{
    char score[4096];

    (void)state;
    rows_seen = 0;
    golden_each("states.jsonl", check_default);
    assert_true(rows_seen >= COUNT(rows));
    assert_string_equal(ask(score, "ZSCORE %s %s", "asynq:{default}:scheduled", "d13"),
                        "2000000000");
    assert_int_equal(redis_server_int(server, "SISMEMBER asynq:{default}:groups G"), 1);
    assert_string_equal(ask(score, "HGET %s %s", "asynq:{default}:t:d13", "group"), "G");
    assert_int_equal(redis_server_int(server, "SCARD asynq:queues"), 2);
}

/* ---- what it tells, and when it runs ---- */

static void an_id_of_ours_is_a_random_uuid(void **state)
{
    cronq_task_info *info[2];
    cronq_error err = { .text = "" };
    const char *id;

    (void)state;
    for (int i = 0; i < 2; i++)
        must(cronq_client_push(client, CRONQ_TASK(.type = "t"), &info[i], &err), &err);
    id = cronq_task_info_id(info[0]);
    assert_int_equal(strlen(id), 36);
    assert_int_equal(id[14], '4');
    assert_non_null(strchr("89ab", id[19]));
    assert_string_not_equal(id, cronq_task_info_id(info[1]));
    cronq_task_info_free(info[0]);
    cronq_task_info_free(info[1]);
}

static void an_info_holds_what_was_pushed(void **state)
{
    cronq_task_info *info = NULL;
    cronq_error err = { .text = "" };
    cronq_bytes payload;

    (void)state;
    must(cronq_client_push(client,
                           CRONQ_TASK(.type = "mail", .payload = CRONQ_LIT("a\0b"),
                                      .queue = "low", .id = "m1", .timeout_ms = 1500,
                                      .deadline_at_ms = 2000000000001,
                                      .max_retry = CRONQ_NO_RETRY),
                           &info, &err),
         &err);
    payload = cronq_task_info_payload(info);
    assert_int_equal(payload.len, 3);
    assert_memory_equal(payload.data, "a\0b", 3);
    assert_string_equal(cronq_task_info_type(info), "mail");
    assert_string_equal(cronq_task_info_queue(info), "low");
    assert_string_equal(cronq_task_info_id(info), "m1");
    assert_int_equal(cronq_task_info_state(info), CRONQ_STATE_PENDING);
    assert_int_equal(cronq_task_info_timeout_ms(info), 2000);
    assert_int_equal(cronq_task_info_deadline_at_ms(info), 2000000001000);
    assert_int_equal(cronq_task_info_max_retry(info), 0);
    assert_int_equal(cronq_task_info_next_at_ms(info), 0);
    cronq_task_info_free(info);
    cronq_task_info_free(NULL);
    assert_null(cronq_state_name((cronq_state)0));
    assert_null(cronq_state_name((cronq_state)8));
    assert_string_equal(cronq_state_name(CRONQ_STATE_COMPLETED), "completed");
}

static void a_delay_counts_from_the_stores_clock_and_never_ends_early(void **state)
{
    cronq_task_info *info = NULL;
    cronq_error err = { .text = "" };
    int64_t before_ms = cq_wall_ns() / CQ_NS_PER_MS, at_ms;

    (void)state;
    must(cronq_client_push_in(client, CRONQ_TASK(.type = "t", .id = "l1"), 1500, &info,
                              &err),
         &err);
    at_ms = cronq_task_info_next_at_ms(info);
    assert_int_equal(cronq_task_info_state(info), CRONQ_STATE_SCHEDULED);
    assert_int_equal(at_ms % 1000, 0);
    assert_in_range(at_ms, before_ms + 1490, before_ms + 1500 + 1000 + 500);
    cronq_task_info_free(info);

    must(cronq_client_push_at(client, CRONQ_TASK(.type = "t", .id = "l2"), 2000000000001,
                              &info, &err),
         &err);
    assert_int_equal(cronq_task_info_next_at_ms(info), 2000000001000);
    cronq_task_info_free(info);
    assert_int_equal(redis_server_int(server, "ZCARD asynq:{default}:scheduled"), 2);
}

static void now_and_the_past_are_now(void **state)
{
    const int64_t past[] = { 0, 1, -1, INT64_MIN };
    cronq_error err = { .text = "" };

    (void)state;
    must(cronq_client_push_in(client, CRONQ_TASK(.type = "t"), 0, NULL, &err), &err);
    for (size_t i = 0; i < COUNT(past); i++)
        must(cronq_client_push_at(client, CRONQ_TASK(.type = "t"), past[i], NULL, &err),
             &err);
    assert_int_equal(redis_server_int(server, "LLEN asynq:{default}:pending"), 5);
}

static void a_lock_outlives_the_delay(void **state)
{
    cronq_error err = { .text = "" };

    (void)state;
    must(cronq_client_push_in(client, CRONQ_TASK(.type = "t", .unique_for_ms = 1700),
                              60000, NULL, &err),
         &err);
    assert_in_range(redis_server_int(server, "PTTL asynq:{default}:unique:t:"), 60000,
                    62000);
    assert_int_equal(cronq_client_push(client,
                                       CRONQ_TASK(.type = "t", .unique_for_ms = 1000),
                                       NULL, &err),
                     CRONQ_EDUP);
    assert_non_null(strstr(err.text, "\"t\""));
}

/* ---- JSON ---- */

static void check_payload_of(const char *id, const char *expected)
{
    redisReply *reply = redis_server_command(server, "HGET asynq:{default}:t:%s msg", id);
    cq_message message;
    cq_arena arena;

    cq_arena_init(&arena, 1 << 16);
    assert_int_equal(cq_message_decode((cronq_bytes){ reply->str, reply->len }, &arena,
                                       &message, NULL),
                     CRONQ_OK);
    assert_int_equal(message.payload.len, strlen(expected));
    assert_memory_equal(message.payload.data, expected, strlen(expected));
    cq_arena_release(&arena);
    freeReplyObject(reply);
}

static void json_is_stored_compact_and_in_order(void **state)
{
    cronq_error err = { .text = "" };
    json_t *value = json_pack("{s:i, s:[b,n], s:s}", "z", 1, "a", 1, "m", "h\xC3\xA9");

    (void)state;
    must(cronq_client_push_json(client, CRONQ_TASK(.type = "t", .id = "j1"), value, NULL,
                                &err),
         &err);
    must(cronq_client_push_json_in(client, CRONQ_TASK(.type = "t", .id = "j2"), value,
                                   HOUR_MS, NULL, &err),
         &err);
    must(cronq_client_push_json_at(client, CRONQ_TASK(.type = "t", .id = "j3"), value,
                                   DEADLINE, NULL, &err),
         &err);
    for (int i = 1; i <= 3; i++)
        check_payload_of(i == 1   ? "j1"
                         : i == 2 ? "j2"
                                  : "j3",
                         "{\"z\":1,\"a\":[true,null],\"m\":\"h\xC3\xA9\"}");
    json_decref(value);
    assert_int_equal(redis_server_int(server, "ZCARD asynq:{default}:scheduled"), 2);
}

static void packed_payloads_are_json(void **state)
{
    cronq_error err = { .text = "" };

    (void)state;
    must(cronq_client_push_pack(client, CRONQ_TASK(.type = "t", .id = "p1"), NULL, &err,
                                "{s:i}", "user", 42),
         &err);
    check_payload_of("p1", "{\"user\":42}");
    must(cronq_client_push_pack_in(client, CRONQ_TASK(.type = "t", .id = "p2"), HOUR_MS,
                                   NULL, &err, "[s,f]", "x", 0.5),
         &err);
    check_payload_of("p2", "[\"x\",0.5]");
    must(cronq_client_push_pack_at(client, CRONQ_TASK(.type = "t", .id = "p3"), DEADLINE,
                                   NULL, &err, "s", "alone"),
         &err);
    check_payload_of("p3", "\"alone\"");
}

/* ---- many ---- */

static void many_get_a_status_each(void **state)
{
    const cronq_task *tasks[] = {
        CRONQ_TASK(.type = "t", .id = "a"),
        CRONQ_TASK(.type = "t", .id = "a"),
        CRONQ_TASK(.type = "", .id = "b"),
        CRONQ_TASK(.type = "t", .id = "c", .process_in_ms = HOUR_MS, .queue = "other"),
        CRONQ_TASK(.type = "t", .id = "d", .group = "g"),
        CRONQ_TASK(.type = "u", .id = "e", .unique_for_ms = HOUR_MS),
        CRONQ_TASK(.type = "u", .id = "f", .unique_for_ms = HOUR_MS),
        NULL,
    };
    const cronq_status expected[] = {
        CRONQ_OK, CRONQ_EEXIST, CRONQ_EINVAL, CRONQ_OK,
        CRONQ_OK, CRONQ_OK,     CRONQ_EDUP,   CRONQ_EINVAL
    };
    cronq_status statuses[COUNT(tasks)];
    cronq_task_info *infos[COUNT(tasks)];
    cronq_error err = { .text = "" };

    (void)state;
    assert_int_equal(
        cronq_client_push_many(client, tasks, COUNT(tasks), statuses, infos, &err),
        CRONQ_EEXIST);
    assert_int_equal(err.code, CRONQ_EEXIST);
    assert_ptr_equal(strstr(err.text, "task 1: "), err.text);
    for (size_t i = 0; i < COUNT(tasks); i++) {
        assert_int_equal(statuses[i], expected[i]);
        assert_int_equal(!infos[i], expected[i] != CRONQ_OK);
        if (infos[i])
            assert_string_equal(cronq_task_info_id(infos[i]), tasks[i]->id);
        cronq_task_info_free(infos[i]);
    }
    assert_int_equal(redis_server_int(server, "ZCARD asynq:{other}:scheduled"), 1);
    assert_int_equal(redis_server_int(server, "ZCARD asynq:{default}:g:g"), 1);
    assert_int_equal(redis_server_int(server, "LLEN asynq:{default}:pending"), 2);
    must(cronq_client_push_many(client, NULL, 0, NULL, NULL, &err), &err);
}

static void many_more_than_a_batch_are_stored_in_order(void **state)
{
    enum { MANY = 2500 };
    static char payload[5000];
    const cronq_task **tasks = calloc(MANY, sizeof *tasks);
    cronq_task *each = calloc(MANY, sizeof *each);
    char(*ids)[16] = calloc(MANY, sizeof *ids), id[4096];
    cronq_error err = { .text = "" };

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(ids[i], sizeof ids[i], "m%zu", i);
        each[i] = (cronq_task)TASK(.type = "t", .id = ids[i]);
        each[i].payload = (cronq_bytes){ payload, i < 1200 ? sizeof payload : 10 };
        tasks[i] = &each[i];
    }
    must(cronq_client_push_many(client, tasks, MANY, NULL, NULL, &err), &err);
    assert_int_equal(redis_server_int(server, "LLEN asynq:{default}:pending"), MANY);
    assert_string_equal(ask(id, "LINDEX %s %s", "asynq:{default}:pending", "-1"), "m0");
    assert_string_equal(ask(id, "LINDEX %s %s", "asynq:{default}:pending", "0"), "m2499");
    free(ids);
    free(each);
    free(tasks);
}

/* ---- ticks of cron entries ---- */

static cronq_status push_tick(cq_tick tick)
{
    cronq_status status;

    cq_client_push_ticks(client, &tick, 1);
    status = tick.result.code;
    assert_int_equal(!tick.info, status != CRONQ_OK);
    cronq_task_info_free(tick.info);
    return status;
}

static void each_tick_is_pushed_once(void **state)
{
    const cronq_task *task = CRONQ_TASK(.type = "t");
    cq_tick ticks[] = {
        { .task = task, .entry_id = "entry", .at_s = 1800000000 },
        { .task = task, .entry_id = "entry", .at_s = 1800000000 },
        { .task = CRONQ_TASK(.type = ""), .entry_id = "bad", .at_s = 1800000000 },
        { .task = CRONQ_TASK(.type = "t", .id = "mine"),
          .entry_id = "entry",
          .at_s = 1800000001 },
    };

    (void)state;
    cq_client_push_ticks(client, ticks, COUNT(ticks));
    assert_int_equal(ticks[0].result.code, CRONQ_OK);
    assert_string_equal(cronq_task_info_id(ticks[0].info), "entry:1800000000");
    assert_int_equal(ticks[1].result.code, CRONQ_EDUP);
    assert_null(ticks[1].info);
    assert_int_equal(ticks[2].result.code, CRONQ_EINVAL);
    assert_non_null(strstr(ticks[2].result.text, "type"));
    assert_int_equal(ticks[3].result.code, CRONQ_OK);
    assert_string_equal(cronq_task_info_id(ticks[3].info), "mine:1800000001");
    cronq_task_info_free(ticks[0].info);
    cronq_task_info_free(ticks[3].info);
    cq_client_push_ticks(client, NULL, 0);
}

static void a_tick_waits_for_the_last_run_when_asked_to(void **state)
{
    cq_tick tick = { .task = CRONQ_TASK(.type = "t"),
                     .entry_id = "e",
                     .at_s = 1800000000,
                     .skip_overlap = true };

    (void)state;
    assert_int_equal(push_tick(tick), CRONQ_OK);
    tick.at_s++;
    assert_int_equal(push_tick(tick), CRONQ_ESTATE);
    redis_server_do(server, "HSET asynq:{default}:t:e:1800000000 state archived");
    tick.at_s++;
    assert_int_equal(push_tick(tick), CRONQ_OK);
}

static void a_check_stores_nothing_and_connects_to_nothing(void **state)
{
    cronq_error err = { .text = "" };
    int connected = cq_connected_count();
    cronq_client *fresh;

    (void)state;
    must(cronq_client_new(redis_server_uri(server), NULL, &fresh, &err), &err);
    must(cq_client_check(fresh, CRONQ_TASK(.type = "t"), &err), &err);
    assert_int_equal(cq_client_check(fresh, CRONQ_TASK(.type = ""), &err), CRONQ_EINVAL);
    assert_int_equal(cq_connected_count(), connected);
    assert_int_equal(redis_server_int(server, "DBSIZE"), 0);
    cronq_client_free(fresh);
}

static void a_store_that_is_there_answers_a_ping(void **state)
{
    cronq_error err = { .text = "" };

    (void)state;
    must(cronq_client_ping(client, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_are_stored_as_the_reference_stores_them, empty),
        cmocka_unit_test_setup(an_id_of_ours_is_a_random_uuid, empty),
        cmocka_unit_test_setup(an_info_holds_what_was_pushed, empty),
        cmocka_unit_test_setup(a_delay_counts_from_the_stores_clock_and_never_ends_early,
                               empty),
        cmocka_unit_test_setup(now_and_the_past_are_now, empty),
        cmocka_unit_test_setup(a_lock_outlives_the_delay, empty),
        cmocka_unit_test_setup(json_is_stored_compact_and_in_order, empty),
        cmocka_unit_test_setup(packed_payloads_are_json, empty),
        cmocka_unit_test_setup(many_get_a_status_each, empty),
        cmocka_unit_test_setup(many_more_than_a_batch_are_stored_in_order, empty),
        cmocka_unit_test_setup(each_tick_is_pushed_once, empty),
        cmocka_unit_test_setup(a_tick_waits_for_the_last_run_when_asked_to, empty),
        cmocka_unit_test_setup(a_check_stores_nothing_and_connects_to_nothing, empty),
        cmocka_unit_test(a_store_that_is_there_answers_a_ping),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
