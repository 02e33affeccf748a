/* SPDX-License-Identifier: MIT */
/* broker/redis/golden_test.c - what the reference did to its store, recorded step by step
 * in tests/golden/states.jsonl, done by this broker: the same keyspace after each step,
 * but for the deviations below, which docs/compatibility.md explains.
 *
 * A step that this broker has no operation for (an inspector's, aggregation) is loaded
 * from the recording, and the scenario goes on from there. */
#include "broker/redis/golden_run.h"

#include "base/clock.h"
#include "support/golden.h"

#include <fnmatch.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the closed table of deviations ---- */

typedef enum deviation_kind {
    FLOOR,     /* scores are compared by their floor */
    MAY_HAVE,  /* a hash field that only ours has */
    ONLY_OURS, /* a key that only ours has */
    ONLY_REF,  /* a key that only the reference has */
    DIFFERS,   /* a value that differs */
} deviation_kind;

static const struct deviation {
    const char *scenario, *key, *field;
    deviation_kind kind;
    int from_step;
    const char *row; /* of docs/compatibility.md */
} deviations[] = {
    { "*", "asynq:{*}:lease", NULL, FLOOR, 1, "lease" },
    { "*", "asynq:{*}:t:*", "pending_since", MAY_HAVE, 1, "pending_since" },
    { "enqueue_unique", "*:unique:*:795f3202*", NULL, ONLY_REF, 3, "lock-leak" },
    { "dequeue_missing_task_hash", "*:active", NULL, ONLY_REF, 3, "no-hash" },
    { "dequeue_missing_task_hash", "*:lease", NULL, ONLY_REF, 3, "no-hash" },
    { "dequeue_missing_task_hash", "*:t:t1", NULL, ONLY_REF, 3, "no-hash" },
    { "schedule_grouped_forward", "*:groups", NULL, ONLY_OURS, 5, "group-names" },
    { "group", "*:groups", NULL, ONLY_OURS, 18, "group-names" },
    { "group", "*:unique:*", NULL, ONLY_REF, 15, "lock-leak" },
    { "inspect_bulk", "asynq:{default}:*", NULL, ONLY_REF, 31, "removed-queue" },
    { "remove_queue_variants", "asynq:{other}:*", NULL, ONLY_REF, 7, "removed-queue" },
    { "stats_above_2_53", "asynq:{default}:processed", NULL, DIFFERS, 3, "totals" },
};

#define DEVIATIONS (sizeof deviations / sizeof deviations[0])

/* ---- comparing ---- */

static const struct deviation *deviation_of(const char *key, deviation_kind kind,
                                            const char *field)
{
    for (size_t i = 0; i < DEVIATIONS; i++) {
        const struct deviation *d = &deviations[i];

        if (d->kind == kind && golden_int(t.line, "step") >= d->from_step &&
            fnmatch(d->scenario, t.scenario, 0) == 0 && fnmatch(d->key, key, 0) == 0 &&
            (!field || (d->field && strcmp(d->field, field) == 0)))
            return d;
    }
    return NULL;
}

static json_t *floored(json_t *zset)
{
    json_t *out = json_array(), *pair;
    char text[40];
    size_t i;

    json_array_foreach(zset, i, pair)
    {
        snprintf(text, sizeof text, "%.0f",
                 floor(strtod(json_string_value(json_array_get(pair, 1)), NULL)));
        json_array_append_new(out, json_pack("[Os]", json_array_get(pair, 0), text));
    }
    return out;
}

/* Fields that only ours may have: pending_since while the state is active or pending. */
static void forgive_fields(const char *key, const json_t *theirs, json_t *ours)
{
    const char *state = golden_text(ours, "state");

    if (deviation_of(key, MAY_HAVE, "pending_since") &&
        !json_object_get(theirs, "pending_since") &&
        (strcmp(state, "active") == 0 || strcmp(state, "pending") == 0))
        json_object_del(ours, "pending_since");
}

static bool same_value(const char *key, json_t *theirs, json_t *ours)
{
    json_t *a, *b;
    bool same;

    if (deviation_of(key, DIFFERS, NULL))
        return !json_equal(theirs, ours); /* else the row is out of date */
    if (json_is_object(ours) && json_is_object(theirs))
        forgive_fields(key, theirs, ours);
    if (!deviation_of(key, FLOOR, NULL))
        return json_equal(theirs, ours);
    a = floored(theirs);
    b = floored(ours);
    same = json_equal(a, b);
    json_decref(a);
    json_decref(b);
    return same;
}

static bool same_life(const json_t *theirs, const json_t *ours)
{
    int64_t ttl = golden_int(theirs, "ttl"), mine = golden_int(ours, "ttl");

    if (json_object_get(theirs, "expireat"))
        return golden_int(theirs, "expireat") == golden_int(ours, "expireat");
    return ttl < 0 ? mine == ttl : mine == ttl || mine == ttl - 1;
}

static void complain(const char *what, const char *key, const json_t *theirs,
                     const json_t *ours)
{
    char *a = theirs ? json_dumps(theirs, JSON_ENCODE_ANY) : NULL;
    char *b = ours ? json_dumps(ours, JSON_ENCODE_ANY) : NULL;

    fail_msg("%s, step %lld (%s): %s: %s\n  recorded %s\n  ours     %s", t.scenario,
             (long long)golden_int(t.line, "step"), golden_text(t.line, "op"), key, what,
             a ? a : "-", b ? b : "-");
}

static void compare(json_t *theirs, json_t *ours)
{
    const char *key;
    json_t *entry, *mine;

    json_object_foreach(theirs, key, entry)
    {
        mine = json_object_get(ours, key);
        if (deviation_of(key, ONLY_REF, NULL)) {
            if (mine)
                complain("is not to be there", key, entry, mine);
        } else if (!mine) {
            complain("is missing", key, entry, mine);
        } else if (!same_value(key, json_object_get(entry, "value"),
                               json_object_get(mine, "value")) ||
                   strcmp(golden_text(entry, "type"), golden_text(mine, "type")) != 0) {
            complain("differs", key, entry, mine);
        } else if (!same_life(entry, mine)) {
            complain("lives on another time", key, entry, mine);
        }
    }
    json_object_foreach(ours, key, mine) if (!json_object_get(theirs, key) &&
                                             !deviation_of(key, ONLY_OURS, NULL))
        complain("is too much", key, NULL, mine);
}

/* ---- driving ---- */

/* A lease that we gave keeps its fence when its recorded end is loaded. */
static double with_fence(const char *key, const char *member, double score)
{
    const golden_taken *from = golden_latest(member);

    (void)key;
    return from ? score + (double)from->fence / CQ_FENCE_LIMIT : score;
}

static void open_broker(void)
{
    cq_broker_options options = { .uri = redis_server_uri(t.server),
                                  .as_before_7 = t.as_before_7 };
    cronq_error err = { 0 };

    if (t.broker)
        t.broker->ops->free(t.broker);
    if (cq_broker_open(&options, &t.broker, &err))
        fail_msg("cq_broker_open: %s", err.text);
}

static void begin_scenario(const char *name)
{
    snprintf(t.scenario, sizeof t.scenario, "%s", name);
    redis_server_do(t.server, "FLUSHALL");
    open_broker(); /* it has told nobody yet which queues there are */
    t.taken_count = 0;
    json_decref(t.previous);
    t.previous = json_object();
}

/* Counters that were set by hand before a step. */
static void preset(const char *name)
{
    char key[64];
    json_t *value;

    snprintf(key, sizeof key, "asynq:{default}:%s", name);
    value = golden_value(key, NULL);
    if (fnmatch("stats_*", t.scenario, 0) == 0 && value &&
        strlen(json_string_value(value)) > 1)
        redis_server_do(t.server, "SET %s %s", key, json_string_value(value));
    else if (fnmatch("stats_wrap*", t.scenario, 0) == 0 &&
             golden_int(t.line, "step") == 1)
        redis_server_do(t.server, "SET %s %s", key, "5");
}

static const golden_operation *in_list(const golden_operation *list, const char *name)
{
    for (; list->name; list++)
        if (strcmp(list->name, name) == 0)
            return list;
    return NULL;
}

static const golden_operation *operation_of(const char *name)
{
    const golden_operation *found = in_list(golden_worker_operations, name);

    if (!found)
        found = in_list(golden_inspector_operations, name);
    return found ? found : in_list(golden_told_operations, name);
}

/* The reference failed in the middle of this step: a whole TTL is all we know. */
static bool is_half_done(void)
{
    return strcmp(t.scenario, "scheduler") == 0 && golden_failed();
}

static void run_step(json_t *line, size_t number)
{
    json_t *keys = json_object_get(line, "keys"), *ours;
    const golden_operation *operation;
    const char *scenario = golden_text(line, "scenario");

    (void)number;
    if (strcmp(scenario, "client_defaults") == 0)
        return; /* the client's test */
    if (strcmp(t.scenario, scenario) != 0)
        begin_scenario(scenario);
    t.line = line;
    t.input = json_object_get(line, "input");
    t.now_ns = strtoll(golden_text(line, "clock_nanos"), NULL, 10);
    cq_arena_reset(&t.arena);
    operation = operation_of(golden_text(line, "op"));
    if (operation && !is_half_done()) {
        preset("processed");
        preset("failed");
        operation->run();
        t.run++;
        ours = golden_keys_dump(t.server);
        compare(keys, ours);
        json_decref(ours);
    } else if (json_equal(keys, t.previous)) {
        t.looked++;
    } else {
        golden_keys_load(t.server, keys, with_fence);
        t.loaded++;
    }
    json_decref(t.previous);
    t.previous = json_deep_copy(keys);
}

static void run_all(bool as_before_7)
{
    t.as_before_7 = as_before_7;
    t.run = t.loaded = t.looked = 0;
    t.scenario[0] = '\0';
    golden_each("states.jsonl", run_step);
    print_message("states: %zu steps run, %zu loaded, %zu only looked\n", t.run, t.loaded,
                  t.looked);
    assert_in_range(t.run, 100, 1000);
    json_decref(t.previous);
    t.previous = NULL;
    t.broker->ops->free(t.broker);
    t.broker = NULL;
}

static void the_keyspace_is_the_recorded_one(void **state)
{
    (void)state;
    run_all(false);
}

static void the_keyspace_is_the_recorded_one_before_7(void **state)
{
    (void)state;
    run_all(true);
}

/* The table above is the one that users read. */
static void every_deviation_is_a_row_of_the_documentation(void **state)
{
    char path[4096], row[64], *text = calloc(1, 1 << 20);
    FILE *file;

    (void)state;
    assert_non_null(text);
    snprintf(path, sizeof path, "%s/../../docs/compatibility.md", golden_dir());
    file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    for (size_t i = 0; i < DEVIATIONS; i++) {
        snprintf(row, sizeof row, "\n| %s |", deviations[i].row);
        if (!strstr(text, row))
            fail_msg("docs/compatibility.md has no row \"%s\"", deviations[i].row);
    }
    free(text);
}

static int start_server(void **state)
{
    (void)state;
    t.server = redis_server_start(NULL);
    cq_arena_init(&t.arena, 1 << 26);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    redis_server_stop(t.server);
    cq_arena_release(&t.arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_keyspace_is_the_recorded_one),
        cmocka_unit_test(the_keyspace_is_the_recorded_one_before_7),
        cmocka_unit_test(every_deviation_is_a_row_of_the_documentation),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
