/* SPDX-License-Identifier: MIT */
/* faults.c - what happens to workers, to the store's process, and on the way to it. */
#include "chaos/chaos.h"

#include "support/process.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define EXIT_MS 5000 /* the workers' shutdown timeout, and 2 s */

void fault_none(chaos_world *world)
{
    (void)world;
    chaos_sleep(1000);
}

/* ---- workers ---- */

void fault_worker_kill(chaos_world *world)
{
    for (int i = 0; i < 9; i++) {
        chaos_kill_worker(world, i % CHAOS_WORKERS);
        chaos_start_worker(world, i % CHAOS_WORKERS);
        chaos_sleep(400);
    }
}

/* Longer than its leases. */
void fault_worker_stop(chaos_world *world)
{
    kill(world->workers[0], SIGSTOP);
    chaos_sleep(6000);
    kill(world->workers[0], SIGCONT);
}

static void must_end(chaos_world *world, int i, int64_t timeout_ms)
{
    int code = chaos_end_worker(world, i, SIGTERM, timeout_ms);

    if (code < 0)
        fail_msg("worker %d is still there %lld ms after SIGTERM", i,
                 (long long)timeout_ms);
    if (code > 1)
        fail_msg("worker %d ended with %d", i, code);
}

void fault_worker_term(chaos_world *world)
{
    for (int i = 0; i < 2 * CHAOS_WORKERS; i++) {
        must_end(world, i % CHAOS_WORKERS, EXIT_MS);
        chaos_start_worker(world, i % CHAOS_WORKERS);
        chaos_sleep(200);
    }
}

void fault_worker_term_twice(chaos_world *world)
{
    for (int i = 0; i < CHAOS_WORKERS; i++) {
        kill(world->workers[i], SIGTERM);
        chaos_sleep(2);
        must_end(world, i, EXIT_MS);
        chaos_start_worker(world, i);
    }
}

void fault_worker_term_outage(chaos_world *world)
{
    chaos_outage(world);
    redis_server_pause(world->redis);
    chaos_sleep(300);
    for (int i = 0; i < CHAOS_WORKERS; i++)
        kill(world->workers[i], SIGTERM);
    for (int i = 0; i < CHAOS_WORKERS; i++) {
        pid_t pid = world->workers[i];

        must_end(world, i, EXIT_MS);
        history_note(world->history, "crash", "-", pid); /* it could not give back */
    }
    redis_server_resume(world->redis);
    chaos_back(world);
    for (int i = 0; i < CHAOS_WORKERS; i++)
        chaos_start_worker(world, i);
}

/* ---- the store's process ---- */

static void gone_for(chaos_world *world, int ms)
{
    chaos_outage(world);
    redis_server_kill(world->redis);
    chaos_sleep(ms);
    redis_server_restart(world->redis);
    chaos_back(world);
}

void fault_store_kill(chaos_world *world)
{
    for (int i = 0; i < 3; i++) {
        gone_for(world, 0);
        chaos_sleep(500);
    }
}

void fault_store_kill_5(chaos_world *world)
{
    gone_for(world, 5000);
}

void fault_store_gone_30(chaos_world *world)
{
    gone_for(world, 30000);
}

static void pause_for(chaos_world *world, int ms)
{
    chaos_outage(world);
    redis_server_pause(world->redis);
    chaos_sleep(ms);
    redis_server_resume(world->redis);
    chaos_back(world);
}

void fault_store_pause_5(chaos_world *world)
{
    pause_for(world, 5000);
}

void fault_store_pause_20(chaos_world *world)
{
    pause_for(world, 20000);
}

/* Longer than the leases: what ran may run once more. */
void fault_store_pause_35(chaos_world *world)
{
    pause_for(world, 35000);
}

/* Thousands of keys, each of which takes a while to load. */
void fault_loading(chaos_world *world)
{
    redis_server_do(world->redis, "EVAL %s 0",
                    "for i = 1, 3000 do redis.call('SET', 'filler' .. i, i) end");
    redis_server_do(world->redis, "BGREWRITEAOF");
    chaos_sleep(1500);
    gone_for(world, 0);
}

void fault_readonly(chaos_world *world)
{
    chaos_outage(world);
    redis_server_do(world->redis, "REPLICAOF 127.0.0.1 1");
    chaos_sleep(4000);
    redis_server_do(world->redis, "REPLICAOF NO ONE");
    chaos_back(world);
}

void fault_busy(chaos_world *world)
{
    redisReply *reply;

    chaos_outage(world);
    reply = redis_server_try(world->redis, "EVAL %s 0",
                             "local function now() local t = redis.call('TIME') "
                             "return t[1] + t[2] / 1000000 end "
                             "local till = now() + 6 while now() < till do end");
    freeReplyObject(reply);
    chaos_back(world);
}

/* ---- the way to the store ---- */

static void cut(chaos_world *world, fault_kind kind, const char *command, int count)
{
    int struck = 0;

    for (int i = 0; i < count; i++) {
        fault_proxy_plan(world->proxy, kind, command, 1 + i % 5, NULL);
        for (int waited = 0; waited < 300 && !fault_proxy_struck(world->proxy);
             waited += 5)
            chaos_sleep(5);
        struck += fault_proxy_struck(world->proxy);
    }
    snprintf(world->note, sizeof world->note, "%d cuts", struck);
    assert_true(struck > 0);
}

void fault_cut_after(chaos_world *world)
{
    cut(world, FAULT_CUT_AFTER, "EVALSHA", 40);
}

void fault_cut_before(chaos_world *world)
{
    cut(world, FAULT_CUT_BEFORE, NULL, 40);
}

void fault_cut_within(chaos_world *world)
{
    cut(world, FAULT_CUT_WITHIN, "EVALSHA", 40);
}

void fault_slow(chaos_world *world)
{
    fault_proxy_split(world->proxy, true);
    chaos_sleep(1500);
    fault_proxy_split(world->proxy, false);
    fault_proxy_delay(world->proxy, 2000);
    chaos_sleep(4000);
    fault_proxy_delay(world->proxy, 0);
}

/* The other side is there and says nothing any more. */
void fault_half_open(chaos_world *world)
{
    chaos_outage(world);
    fault_proxy_plan(world->proxy, FAULT_HOLD, "EVALSHA", 1, NULL);
    chaos_sleep(8000);
    fault_proxy_release(world->proxy);
    chaos_back(world);
}

void fault_refuse(chaos_world *world)
{
    chaos_outage(world);
    fault_proxy_drop(world->proxy, true);
    chaos_sleep(10000);
    fault_proxy_drop(world->proxy, false);
    chaos_back(world);
}
