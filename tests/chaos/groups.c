/* SPDX-License-Identifier: MIT */
/* groups.c - what happens to several servers that are one store, and to their papers. */
#include "chaos/chaos.h"

#include "support/certs.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define QUEUE_KEY "asynq:{default}:"

/* ---- sentinels ---- */

static void change_master(chaos_world *world, void (*change)(sentinel_group *group))
{
    chaos_outage(world);
    change(world->sentinels);
    chaos_back(world);
}

/* Twice, so that an old master comes back in between. */
void fault_master_dies(chaos_world *world)
{
    change_master(world, sentinel_group_kill_master);
    chaos_sleep(1000);
    sentinel_group_heal(world->sentinels);
    change_master(world, sentinel_group_kill_master);
}

/* All replicas are waited for, so pushes rest until the old master is one: sentinels take
 * about eight seconds to tell it. */
void fault_master_changes(chaos_world *world)
{
    change_master(world, sentinel_group_switch_master);
}

static void signal_others(const chaos_world *world, size_t master, int number)
{
    for (size_t i = 0; i < SENTINEL_SERVERS; i++)
        if (i != master)
            kill(redis_server_pid(world->sentinels->servers[i]), number);
    for (size_t i = 0; i < SENTINELS; i++)
        kill(redis_server_pid(world->sentinels->sentinels[i]), number);
}

/* A master that hears of no replica and no sentinel any more, and still of its clients:
 * after its lag it takes nothing, and says so. */
void fault_no_replicas(chaos_world *world)
{
    size_t master = sentinel_group_master(world->sentinels);

    chaos_outage(world);
    signal_others(world, master, SIGSTOP);
    chaos_sleep(6000);
    signal_others(world, master, SIGCONT);
    chaos_back(world);
    snprintf(world->note, sizeof world->note, "%d pushes refused",
             atomic_load(&world->refused));
    assert_true(atomic_load(&world->refused) > 0);
}

/* ---- a cluster ---- */

/* It comes back as the replica that pushes wait for. */
void fault_node_dies(chaos_world *world)
{
    size_t node = cluster_group_owner(world->cluster, QUEUE_KEY);

    chaos_outage(world);
    cluster_group_kill_owner(world->cluster, QUEUE_KEY);
    redis_server_restart(world->cluster->nodes[node]);
    chaos_back(world);
}

void fault_slot_moves(chaos_world *world)
{
    size_t from = cluster_group_owner(world->cluster, QUEUE_KEY), moved;

    chaos_outage(world);
    moved =
        cluster_group_move(world->cluster, QUEUE_KEY, (from + 1) % CLUSTER_MASTERS, 3000);
    chaos_back(world);
    snprintf(world->note, sizeof world->note, "%zu keys moved", moved);
}

/* ---- certificates ---- */

static void show(chaos_world *world, const char *name)
{
    redis_server_do(world->redis, "CONFIG SET tls-cert-file %s tls-key-file %s",
                    certs_path(world->certs, name, "pem"),
                    certs_path(world->certs, name, "key"));
    freeReplyObject(redis_server_try(world->redis, "CLIENT KILL TYPE pubsub"));
    freeReplyObject(redis_server_try(world->redis, "CLIENT KILL TYPE normal"));
}

static bool was_logged(chaos_world *world, const char *text)
{
    FILE *log = fopen(world->log, "r");
    bool found = false;
    char line[1024];

    assert_non_null(log);
    while (fgets(line, sizeof line, log))
        found |= strstr(line, text) != NULL;
    fclose(log);
    return found;
}

void fault_certificates(chaos_world *world)
{
    static const struct {
        const char *name, *said;
    } rows[] = {
        { "expired", "expired" },
        { "elsewhere", "mismatch" },
        { "self", "self-signed" },
    };

    chaos_outage(world);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        show(world, rows[i].name);
        chaos_sleep(6000);
        if (!was_logged(world, rows[i].said))
            fail_msg("no worker says \"%s\"", rows[i].said);
        show(world, "server");
        chaos_sleep(i + 1 < sizeof rows / sizeof *rows ? 5500 : 0);
    }
    chaos_back(world);
}
