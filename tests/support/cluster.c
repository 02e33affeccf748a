/* SPDX-License-Identifier: MIT */
/* support/cluster.c - a Redis Cluster of a test's own: three masters with a replica each.
 */
#include "support/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define PATIENCE_MS 30000
#define STEP_MS     20
#define SLOTS       16384
#define PORTION     100

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static bool tells(redis_server *server, const char *command, const char *text)
{
    redisReply *reply = redis_server_try(server, command);
    bool found = reply->type == REDIS_REPLY_STRING && strstr(reply->str, text);

    freeReplyObject(reply);
    return found;
}

static bool is_whole(cluster_group *group)
{
    for (size_t i = 0; i < CLUSTER_NODES; i++)
        if (!tells(group->nodes[i], "CLUSTER INFO", "cluster_state:ok") ||
            !tells(group->nodes[i], "CLUSTER INFO", "cluster_known_nodes:6"))
            return false;
    return true;
}

static bool are_in_step(cluster_group *group)
{
    for (size_t i = CLUSTER_MASTERS; i < CLUSTER_NODES; i++)
        if (!tells(group->nodes[i], "INFO replication", "master_link_status:up"))
            return false;
    return true;
}

static bool know_each_other(cluster_group *group)
{
    for (size_t i = 0; i < CLUSTER_NODES; i++)
        if (!tells(group->nodes[i], "CLUSTER INFO", "cluster_known_nodes:6"))
            return false;
    return true;
}

static void wait_for(cluster_group *group, bool (*reached)(cluster_group *),
                     const char *what)
{
    for (int waited = 0; !reached(group); waited += STEP_MS) {
        if (waited > PATIENCE_MS)
            fail_msg("cluster: %s takes too long", what);
        sleep_ms(STEP_MS);
    }
}

void cluster_group_start(cluster_group *group)
{
    memset(group, 0, sizeof *group);
    for (size_t i = 0; i < CLUSTER_NODES; i++) {
        redisReply *id;

        group->nodes[i] = redis_server_start_node(
            "cluster-node-timeout 1000\ncluster-replica-validity-factor 0\n"
            "repl-diskless-sync-delay 0\n");
        id = redis_server_command(group->nodes[i], "CLUSTER MYID");
        snprintf(group->ids[i], sizeof group->ids[i], "%s", id->str);
        freeReplyObject(id);
    }
    for (int i = 0; i < CLUSTER_MASTERS; i++)
        redis_server_do(group->nodes[i], "CLUSTER ADDSLOTSRANGE %d %d",
                        i * SLOTS / CLUSTER_MASTERS,
                        (i + 1) * SLOTS / CLUSTER_MASTERS - 1);
    for (int i = 0; i < CLUSTER_NODES; i++)
        redis_server_do(group->nodes[i], "CLUSTER SET-CONFIG-EPOCH %d", i + 1);
    for (size_t i = 1; i < CLUSTER_NODES; i++)
        redis_server_do(group->nodes[0], "CLUSTER MEET 127.0.0.1 %d %d",
                        redis_server_port(group->nodes[i]),
                        redis_server_bus_port(group->nodes[i]));
    wait_for(group, know_each_other, "acquaintance");
    for (size_t i = CLUSTER_MASTERS; i < CLUSTER_NODES; i++)
        redis_server_do(group->nodes[i], "CLUSTER REPLICATE %s",
                        group->ids[i - CLUSTER_MASTERS]);
    wait_for(group, is_whole, "agreement");
    wait_for(group, are_in_step, "replication");
    snprintf(group->uri, sizeof group->uri, "redis-cluster://127.0.0.1:%u,127.0.0.1:%u",
             redis_server_port(group->nodes[0]), redis_server_port(group->nodes[1]));
}

void cluster_group_stop(cluster_group *group)
{
    for (size_t i = 0; i < CLUSTER_NODES; i++)
        redis_server_stop(group->nodes[i]);
}

void cluster_group_wipe(cluster_group *group)
{
    for (size_t i = 0; i < CLUSTER_NODES; i++)
        if (redis_server_pid(group->nodes[i]))
            freeReplyObject(redis_server_try(group->nodes[i], "FLUSHALL"));
}

/* By who does not redirect. */
size_t cluster_group_owner(cluster_group *group, const char *key)
{
    for (int waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
        for (size_t i = 0; i < CLUSTER_NODES; i++) {
            redisReply *reply;
            bool serves;

            if (redis_server_pid(group->nodes[i]) == 0)
                continue;
            reply = redis_server_try(group->nodes[i], "TYPE %s", key);
            serves = reply->type == REDIS_REPLY_STATUS;
            freeReplyObject(reply);
            if (serves)
                return i;
        }
        sleep_ms(STEP_MS);
    }
    fail_msg("cluster: nobody serves \"%s\"", key);
    return 0;
}

/* Portions of the slot's keys, from one node to the other. */
static size_t migrate(redis_server *from, redis_server *to, long long slot)
{
    size_t moved = 0;

    for (;;) {
        redisReply *keys =
            redis_server_command(from, "CLUSTER GETKEYSINSLOT %lld %d", slot, PORTION);
        const char *words[7 + PORTION] = { "MIGRATE", "127.0.0.1", NULL,  "",
                                           "0",       "5000",      "KEYS" };
        char port[8];
        size_t count = keys->elements;
        redisReply *reply;

        snprintf(port, sizeof port, "%u", redis_server_port(to));
        words[2] = port;
        for (size_t i = 0; i < count; i++)
            words[7 + i] = keys->element[i]->str;
        if (count) {
            reply = redis_server_words(from, (int)(7 + count), words);
            if (reply->type != REDIS_REPLY_STATUS)
                fail_msg("MIGRATE: %s", reply->str);
            freeReplyObject(reply);
        }
        freeReplyObject(keys);
        moved += count;
        if (!count)
            return moved;
    }
}

size_t cluster_group_move(cluster_group *group, const char *key, size_t to, int hold_ms)
{
    size_t from = cluster_group_owner(group, key), moved;
    long long slot = redis_server_int(group->nodes[0], "CLUSTER KEYSLOT %s", key);

    assert_int_not_equal(from, to);
    redis_server_do(group->nodes[to], "CLUSTER SETSLOT %lld IMPORTING %s", slot,
                    group->ids[from]);
    redis_server_do(group->nodes[from], "CLUSTER SETSLOT %lld MIGRATING %s", slot,
                    group->ids[to]);
    sleep_ms(hold_ms / 2);
    moved = migrate(group->nodes[from], group->nodes[to], slot);
    sleep_ms(hold_ms / 2);
    redis_server_do(group->nodes[to], "CLUSTER SETSLOT %lld NODE %s", slot,
                    group->ids[to]);
    redis_server_do(group->nodes[from], "CLUSTER SETSLOT %lld NODE %s", slot,
                    group->ids[to]);
    return moved;
}

/* Does any living node still send others to this port for the key? */
static bool is_named(cluster_group *group, const char *key, uint16_t port)
{
    bool named = false;
    char text[16];

    snprintf(text, sizeof text, ":%u", port);
    for (size_t i = 0; i < CLUSTER_NODES; i++) {
        redisReply *reply;

        if (redis_server_pid(group->nodes[i]) == 0)
            continue;
        reply = redis_server_try(group->nodes[i], "TYPE %s", key);
        named = named || (reply->type == REDIS_REPLY_ERROR &&
                          (!strstr(reply->str, "MOVED") || strstr(reply->str, text)));
        freeReplyObject(reply);
    }
    return named;
}

void cluster_group_kill_owner(cluster_group *group, const char *key)
{
    redis_server *owner = group->nodes[cluster_group_owner(group, key)];
    uint16_t port = redis_server_port(owner);

    redis_server_kill(owner);
    for (int waited = 0; is_named(group, key, port); waited += STEP_MS) {
        if (waited > PATIENCE_MS)
            fail_msg("cluster: nobody replaces the owner of \"%s\"", key);
        sleep_ms(STEP_MS);
    }
}
