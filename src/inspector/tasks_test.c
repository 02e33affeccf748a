/* SPDX-License-Identifier: MIT */
/* tasks_test.c - looking for tasks, moving many of them, and removing queues, through the
 * public API, on a real Redis and on a file. */
#include <cronq/client.h>
#include <cronq/inspector.h>

#include "base/clock.h"
#include "support/redis_server.h"
#include "support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static redis_server *server; /* NULL: the store is a file */
static char folder[SCRATCH_ROOM];
static cronq_inspector *inspector;
static cronq_client *client;
static cronq_error err;

#define OK(call)                                 \
    do {                                         \
        if (call)                                \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

static void open_both(const char *uri)
{
    OK(cronq_inspector_new(uri, NULL, &inspector, &err));
    OK(cronq_client_new(uri, NULL, &client, &err));
}

static int start_redis(void **state)
{
    (void)state;
    server = redis_server_start(NULL);
    open_both(redis_server_uri(server));
    return 0;
}

static int start_file(void **state)
{
    char uri[SCRATCH_ROOM + 32];

    (void)state;
    snprintf(uri, sizeof uri, "sqlite:%s/cronq.db", scratch_new(folder));
    open_both(uri);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    cronq_client_free(client);
    cronq_inspector_free(inspector);
    if (server)
        redis_server_stop(server);
    else
        scratch_remove(folder);
    server = NULL;
    return 0;
}

static int empty(void **state)
{
    cronq_status status;

    (void)state;
    if (server) {
        redis_server_do(server, "FLUSHALL");
        redis_server_do(server, "SADD asynq:queues q"); /* the client said so before */
        return 0;
    }
    status = cronq_inspector_remove_queue(inspector, "q", true, NULL, &err);
    return status && status != CRONQ_ENOENT;
}

/* count tasks PREFIX0 … with the payload "PREFIX0", of types odd and even. */
static void push(const char *prefix, int count, int64_t in_ms, const char *group)
{
    for (int i = 0; i < count; i++) {
        char id[32];

        snprintf(id, sizeof id, "%s%d", prefix, i);
        OK(cronq_client_push(client,
                             CRONQ_TASK(.type = i % 2 ? "odd" : "even", .queue = "q",
                                        .id = id, .group = group, .process_in_ms = in_ms,
                                        .payload = { id, strlen(id) }),
                             NULL, &err));
    }
}

/* The ids that fit, separated by spaces. */
static const char *ids(cronq_state state, const cronq_filter *filter, size_t offset,
                       size_t limit)
{
    static char text[4096];
    cronq_task_info **infos;
    size_t count, at = 0;

    OK(cronq_inspector_list(inspector, "q", state, filter, offset, limit, &infos, &count,
                            &err));
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? " " : "",
                               cronq_task_info_id(infos[i]));
    cronq_task_infos_free(infos, count);
    return text;
}

static uint64_t count_in(cronq_state state)
{
    cronq_queue_info info = { .struct_size = sizeof info };

    if (cronq_inspector_queue_info(inspector, "q", &info, &err))
        return UINT64_MAX;
    return state == CRONQ_STATE_PENDING       ? info.pending_count
           : state == CRONQ_STATE_AGGREGATING ? info.aggregating_count
                                              : info.archived_count;
}

static void a_task_tells_what_was_pushed(void **state)
{
    const cronq_header header = { "team", "blue" };
    cronq_task_info *info;

    (void)state;
    OK(cronq_client_push(client,
                         CRONQ_TASK(.type = "t", .queue = "q", .id = "a", .max_retry = 3,
                                    .payload = CRONQ_LIT("x"), .retain_for_ms = 5000,
                                    .unique_for_ms = 9000, .timeout_ms = 7000,
                                    .headers = &header, .header_count = 1),
                         NULL, &err));
    OK(cronq_inspector_task(inspector, "q", "a", &info, &err));
    assert_string_equal(cronq_task_info_type(info), "t");
    assert_string_equal(cronq_task_info_queue(info), "q");
    assert_int_equal(cronq_task_info_state(info), CRONQ_STATE_PENDING);
    assert_int_equal(cronq_task_info_max_retry(info), 3);
    assert_int_equal(cronq_task_info_retain_for_ms(info), 5000);
    assert_int_equal(cronq_task_info_timeout_ms(info), 7000);
    assert_true(cronq_task_info_is_unique(info));
    assert_true(cronq_task_info_pending_since_ms(info) > 0);
    assert_int_equal(cronq_task_info_header_count(info), 1);
    assert_string_equal(cronq_task_info_header_at(info, 0).value, "blue");
    assert_null(cronq_task_info_header_at(info, 1).key);
    cronq_task_info_free(info);
    assert_int_equal(cronq_inspector_task(inspector, "q", "no", &info, &err),
                     CRONQ_ENOENT);
    assert_int_equal(cronq_inspector_task(inspector, "q", NULL, &info, &err),
                     CRONQ_EINVAL);
}

static void a_filter_chooses_by_type_id_and_payload(void **state)
{
    const cronq_filter odd = { .type_prefix = "od" }, id = { .id_prefix = "p1" };
    const cronq_filter part = { .payload_part = CRONQ_LIT("p7") };
    const cronq_filter old = { .older_than_ms = 60000 };

    (void)state;
    push("p", 10, 0, NULL);
    assert_string_equal(ids(CRONQ_STATE_PENDING, &odd, 0, 9), "p1 p3 p5 p7 p9");
    assert_string_equal(ids(CRONQ_STATE_PENDING, &odd, 2, 2), "p5 p7");
    assert_string_equal(ids(CRONQ_STATE_PENDING, &id, 0, 9), "p1");
    assert_string_equal(ids(CRONQ_STATE_PENDING, &part, 0, 9), "p7");
    assert_string_equal(ids(CRONQ_STATE_PENDING, &old, 0, 9), "");
    assert_string_equal(ids(CRONQ_STATE_PENDING, NULL, 8, 9), "p8 p9");
}

static void a_filter_chooses_by_age(void **state)
{
    const cronq_filter older = { .older_than_ms = 20 };

    (void)state;
    push("p", 2, 0, NULL);
    push("s", 1, 60000, NULL);
    cq_sleep_ms(40);
    assert_string_equal(ids(CRONQ_STATE_PENDING, &older, 0, 9), "p0 p1");
    assert_string_equal(ids(CRONQ_STATE_SCHEDULED, &older, 0, 9), "");
}

static bool note(const cronq_task_info *info, void *arg)
{
    char *seen = arg;

    strcat(strcat(seen, cronq_task_info_id(info)), " ");
    return cronq_task_info_id(info)[1] != '4';
}

static void each_task_is_shown_until_that_is_enough(void **state)
{
    const cronq_filter odd = { .type_prefix = "odd" };
    char seen[64] = "";

    (void)state;
    push("p", 6, 0, NULL);
    OK(cronq_inspector_each(inspector, "q", CRONQ_STATE_PENDING, &odd, note, seen, &err));
    assert_string_equal(seen, "p1 p3 p5 ");
    seen[0] = '\0';
    assert_int_equal(
        cronq_inspector_each(inspector, "q", CRONQ_STATE_PENDING, NULL, note, seen, &err),
        CRONQ_ECANCELED);
    assert_string_equal(seen, "p0 p1 p2 p3 p4 ");
    assert_int_equal(cronq_inspector_each(inspector, "no", CRONQ_STATE_PENDING, NULL,
                                          note, seen, &err),
                     CRONQ_ENOENT);
    assert_int_equal(
        cronq_inspector_each(inspector, "q", (cronq_state)0, NULL, note, seen, &err),
        CRONQ_EINVAL);
}

/* What the three operations do, to one state or group, all or those that fit. */
static void a_group_or_those_that_fit_are_moved(void **state)
{
    const cronq_filter g = { .group = "g" }, odd_h = { .group = "h", .type_prefix = "o" };
    const cronq_filter first = { .id_prefix = "s0" };
    uint64_t done = 0;

    (void)state;
    push("g", 3, 0, "g");
    push("h", 4, 0, "h");
    push("s", 3, 60000, NULL);
    OK(cronq_inspector_run_all(inspector, "q", CRONQ_STATE_AGGREGATING,
                               CRONQ_BULK_OPTIONS(.filter = &g), &done, &err));
    assert_int_equal(done, 3);
    OK(cronq_inspector_archive_all(inspector, "q", CRONQ_STATE_AGGREGATING,
                                   CRONQ_BULK_OPTIONS(.filter = &odd_h), &done, &err));
    assert_int_equal(done, 2);
    assert_string_equal(ids(CRONQ_STATE_AGGREGATING, NULL, 0, 9), "h0 h2");
    OK(cronq_inspector_run_all(inspector, "q", CRONQ_STATE_SCHEDULED,
                               CRONQ_BULK_OPTIONS(.filter = &first), &done, &err));
    assert_int_equal(done, 1);
    assert_string_equal(ids(CRONQ_STATE_PENDING, NULL, 0, 9), "g0 g1 g2 s0");
    OK(cronq_inspector_delete_all(inspector, "q", CRONQ_STATE_ARCHIVED, NULL, &done,
                                  &err));
    assert_int_equal(done, 2);
    OK(cronq_inspector_archive(inspector, "q", "s1", &err));
    OK(cronq_inspector_delete(inspector, "q", "s1", &err));
    assert_int_equal(cronq_inspector_delete(inspector, "q", "s1", &err), CRONQ_ENOENT);
}

/* Matches are taken out from the middle of a long list, near either end of it. */
static void those_that_fit_are_found_anywhere_in_a_long_list(void **state)
{
    const cronq_filter some[] = { { .id_prefix = "p1" }, { .id_prefix = "p11" } };
    uint64_t done = 0;

    (void)state;
    push("p", 1300, 0, NULL);
    OK(cronq_inspector_delete_all(inspector, "q", CRONQ_STATE_PENDING,
                                  CRONQ_BULK_OPTIONS(.filter = &some[1]), &done, &err));
    assert_int_equal(done, 111);
    assert_string_equal(ids(CRONQ_STATE_PENDING, &some[0], 0, 3), "p1 p10 p12");
    OK(cronq_inspector_delete_all(inspector, "q", CRONQ_STATE_PENDING,
                                  CRONQ_BULK_OPTIONS(.filter = &some[0]), &done, &err));
    assert_int_equal(done, 300);
    assert_int_equal(count_in(CRONQ_STATE_PENDING), 1300 - 411);
    assert_string_equal(ids(CRONQ_STATE_PENDING, NULL, 886, 9), "p997 p998 p999");
}

static void groups_are_listed_one_after_the_other(void **state)
{
    const cronq_filter second = { .group = "h" };
    cronq_group_info *groups;
    size_t count;

    (void)state;
    push("h", 2, 0, "h");
    push("g", 3, 0, "g");
    assert_string_equal(ids(CRONQ_STATE_AGGREGATING, NULL, 0, 9), "g0 g1 g2 h0 h1");
    assert_string_equal(ids(CRONQ_STATE_AGGREGATING, NULL, 2, 2), "g2 h0");
    assert_string_equal(ids(CRONQ_STATE_AGGREGATING, NULL, 4, 2), "h1");
    assert_string_equal(ids(CRONQ_STATE_AGGREGATING, &second, 1, 9), "h1");
    OK(cronq_inspector_groups(inspector, "q", &groups, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(groups[0].name, "g");
    assert_int_equal(groups[0].count, 3);
    cronq_list_free(groups);
    assert_int_equal(cronq_inspector_groups(inspector, "no", &groups, &count, &err),
                     CRONQ_ENOENT);
}

static bool stop_at(uint64_t looked_at, uint64_t total, void *arg)
{
    assert_int_equal(total, 1200);
    return looked_at < *(uint64_t *)arg;
}

static void many_are_moved_until_they_are_interrupted(void **state)
{
    const cronq_filter odd = { .type_prefix = "odd" };
    uint64_t limit = 500, done = 0;

    (void)state;
    push("p", 1200, 0, NULL);
    assert_int_equal(cronq_inspector_archive_all(
                         inspector, "q", CRONQ_STATE_PENDING,
                         CRONQ_BULK_OPTIONS(.progress = stop_at, .progress_arg = &limit),
                         &done, &err),
                     CRONQ_ECANCELED);
    assert_int_equal(done, 500);
    assert_int_equal(count_in(CRONQ_STATE_PENDING), 700);
    OK(cronq_inspector_delete_all(inspector, "q", CRONQ_STATE_PENDING,
                                  CRONQ_BULK_OPTIONS(.filter = &odd), &done, &err));
    assert_int_equal(done, 350);
    assert_int_equal(count_in(CRONQ_STATE_PENDING), 350);
    assert_string_equal(ids(CRONQ_STATE_PENDING, NULL, 0, 3), "p500 p502 p504");
    OK(cronq_inspector_run_all(inspector, "q", CRONQ_STATE_ARCHIVED, NULL, &done, &err));
    assert_int_equal(done, 500);
    assert_int_equal(count_in(CRONQ_STATE_PENDING), 850);
    assert_int_equal(
        cronq_inspector_run_all(inspector, "q", CRONQ_STATE_PENDING, NULL, &done, &err),
        CRONQ_EINVAL);
    assert_int_equal(
        cronq_inspector_delete_all(inspector, "q", CRONQ_STATE_ACTIVE, NULL, &done, &err),
        CRONQ_EINVAL);
}

static void a_payload_is_updated_while_its_task_is_scheduled(void **state)
{
    cronq_bytes fresh = CRONQ_LIT("fresh");
    cronq_task_info *info;

    (void)state;
    push("s", 1, 60000, NULL);
    OK(cronq_inspector_update_payload(inspector, "q", "s0", fresh, &err));
    OK(cronq_inspector_task(inspector, "q", "s0", &info, &err));
    assert_int_equal(cronq_task_info_payload(info).len, 5);
    assert_true(cronq_task_info_next_at_ms(info) > 0);
    cronq_task_info_free(info);
    OK(cronq_inspector_run(inspector, "q", "s0", &err));
    assert_int_equal(cronq_inspector_update_payload(inspector, "q", "s0", fresh, &err),
                     CRONQ_ESTATE);
}

static void a_removed_queue_leaves_nothing(void **state)
{
    (void)state;
    push("p", 600, 0, NULL);
    push("s", 5, 60000, NULL);
    push("g", 5, 0, "g");
    OK(cronq_client_push(
        client,
        CRONQ_TASK(.type = "t", .queue = "q", .group = "g", .unique_for_ms = 60000), NULL,
        &err));
    OK(cronq_inspector_pause(inspector, "q", &err));
    assert_int_equal(cronq_inspector_remove_queue(inspector, "q", false, NULL, &err),
                     CRONQ_ESTATE);
    OK(cronq_inspector_remove_queue(inspector, "q", true, NULL, &err));
    if (server)
        assert_int_equal(redis_server_int(server, "DBSIZE"), 0);
    assert_int_equal(cronq_inspector_remove_queue(inspector, "q", true, NULL, &err),
                     CRONQ_ENOENT);
}

#define TEST(name) cmocka_unit_test_setup(name, empty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_task_tells_what_was_pushed),
        TEST(a_filter_chooses_by_type_id_and_payload),
        TEST(a_filter_chooses_by_age),
        TEST(each_task_is_shown_until_that_is_enough),
        TEST(groups_are_listed_one_after_the_other),
        TEST(a_group_or_those_that_fit_are_moved),
        TEST(those_that_fit_are_found_anywhere_in_a_long_list),
        TEST(many_are_moved_until_they_are_interrupted),
        TEST(a_payload_is_updated_while_its_task_is_scheduled),
        TEST(a_removed_queue_leaves_nothing),
    };
    int failed = cmocka_run_group_tests_name("redis", tests, start_redis, stop);

    return failed + cmocka_run_group_tests_name("file", tests, start_file, stop);
}
