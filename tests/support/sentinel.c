/* SPDX-License-Identifier: MIT */
/* support/sentinel.c - a master, two replicas and three sentinels of a test's own. */
#include "support/sentinel.h"

#include "support/patience.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define PATIENCE_MS 30000
#define STEP_MS     10

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* On a connection of its own, for sentinels close those of servers that they change.
 * NULL when there is no answer; else freed by the caller. */
static redisReply *ask(redis_server *server, const char *command)
{
    struct timeval patience = { 2, 0 };
    redisContext *context =
        redisConnectWithTimeout("127.0.0.1", redis_server_port(server), patience);
    redisReply *reply = NULL;

    if (context && !context->err) {
        redisSetTimeout(context, patience);
        reply = redisCommand(context, command);
    }
    if (context)
        redisFree(context);
    return reply;
}

/* Does the text reply of a command hold this? */
static bool tells(redis_server *server, const char *command, const char *text)
{
    redisReply *reply = ask(server, command);
    bool found = reply && reply->type == REDIS_REPLY_STRING && strstr(reply->str, text);

    if (reply)
        freeReplyObject(reply);
    return found;
}

size_t sentinel_group_master(sentinel_group *group)
{
    redisReply *reply =
        ask(group->sentinels[0], "SENTINEL GET-MASTER-ADDR-BY-NAME cronq");
    int port = reply && reply->elements == 2 ? atoi(reply->element[1]->str) : 0;
    size_t found = SENTINEL_SERVERS;

    for (size_t i = 0; i < SENTINEL_SERVERS; i++)
        if (redis_server_port(group->servers[i]) == port)
            found = i;
    if (reply)
        freeReplyObject(reply);
    assert_true(found < SENTINEL_SERVERS);
    return found;
}

static bool in_step(sentinel_group *group)
{
    size_t master = sentinel_group_master(group);

    for (size_t i = 0; i < SENTINEL_SERVERS; i++)
        if (redis_server_pid(group->servers[i]) == 0 ||
            !tells(group->servers[i], "INFO replication",
                   i == master ? "connected_slaves:2" : "master_link_status:up"))
            return false;
    return true;
}

static bool know_all(sentinel_group *group)
{
    for (size_t i = 0; i < SENTINELS; i++)
        if (!tells(group->sentinels[i], "INFO sentinel", "slaves=2,sentinels=3"))
            return false;
    return true;
}

static void wait_for(sentinel_group *group, bool (*reached)(sentinel_group *),
                     const char *what)
{
    for (int waited = 0; !reached(group); waited += STEP_MS) {
        if (waited > PATIENCE_MS)
            fail_msg("sentinels: %s takes too long", what);
        sleep_ms(STEP_MS);
    }
}

void sentinel_group_start(sentinel_group *group, const char *extra_config)
{
    char config[1024];
    int len;

    memset(group, 0, sizeof *group);
    for (size_t i = 0; i < SENTINEL_SERVERS; i++) {
        len = snprintf(config, sizeof config,
                       "repl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n%s",
                       extra_config ? extra_config : "");
        if (i)
            snprintf(config + len, sizeof config - (size_t)len,
                     "replicaof 127.0.0.1 %u\n", redis_server_port(group->servers[0]));
        group->servers[i] = redis_server_start_tcp(config);
    }
    snprintf(config, sizeof config,
             "sentinel monitor cronq 127.0.0.1 %u 2\n"
             "sentinel down-after-milliseconds cronq %d\n"
             "sentinel failover-timeout cronq 3000\nsentinel parallel-syncs cronq 2\n",
             redis_server_port(group->servers[0]), PATIENCE > 1 ? 2000 : 500);
    for (size_t i = 0; i < SENTINELS; i++)
        group->sentinels[i] = redis_server_start_sentinel(config);
    snprintf(group->uri, sizeof group->uri,
             "redis-sentinel://127.0.0.1:%u,127.0.0.1:%u/0?master=cronq",
             redis_server_port(group->sentinels[0]),
             redis_server_port(group->sentinels[1]));
    wait_for(group, in_step, "replication");
    wait_for(group, know_all, "acquaintance");
}

void sentinel_group_stop(sentinel_group *group)
{
    for (size_t i = 0; i < SENTINELS; i++)
        redis_server_stop(group->sentinels[i]);
    for (size_t i = 0; i < SENTINEL_SERVERS; i++)
        redis_server_stop(group->servers[i]);
}

static void await_another(sentinel_group *group, size_t before)
{
    for (int waited = 0; sentinel_group_master(group) == before; waited += STEP_MS) {
        if (waited > PATIENCE_MS)
            fail_msg("sentinels: no failover");
        sleep_ms(STEP_MS);
    }
}

void sentinel_group_kill_master(sentinel_group *group)
{
    size_t master = sentinel_group_master(group);

    redis_server_kill(group->servers[master]);
    await_another(group, master);
}

void sentinel_group_switch_master(sentinel_group *group)
{
    size_t master = sentinel_group_master(group);
    redisReply *reply;

    /* Shortly after another failover it is refused for a while. */
    for (int waited = 0; waited < PATIENCE_MS; waited += 100) {
        bool accepted;

        reply = ask(group->sentinels[0], "SENTINEL FAILOVER cronq");
        accepted = reply && reply->type == REDIS_REPLY_STATUS;
        if (reply)
            freeReplyObject(reply);
        if (accepted)
            break;
        sleep_ms(100);
    }
    await_another(group, master);
}

void sentinel_group_heal(sentinel_group *group)
{
    for (size_t i = 0; i < SENTINEL_SERVERS; i++)
        if (redis_server_pid(group->servers[i]) == 0)
            redis_server_restart(group->servers[i]);
    wait_for(group, in_step, "replication");
    wait_for(group, know_all, "acquaintance");
}

void sentinel_group_wipe(sentinel_group *group)
{
    redisReply *reply = ask(group->servers[sentinel_group_master(group)], "FLUSHALL");

    assert_true(reply && reply->type == REDIS_REPLY_STATUS);
    freeReplyObject(reply);
}
