/* SPDX-License-Identifier: MIT */
/* damage.c - what happens within the store: commands of operators and strangers. */
#include "broker/broker.h"
#include "chaos/chaos.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LONG_BYTES ((size_t)4 << 20)

#define P "asynq:{default}:"

void fault_script_flush(chaos_world *world)
{
    for (int i = 0; i < 30; i++) {
        redis_server_do(world->redis, "SCRIPT FLUSH");
        chaos_sleep(100);
    }
}

static bool await_zero(chaos_world *world, const char *command, int timeout_ms)
{
    for (int waited = 0; waited < timeout_ms; waited += 20) {
        if (redis_server_int(world->redis, command) == 0)
            return true;
        chaos_sleep(20);
    }
    return false;
}

/* With a backlog, so that there is something to drain. */
void fault_full(chaos_world *world)
{
    char id[32];

    for (int i = 0; i < 300; i++) {
        snprintf(id, sizeof id, "backlog-%d", i);
        chaos_push(world, id, "sleep 20");
    }
    redis_server_do(world->redis, "CONFIG SET maxmemory 1");
    if (!await_zero(world, "LLEN " P "pending", 10000) ||
        !await_zero(world, "LLEN " P "active", 10000))
        fail_msg("workers do not drain the queue at maxmemory");
    chaos_sleep(2500);
    redis_server_do(world->redis, "CONFIG SET maxmemory 0");
    snprintf(world->note, sizeof world->note, "%d pushes told EFULL",
             atomic_load(&world->full));
    assert_true(atomic_load(&world->full) > 0);
    assert_int_equal(atomic_load(&world->full), atomic_load(&world->refused));
}

/* Every worker has said at its start that tasks may be lost. */
void fault_evicting(chaos_world *world)
{
    int warnings = 0;
    char line[512];
    FILE *log;

    chaos_sleep(500);
    log = fopen(world->log, "r");
    assert_non_null(log);
    while (fgets(line, sizeof line, log))
        warnings += strstr(line, "maxmemory-policy is allkeys-lru") != NULL;
    fclose(log);
    assert_int_equal(warnings, CHAOS_WORKERS);
    snprintf(world->note, sizeof world->note, "%d warnings", warnings);
}

/* ---- permissions ---- */

void fault_forbidden(chaos_world *world)
{
    chaos_outage(world);
    redis_server_do(world->redis, "ACL SETUSER w -evalsha");
    chaos_sleep(6000);
    redis_server_do(world->redis, "ACL SETUSER w +evalsha");
    chaos_back(world);
}

/* Its connections are closed, and new ones refused. */
void fault_user_gone(chaos_world *world)
{
    chaos_outage(world);
    redis_server_do(world->redis, "ACL DELUSER w");
    chaos_sleep(6000);
    redis_server_do(world->redis, "ACL SETUSER w on >pw ~* &* +@all");
    chaos_back(world);
}

/* ---- by hand ---- */

static void repair_now(const cronq_finding *finding, void *arg)
{
    (void)finding;
    ++*(int *)arg;
}

/* Every key but the tasks' own, one after the other, each followed by a repair: nothing
 * is lost by that. */
void fault_lists_deleted(chaos_world *world)
{
    static const char *const keys[] = { "pending",   "active", "lease",    "retry",
                                        "scheduled", "groups", "processed" };
    int found = 0;

    chaos_outage(world);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        redis_server_do(world->redis, "DEL " P "%s", keys[i]);
        chaos_sleep(300);
        assert_int_equal(cronq_inspector_check(world->inspector, "default", true,
                                               repair_now, &found, NULL),
                         CRONQ_OK);
    }
    chaos_back(world);
    snprintf(world->note, sizeof world->note, "%d found", found);
}

void fault_flushed(chaos_world *world)
{
    chaos_outage(world);
    for (int i = 0; i < 3; i++) {
        redis_server_do(world->redis, "FLUSHALL");
        chaos_sleep(500);
    }
    chaos_back(world);
}

static const char *const garbage[] = {
    "HSET " P "t:bad-1 msg \1\2\3garbage state pending",
    "LPUSH " P "pending bad-1",
    "HSET " P "t:bad-2 msg \12\177 state pending",
    "LPUSH " P "pending bad-2",
    "HSET " P "t:bad-3 state pending",
    "LPUSH " P "pending bad-3",
    "SET " P "t:bad-4 text",
    "LPUSH " P "pending bad-4",
    "LPUSH " P "pending bad-5 bad-6 bad-7",
    "HSET " P "t:bad-8 msg x state retry",
    "ZADD " P "retry 1 bad-8",
    "ZADD " P "scheduled -inf bad-9",
    "ZADD " P "scheduled inf bad-10",
    "ZADD " P "retry 1e300 bad-11",
    "LPUSH " P "active bad-12",
    "ZADD " P "lease 5 bad-13",
    "ZADD " P "lease -inf bad-14",
    "HSET " P "t:bad-15 msg x state dreaming",
    "SADD " P "groups bad-16",
    "ZADD " P "g:bad-17 1 bad-17",
    "ZADD " P "aggregation_sets 1 nonsense",
    "SET " P "completed text",
    "SET asynq:servers:{x:1:y} garbage",
    "ZADD asynq:servers 9e9 asynq:servers:{x:1:y}",
    "PUBLISH asynq:cancel garbage",
};

void fault_garbage(chaos_world *world)
{
    static const char long_message[LONG_BYTES];
    redisReply *reply;

    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        reply = redis_server_try(world->redis, garbage[i]);
        freeReplyObject(reply);
    }
    reply = redis_server_command(world->redis, "HSET " P "t:bad-18 msg %b state pending",
                                 "", (size_t)0);
    freeReplyObject(reply);
    redis_server_do(world->redis, "LPUSH " P "pending bad-18");
    reply = redis_server_command(world->redis, "HSET " P "t:bad-19 msg %b state pending",
                                 long_message, sizeof long_message);
    freeReplyObject(reply);
    redis_server_do(world->redis, "LPUSH " P "pending bad-19");
    chaos_sleep(3000);
}

/* A worker that does not hear is told by its next beat. */
void fault_deaf(chaos_world *world)
{
    const cq_broker_options options = { .uri = world->store_uri };
    cq_broker *broker = NULL;
    char id[32];

    assert_int_equal(cq_broker_open(&options, &broker, NULL), CRONQ_OK);
    for (int i = 0; i < 6; i++) {
        redisReply *reply;

        snprintf(id, sizeof id, "waits-%d", i);
        chaos_push(world, id, "wait 0");
        chaos_sleep(300);
        reply = redis_server_try(world->redis, "CLIENT KILL TYPE pubsub");
        freeReplyObject(reply);
        assert_int_equal(broker->inspect->cancel(broker, CQ_STR("default"), cq_str_of(id),
                                                 broker->ops->now_ns(broker), NULL),
                         CRONQ_OK);
        history_note(world->history, "cancel", id, 0);
    }
    broker->ops->free(broker);
}

/* ---- the embedded store ---- */

void fault_file_locked(chaos_world *world)
{
    sqlite3 *db = NULL;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(sqlite3_open(strchr(world->store_uri, ':') + 1, &db), SQLITE_OK);
        sqlite3_busy_timeout(db, 5000);
        assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL),
                         SQLITE_OK);
        chaos_sleep(1000);
        assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        chaos_sleep(300);
    }
}
