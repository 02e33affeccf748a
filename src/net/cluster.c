/* SPDX-License-Identifier: MIT */
/* cluster.c - which node of a Redis Cluster has which slots, and a pool for each. */
#include "net/cluster.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>

#define NODES_LIMIT 1000
#define HOST_BYTES  256
#define REFRESH_MS  200  /* at least between two readings of the map */
#define PATIENCE_MS 1000 /* with one node that is asked for the map; there are others */
#define ARENA_BYTES ((size_t)64 << 20)
#define NOBODY      UINT16_MAX

typedef struct node {
    char *host;
    uint16_t port;
    cq_pool *pool; /* NULL until it is needed */
} node;

struct cq_cluster {
    cq_endpoint endpoint;
    cronq_logger logger;
    cq_prepare_fn *prepare;
    void *prepare_arg;

    pthread_mutex_t lock; /* over all that follows */
    node nodes[NODES_LIMIT];
    size_t node_count;
    uint16_t owner[CQ_SLOTS]; /* index of a node; NOBODY */
    bool doubted;
    bool reading; /* somebody reads the map */
    pthread_cond_t was_read;
    int64_t read_at_ms;
    size_t first;        /* node to be asked first */
    cronq_error failure; /* of the last reading */
};

/* CRC-16/XMODEM, as Redis Cluster has it. */
static uint16_t crc16(cq_str text)
{
    uint16_t crc = 0;

    for (size_t i = 0; i < text.len; i++) {
        crc = (uint16_t)(crc ^ (uint16_t)((unsigned char)text.data[i] << 8));
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc;
}

uint16_t cq_key_slot(cq_str key)
{
    const char *open = key.len ? memchr(key.data, '{', key.len) : NULL, *close;
    size_t rest = open ? key.len - (size_t)(open + 1 - key.data) : 0;

    close = rest ? memchr(open + 1, '}', rest) : NULL;
    if (close && close > open + 1)
        key = (cq_str){ open + 1, (size_t)(close - open - 1) };
    return crc16(key) % CQ_SLOTS;
}

/* ---- nodes ---- */

/* With the lock, or alone. NOBODY when there is no room or memory. */
static uint16_t node_of(cq_cluster *cluster, const char *host, uint16_t port)
{
    char *copy;

    for (size_t i = 0; i < cluster->node_count; i++)
        if (cluster->nodes[i].port == port && strcmp(cluster->nodes[i].host, host) == 0)
            return (uint16_t)i;
    copy = cluster->node_count < NODES_LIMIT ? strdup(host) : NULL;
    if (!copy)
        return NOBODY;
    cluster->nodes[cluster->node_count] = (node){ copy, port, NULL };
    return (uint16_t)cluster->node_count++;
}

/* With the lock: making a pool connects to nothing. */
static cronq_status pool_of(cq_cluster *cluster, uint16_t index, cq_pool **out,
                            cronq_error *err)
{
    node *at = &cluster->nodes[index];
    cq_endpoint endpoint;
    cronq_status status;

    if (!at->pool) {
        status =
            cq_endpoint_copy_at(&endpoint, &cluster->endpoint, at->host, at->port, err);
        if (status)
            return status;
        status = cq_pool_new(&endpoint, &cluster->logger, cluster->prepare,
                             cluster->prepare_arg, &at->pool, err);
        cq_endpoint_release(&endpoint);
        if (status)
            return status;
    }
    *out = at->pool;
    return CRONQ_OK;
}

cronq_status cq_cluster_new(const cq_endpoint *endpoint, const cronq_logger *logger,
                            cq_prepare_fn *prepare, void *arg, cq_cluster **out,
                            cronq_error *err)
{
    cq_cluster *cluster = calloc(1, sizeof *cluster);
    cronq_status status = cluster ? cq_endpoint_copy(&cluster->endpoint, endpoint, err)
                                  : cq_fail_nomem(err);

    if (status) {
        free(cluster);
        return status;
    }
    if (logger)
        cluster->logger = *logger;
    cluster->prepare = prepare;
    cluster->prepare_arg = arg;
    cluster->doubted = true;
    cluster->read_at_ms = cq_mono_ms() - REFRESH_MS;
    memset(cluster->owner, 0xff, sizeof cluster->owner);
    pthread_mutex_init(&cluster->lock, NULL);
    cq_cond_init(&cluster->was_read);
    for (size_t i = 0; i < endpoint->seed_count; i++)
        node_of(cluster, endpoint->seeds[i].host, endpoint->seeds[i].port);
    *out = cluster;
    return CRONQ_OK;
}

void cq_cluster_free(cq_cluster *cluster)
{
    if (!cluster)
        return;
    for (size_t i = 0; i < cluster->node_count; i++) {
        cq_pool_free(cluster->nodes[i].pool);
        free(cluster->nodes[i].host);
    }
    pthread_cond_destroy(&cluster->was_read);
    pthread_mutex_destroy(&cluster->lock);
    cq_endpoint_release(&cluster->endpoint);
    free(cluster);
}

/* ---- reading the map ---- */

/* An empty or unknown host means the node that was asked. */
static bool read_address(const cq_reply *reply, const char *asked, char host[HOST_BYTES],
                         uint16_t *port)
{
    int64_t number = reply->count >= 2 ? cq_reply_int(&reply->elements[1], 0) : 0;
    cq_str name = reply->count >= 2 ? reply->elements[0].text : (cq_str){ NULL, 0 };

    if (number < 1 || number > UINT16_MAX || name.len >= HOST_BYTES)
        return false;
    if (name.len == 0 || cq_str_eq(name, CQ_STR("?")))
        snprintf(host, HOST_BYTES, "%s", asked);
    else
        snprintf(host, HOST_BYTES, "%.*s", CQ_FMT(name));
    *port = (uint16_t)number;
    return true;
}

/* [first slot, last slot, [host, port, …] of the master, those of replicas …] …; with the
 * lock. What has no owner there keeps none. */
static size_t take_map(cq_cluster *cluster, const cq_reply *map, const char *asked)
{
    size_t covered = 0;

    memset(cluster->owner, 0xff, sizeof cluster->owner);
    for (size_t i = 0; i < map->count; i++) {
        const cq_reply *range = &map->elements[i];
        int64_t first, last;
        char host[HOST_BYTES];
        uint16_t port, owner;

        if (range->type != CQ_REPLY_ARRAY || range->count < 3 ||
            !read_address(&range->elements[2], asked, host, &port))
            continue;
        first = cq_reply_int(&range->elements[0], -1);
        last = cq_reply_int(&range->elements[1], -1);
        owner = node_of(cluster, host, port);
        for (int64_t slot = first; first >= 0 && slot <= last && slot < CQ_SLOTS;
             slot++) {
            cluster->owner[slot] = owner;
            covered++;
        }
        for (size_t r = 3; r < range->count; r++)
            if (read_address(&range->elements[r], asked, host, &port))
                node_of(cluster, host, port); /* who may be asked for the map */
    }
    return covered;
}

static int64_t at_most(int64_t timeout_ms, int64_t most_ms)
{
    return timeout_ms < 0 || timeout_ms > most_ms ? most_ms : timeout_ms;
}

static cronq_status ask_node(cq_cluster *cluster, const char *host, uint16_t port,
                             cronq_error *err)
{
    cq_endpoint to;
    cronq_status status;
    cq_conn *conn = NULL;
    cq_arena arena;
    cq_reply *reply;

    status = cq_endpoint_copy_at(&to, &cluster->endpoint, host, port, err);
    if (status)
        return status;
    to.dial_timeout_ms = at_most(to.dial_timeout_ms, PATIENCE_MS);
    to.read_timeout_ms = at_most(to.read_timeout_ms, PATIENCE_MS);
    status = cq_conn_open(&to, &conn, err);
    cq_endpoint_release(&to);
    if (status)
        return status;
    cq_arena_init(&arena, ARENA_BYTES);
    status = cq_conn_call(conn, &arena, &reply, err, 2, "CLUSTER", "SLOTS");
    if (!status && reply->type != CQ_REPLY_ARRAY)
        status = cq_conn_reply_failure(reply, err);
    if (!status) {
        pthread_mutex_lock(&cluster->lock);
        if (!take_map(cluster, reply, host))
            status = cq_fail(err, CRONQ_EIO, "redis at %s:%u: the cluster has no slots",
                             host, port);
        pthread_mutex_unlock(&cluster->lock);
    }
    cq_arena_release(&arena);
    cq_conn_free(conn);
    return status;
}

/* Each node in turn, until one answers. Without the lock. */
static cronq_status ask_nodes(cq_cluster *cluster, cronq_error *err)
{
    cronq_error why = { .code = CRONQ_EIO, .text = "there are none" };
    char host[HOST_BYTES];
    size_t count, first;
    uint16_t port;

    pthread_mutex_lock(&cluster->lock);
    count = cluster->node_count;
    first = cluster->first;
    pthread_mutex_unlock(&cluster->lock);
    for (size_t i = 0; i < count; i++) {
        size_t index = (first + i) % count;

        pthread_mutex_lock(&cluster->lock);
        snprintf(host, HOST_BYTES, "%s", cluster->nodes[index].host);
        port = cluster->nodes[index].port;
        cluster->first = index;
        pthread_mutex_unlock(&cluster->lock);
        why.code = CRONQ_OK;
        if (!ask_node(cluster, host, port, &why))
            return CRONQ_OK;
    }
    return cq_fail(err, why.code, "none of %zu nodes tells the slots; the last: %s",
                   count, why.text);
}

/* With the lock, which is let go meanwhile. One reads; the others use what there is. */
static void refresh(cq_cluster *cluster)
{
    cronq_error why = { .code = CRONQ_OK };
    cronq_status status;
    bool changed;

    if (!cluster->doubted || cluster->reading ||
        cq_mono_ms() - cluster->read_at_ms < REFRESH_MS)
        return;
    cluster->reading = true;
    pthread_mutex_unlock(&cluster->lock);
    status = ask_nodes(cluster, &why);
    pthread_mutex_lock(&cluster->lock);
    cluster->reading = false;
    cluster->read_at_ms = cq_mono_ms();
    cluster->doubted = status != CRONQ_OK;
    /* Another node may know better next time. */
    cluster->first = (cluster->first + 1) % cluster->node_count;
    pthread_cond_broadcast(&cluster->was_read);
    changed = status != cluster->failure.code;
    cluster->failure = why;
    if (changed && status)
        CQ_WARN(&cluster->logger, "cannot read the map of the cluster: %s", why.text);
}

cronq_status cq_cluster_pool(cq_cluster *cluster, uint16_t slot, cq_pool **out,
                             cronq_error *err)
{
    cronq_status status;
    uint16_t owner;

    pthread_mutex_lock(&cluster->lock);
    refresh(cluster);
    while (cluster->owner[slot] == NOBODY && cluster->reading)
        pthread_cond_wait(&cluster->was_read, &cluster->lock);
    owner = cluster->owner[slot];
    if (owner != NOBODY) {
        status = pool_of(cluster, owner, out, err);
    } else {
        cluster->doubted = true;
        status = cluster->failure.code ? cluster->failure.code : CRONQ_EIO;
        cq_fail(err, status, "%s",
                cluster->failure.code ? cluster->failure.text
                                      : "no node of the cluster has the slot");
    }
    pthread_mutex_unlock(&cluster->lock);
    return status;
}

/* With the lock. */
static bool has_slots(const cq_cluster *cluster, uint16_t index)
{
    for (size_t slot = 0; slot < CQ_SLOTS; slot++)
        if (cluster->owner[slot] == index)
            return true;
    return false;
}

cronq_status cq_cluster_pools(cq_cluster *cluster, size_t limit, cq_pool **pools,
                              size_t *count, cronq_error *err)
{
    cq_pool *any;
    cronq_status status = cq_cluster_pool(cluster, 0, &any, err);
    size_t found = 0;

    if (status)
        return status;
    pthread_mutex_lock(&cluster->lock);
    for (uint16_t i = 0; i < cluster->node_count && found < limit && !status; i++)
        if (has_slots(cluster, i))
            status = pool_of(cluster, i, &pools[found++], err);
    pthread_mutex_unlock(&cluster->lock);
    if (!status)
        *count = found;
    return status;
}

void cq_cluster_doubt(cq_cluster *cluster)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->doubted = true;
    pthread_mutex_unlock(&cluster->lock);
}

/* ---- redirections ---- */

/* "MOVED 1234 host:port", "ASK 1234 host:port" */
static bool parse(cq_str text, int64_t *slot, char host[HOST_BYTES], uint16_t *port)
{
    const char *number = memchr(text.data, ' ', text.len), *address, *colon;
    size_t len;
    long value;

    address = number ? strchr(number + 1, ' ') : NULL;
    colon = address ? strrchr(address, ':') : NULL;
    if (!colon)
        return false;
    len = (size_t)(colon - address - 1);
    value = strtol(colon + 1, NULL, 10);
    *slot = strtol(number + 1, NULL, 10);
    if (len >= HOST_BYTES || value < 1 || value > UINT16_MAX || *slot < 0 ||
        *slot >= CQ_SLOTS)
        return false;
    snprintf(host, HOST_BYTES, "%.*s", (int)len, address + 1);
    *port = (uint16_t)value;
    return len > 0;
}

static cq_redirect follow(cq_cluster *cluster, cq_str text, bool moved, cq_pool **to)
{
    cq_redirect redirect = CQ_REDIRECT_LATER;
    char host[HOST_BYTES];
    uint16_t port, index;
    int64_t slot;

    pthread_mutex_lock(&cluster->lock);
    cluster->doubted = cluster->doubted || moved;
    if (parse(text, &slot, host, &port)) {
        index = node_of(cluster, host, port);
        if (index != NOBODY && moved) {
            cluster->owner[slot] = index;
            redirect = CQ_REDIRECT_MOVED;
        } else if (index != NOBODY && !pool_of(cluster, index, to, NULL)) {
            redirect = CQ_REDIRECT_ASK;
        }
    }
    pthread_mutex_unlock(&cluster->lock);
    return redirect;
}

cq_redirect cq_cluster_redirect(cq_cluster *cluster, const cq_reply *reply, cq_pool **to)
{
    if (reply->type != CQ_REPLY_ERROR)
        return CQ_REDIRECT_NONE;
    if (cq_reply_is_error(reply, "MOVED") || cq_reply_is_error(reply, "ASK"))
        return follow(cluster, reply->text, reply->text.data[0] == 'M', to);
    if (cq_reply_is_error(reply, "READONLY") || cq_reply_is_error(reply, "CLUSTERDOWN")) {
        cq_cluster_doubt(cluster);
        return CQ_REDIRECT_LATER;
    }
    return cq_reply_is_error(reply, "TRYAGAIN") ? CQ_REDIRECT_LATER : CQ_REDIRECT_NONE;
}
