/* SPDX-License-Identifier: MIT */
/* e2e/cluster_test.c - a worker and a client on a cluster while the queue's slot moves
 * and its node dies: what was accepted is run, and nothing is half written. */
#include <cronq/cronq.h>

#include "base/clock.h"
#include "support/cluster.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TASKS_LIMIT 300000
#define BATCH       50
#define STORED      2000   /* waiting in the queue while it moves, */
#define STORED_FULL 100000 /* and with CRONQ_FULL */
#define QUEUE_KEY   "asynq:{q}:"
#define PATIENCE_MS 60000

typedef struct scene {
    cluster_group group;
    cronq_client *client;
    cronq_server *server;
    pthread_t pusher;
    atomic_bool ending;
    size_t pushed; /* the pusher's */
    bool accepted[TASKS_LIMIT];
    atomic_bool ran[TASKS_LIMIT];
    atomic_size_t runs, others;
} scene;

static void must(cronq_status status, const cronq_error *err)
{
    if (status)
        fail_msg("%s", err->text);
}

static void print_line(void *arg, const cronq_log_record *record)
{
    (void)arg;
    fprintf(stderr, "    %s\n", record->text);
}

static cronq_status run(cronq_attempt *attempt, void *arg)
{
    long number = strtol(cronq_attempt_task_id(attempt), NULL, 10);
    scene *s = arg;

    if (strcmp(cronq_attempt_queue(attempt), "q") != 0) {
        atomic_fetch_add(&s->others, 1);
        return CRONQ_OK;
    }
    assert_true(number >= 0 && number < TASKS_LIMIT);
    atomic_store(&s->ran[number], true);
    atomic_fetch_add(&s->runs, 1);
    return CRONQ_OK;
}

static void push_batch(scene *s)
{
    cronq_task tasks[BATCH];
    const cronq_task *pointers[BATCH];
    cronq_status statuses[BATCH];
    char ids[BATCH][16];

    for (size_t i = 0; i < BATCH; i++) {
        snprintf(ids[i], sizeof ids[i], "%zu", s->pushed + i);
        tasks[i] = (cronq_task){
            .struct_size = sizeof tasks[i], .type = "t", .id = ids[i], .queue = "q"
        };
        pointers[i] = &tasks[i];
    }
    if (cronq_client_push_many(s->client, pointers, BATCH, statuses, NULL, NULL) == 0)
        memset(statuses, 0, sizeof statuses);
    for (size_t i = 0; i < BATCH; i++)
        s->accepted[s->pushed + i] = statuses[i] == CRONQ_OK;
    s->pushed += BATCH;
}

static void *push(void *arg)
{
    scene *s = arg;

    while (!atomic_load(&s->ending) && s->pushed + BATCH <= TASKS_LIMIT) {
        push_batch(s);
        cq_sleep_ms(10);
    }
    return NULL;
}

static scene *begin(void)
{
    scene *s = calloc(1, sizeof *s);
    cronq_queue queues[] = { { "q", 1 }, { "other", 1 } };
    cronq_error err = { 0 };

    assert_non_null(s);
    cluster_group_start(&s->group);
    must(cronq_client_new(s->group.uri, CRONQ_CLIENT_OPTIONS(.push_timeout_ms = 30000),
                          &s->client, &err),
         &err);
    must(cronq_server_new(
             s->group.uri,
             CRONQ_SERVER_OPTIONS(.queues = queues, .queue_count = 2, .concurrency = 4,
                                  .logger = { print_line, NULL, CRONQ_LOG_WARN },
                                  .task_check_interval_ms = 100, .lease_ms = 4000,
                                  .heartbeat_ms = 1000, .recover_interval_ms = 1000),
             &s->server, &err),
         &err);
    must(cronq_server_add(s->server, "t", run, s, NULL, &err), &err);
    return s;
}

static void start(scene *s)
{
    cronq_error err = { 0 };

    must(cronq_server_start(s->server, &err), &err);
    assert_int_equal(pthread_create(&s->pusher, NULL, push, s), 0);
}

static size_t missing(const scene *s)
{
    size_t count = 0;

    for (size_t i = 0; i < s->pushed; i++)
        count += s->accepted[i] && !atomic_load(&s->ran[i]);
    return count;
}

static bool is_left(scene *s)
{
    bool left = false;

    for (size_t i = 0; i < CLUSTER_NODES && !left; i++) {
        redisReply *keys;

        if (redis_server_pid(s->group.nodes[i]) == 0)
            continue;
        keys = redis_server_command(s->group.nodes[i], "KEYS asynq:{q}:t:*");
        left = keys->elements > 0;
        freeReplyObject(keys);
    }
    return left;
}

/* Nothing of the queue's is left on any node but counters and names; a replica may still
 * have work to do. */
static void must_be_clean(scene *s)
{
    size_t owner = cluster_group_owner(&s->group, QUEUE_KEY);

    for (int i = 0; i < PATIENCE_MS / 100 && is_left(s); i++)
        cq_sleep_ms(100);

    for (size_t i = 0; i < CLUSTER_NODES; i++) {
        redisReply *keys;

        if (redis_server_pid(s->group.nodes[i]) == 0)
            continue;
        keys = redis_server_command(s->group.nodes[i], "KEYS asynq:{q}:*");
        for (size_t k = 0; k < keys->elements; k++) {
            const char *name = keys->element[k]->str + strlen(QUEUE_KEY);

            if (strncmp(name, "processed", 9) != 0 && strncmp(name, "failed", 6) != 0)
                fail_msg("%s is left on node %zu; %zu serves it", keys->element[k]->str,
                         i, owner);
        }
        freeReplyObject(keys);
    }
}

static void end(scene *s)
{
    int64_t began = cq_mono_ms();
    size_t accepted = 0;
    cronq_error err = { 0 };

    atomic_store(&s->ending, true);
    pthread_join(s->pusher, NULL);
    while (missing(s) && cq_mono_ms() - began < PATIENCE_MS)
        cq_sleep_ms(20);
    for (size_t i = 0; i < s->pushed; i++)
        accepted += s->accepted[i];
    print_message("    %zu of %zu pushes accepted, %zu of them lost, %zu runs\n",
                  accepted, s->pushed, missing(s), atomic_load(&s->runs));
    assert_int_equal(missing(s), 0);
    assert_true(accepted > 1000);
    cq_sleep_ms(500); /* the last outcomes */
    must(cronq_server_stop(s->server, &err), &err);
    must_be_clean(s);
    cronq_server_free(s->server);
    cronq_client_free(s->client);
    cluster_group_stop(&s->group);
    free(s);
}

static void a_slot_that_moves_under_load_loses_nothing(void **state)
{
    size_t stored = getenv("CRONQ_FULL") ? STORED_FULL : STORED, from, moved;
    scene *s = begin();
    int64_t began;

    (void)state;
    while (s->pushed < stored)
        push_batch(s);
    start(s);
    from = cluster_group_owner(&s->group, QUEUE_KEY);
    moved = cluster_group_move(&s->group, QUEUE_KEY, (from + 1) % CLUSTER_MASTERS, 1000);
    began = cq_mono_ms();
    for (size_t before = atomic_load(&s->runs); atomic_load(&s->runs) == before;) {
        assert_true(cq_mono_ms() - began < 3000);
        cq_sleep_ms(5);
    }
    print_message("    %zu keys moved, work goes on after %lld ms\n", moved,
                  (long long)(cq_mono_ms() - began));
    end(s);
}

/* Half moved, and left so for a while: nobody moves the keys. Meanwhile nobody serves a
 * key that is not there, so from is to be asked for before. */
static void set_half_moved(scene *s, size_t from, bool half)
{
    size_t to = (from + 1) % CLUSTER_MASTERS;
    long long slot = redis_server_int(s->group.nodes[0], "CLUSTER KEYSLOT " QUEUE_KEY);

    if (!half) {
        redis_server_do(s->group.nodes[from], "CLUSTER SETSLOT %lld STABLE", slot);
        redis_server_do(s->group.nodes[to], "CLUSTER SETSLOT %lld STABLE", slot);
        return;
    }
    redis_server_do(s->group.nodes[to], "CLUSTER SETSLOT %lld IMPORTING %s", slot,
                    s->group.ids[from]);
    redis_server_do(s->group.nodes[from], "CLUSTER SETSLOT %lld MIGRATING %s", slot,
                    s->group.ids[to]);
}

static void while_a_slot_moves_other_queues_are_served(void **state)
{
    const cronq_task task = { .struct_size = sizeof task, .type = "t", .queue = "other" };
    scene *s = begin();
    size_t from = cluster_group_owner(&s->group, QUEUE_KEY);
    cronq_error err = { 0 };
    int64_t began;

    (void)state;
    start(s);
    cq_sleep_ms(500);
    set_half_moved(s, from, true);
    began = cq_mono_ms();
    for (int i = 0; i < 20; i++)
        must(cronq_client_push(s->client, &task, NULL, &err), &err);
    while (atomic_load(&s->others) < 20) {
        assert_true(cq_mono_ms() - began < 10000);
        cq_sleep_ms(5);
    }
    print_message("    20 tasks of the other queue in %lld ms\n",
                  (long long)(cq_mono_ms() - began));
    set_half_moved(s, from, false);
    end(s);
}

static void a_node_that_dies_is_replaced(void **state)
{
    scene *s = begin();
    int64_t began;

    (void)state;
    start(s);
    cq_sleep_ms(1000);
    /* What was accepted is with the replica when nothing is pushed for a moment. */
    atomic_store(&s->ending, true);
    pthread_join(s->pusher, NULL);
    cq_sleep_ms(200);
    cluster_group_kill_owner(&s->group, QUEUE_KEY);
    began = cq_mono_ms();
    atomic_store(&s->ending, false);
    assert_int_equal(pthread_create(&s->pusher, NULL, push, s), 0);
    for (size_t before = atomic_load(&s->runs); atomic_load(&s->runs) == before;) {
        assert_true(cq_mono_ms() - began < 10000);
        cq_sleep_ms(5);
    }
    print_message("    work goes on %lld ms after the replacement\n",
                  (long long)(cq_mono_ms() - began));
    cq_sleep_ms(1000);
    end(s);
}

static void the_nodes_of_a_queue_are_told(void **state)
{
    cronq_inspector *inspector;
    cronq_node_info *nodes = NULL;
    cluster_group group;
    cronq_error err = { 0 };
    char address[32];
    uint16_t slot;
    size_t count = 0, owner;

    (void)state;
    cluster_group_start(&group);
    owner = cluster_group_owner(&group, QUEUE_KEY);
    must(cronq_inspector_new(group.uri, NULL, &inspector, &err), &err);
    for (int i = 0; i < PATIENCE_MS / 100 && count < 2; i++) { /* replicas come late */
        cronq_list_free(nodes);
        cq_sleep_ms(100);
        must(cronq_inspector_nodes(inspector, "q", &slot, &nodes, &count, &err), &err);
    }
    assert_int_equal(count, 2);
    assert_int_equal(slot,
                     redis_server_int(group.nodes[0], "CLUSTER KEYSLOT " QUEUE_KEY));
    snprintf(address, sizeof address, "127.0.0.1:%d",
             redis_server_port(group.nodes[owner]));
    assert_string_equal(nodes[0].id, group.ids[owner]);
    assert_string_equal(nodes[0].address, address);
    assert_string_equal(nodes[1].id, group.ids[owner + CLUSTER_MASTERS]);
    cronq_list_free(nodes);
    cronq_inspector_free(inspector);
    cluster_group_stop(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nodes_of_a_queue_are_told),
        cmocka_unit_test(a_slot_that_moves_under_load_loses_nothing),
        cmocka_unit_test(while_a_slot_moves_other_queues_are_served),
        cmocka_unit_test(a_node_that_dies_is_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
