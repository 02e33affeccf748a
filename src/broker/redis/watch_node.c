/* SPDX-License-Identifier: MIT */
/* broker/redis/watch_node.c - the nodes that a watch watches: those that have a queue. */
#include "broker/redis/watch.h"

/* With the lock. A free place, when there is none yet: as many as queues are enough. */
static uint16_t place_of(cq_redis_watch *watch, cq_pool *pool)
{
    uint16_t free_place = CQ_WATCH_NOBODY;

    for (uint16_t i = 0; i < watch->node_count; i++) {
        if (watch->nodes[i].pool == pool)
            return i;
        if (!watch->nodes[i].pool && free_place == CQ_WATCH_NOBODY)
            free_place = i;
    }
    if (free_place == CQ_WATCH_NOBODY && watch->node_count < CQ_QUEUES_LIMIT)
        free_place = (uint16_t)watch->node_count++;
    if (free_place != CQ_WATCH_NOBODY) {
        watch->nodes[free_place].pool = pool;
        watch->nodes[free_place].listener_id = 0;
    }
    return free_place;
}

/* With the lock: free the places that no queue is at. */
static void retire(cq_redis_watch *watch, cq_pool *const *pools)
{
    for (size_t i = 0; i < watch->node_count; i++) {
        cq_watch_node *node = &watch->nodes[i];
        bool used = false;

        for (size_t q = 0; q < watch->intake->queue_count && !used; q++)
            used = pools[q] == node->pool;
        if (node->pool && !used) {
            node->pool = NULL;
            node->listener_id = 0;
        }
    }
}

static void note_moved(cq_redis_watch *watch, size_t queue, uint16_t place)
{
    if (watch->node_of[queue] == place)
        return;
    watch->node_of[queue] = place;
    watch->noticed[queue] = CQ_VIEW_ALL;
    watch->notices = true;
}

size_t cq_watch_map(cq_redis_watch *watch)
{
    const cq_redis_intake *intake = watch->intake;
    cq_pool *pools[CQ_QUEUES_LIMIT];
    bool changed;
    size_t count;

    for (size_t q = 0; q < intake->queue_count; q++)
        if (cq_redis_pool_of(intake->redis, intake->queues[q].prefix, &pools[q], NULL))
            pools[q] = NULL;
    pthread_mutex_lock(&watch->lock);
    retire(watch, pools);
    for (size_t q = 0; q < intake->queue_count; q++)
        note_moved(watch, q, pools[q] ? place_of(watch, pools[q]) : CQ_WATCH_NOBODY);
    count = watch->node_count;
    changed = watch->notices;
    pthread_mutex_unlock(&watch->lock);
    if (changed)
        cq_event_set(&watch->event);
    return count;
}

cq_pool *cq_watch_pool(cq_redis_watch *watch, size_t node)
{
    cq_pool *pool;

    pthread_mutex_lock(&watch->lock);
    pool = watch->nodes[node].pool;
    pthread_mutex_unlock(&watch->lock);
    return pool;
}

int64_t cq_watch_listener(cq_redis_watch *watch, size_t node)
{
    int64_t id;

    pthread_mutex_lock(&watch->lock);
    id = watch->nodes[node].listener_id;
    pthread_mutex_unlock(&watch->lock);
    return id;
}

void cq_watch_set_listener(cq_redis_watch *watch, size_t node, const cq_pool *pool,
                           int64_t id)
{
    pthread_mutex_lock(&watch->lock);
    if (watch->nodes[node].pool == pool)
        watch->nodes[node].listener_id = id;
    pthread_mutex_unlock(&watch->lock);
    cq_event_set(&watch->event);
}
