/* SPDX-License-Identifier: MIT */
/* batch.c - batches of attempts. */
#include "worker/batch.h"

#include <stdlib.h>

#define SPARE_LIMIT         4
#define IDLE_SPARE_LIMIT    2
#define SPARE_BYTES_LIMIT   ((size_t)256 << 10)
#define BATCH_LIMIT_BYTES   ((size_t)4 << 30)
#define SNAPSHOT_FIRST_ROOM 16

void cq_live_init(cq_live *live)
{
    *live = (cq_live){ 0 };
    pthread_mutex_init(&live->mutex, NULL);
}

static void free_batches(cq_batch *batch)
{
    for (cq_batch *next; batch; batch = next) {
        next = batch->next;
        for (size_t i = 0; i < batch->count; i++)
            cq_attempt_release(&batch->attempts[i]);
        cq_arena_release(&batch->arena);
        free(batch);
    }
}

void cq_live_release(cq_live *live)
{
    free_batches(live->first);
    free_batches(live->spare);
    pthread_mutex_destroy(&live->mutex);
}

cq_batch *cq_live_new_batch(cq_live *live)
{
    cq_batch *batch;

    pthread_mutex_lock(&live->mutex);
    batch = live->spare;
    if (batch) {
        live->spare = batch->next;
        live->spare_count--;
    }
    pthread_mutex_unlock(&live->mutex);
    if (batch)
        return batch;
    batch = calloc(1, sizeof *batch);
    if (batch)
        cq_arena_init(&batch->arena, BATCH_LIMIT_BYTES);
    return batch;
}

/* The mutex is held. A batch that held large payloads is not worth keeping. */
static bool keep_spare(cq_live *live, cq_batch *batch)
{
    bool small = batch->arena.used <= SPARE_BYTES_LIMIT;

    batch->attempts = NULL;
    batch->count = 0;
    if (!small || live->spare_count >= SPARE_LIMIT)
        return false;
    cq_arena_reset(&batch->arena);
    batch->next = live->spare;
    live->spare = batch;
    live->spare_count++;
    return true;
}

void cq_live_return(cq_live *live, cq_batch *batch)
{
    bool kept;

    pthread_mutex_lock(&live->mutex);
    kept = keep_spare(live, batch);
    pthread_mutex_unlock(&live->mutex);
    if (kept)
        return;
    cq_arena_release(&batch->arena);
    free(batch);
}

void cq_live_trim(cq_live *live)
{
    cq_batch *surplus = NULL;

    pthread_mutex_lock(&live->mutex);
    while (live->spare_count > IDLE_SPARE_LIMIT) {
        cq_batch *batch = live->spare;

        live->spare = batch->next;
        live->spare_count--;
        batch->next = surplus;
        surplus = batch;
    }
    pthread_mutex_unlock(&live->mutex);
    free_batches(surplus);
}

void cq_live_add(cq_live *live, cq_batch *batch)
{
    pthread_mutex_lock(&live->mutex);
    batch->references = 1;
    batch->previous = NULL;
    batch->next = live->first;
    if (live->first)
        live->first->previous = batch;
    live->first = batch;
    live->count++;
    pthread_mutex_unlock(&live->mutex);
}

static void unlink_batch(cq_live *live, cq_batch *batch)
{
    if (batch->previous)
        batch->previous->next = batch->next;
    else
        live->first = batch->next;
    if (batch->next)
        batch->next->previous = batch->previous;
    live->count--;
}

void cq_live_drop(cq_live *live, cq_batch *batch)
{
    bool last;

    pthread_mutex_lock(&live->mutex);
    last = --batch->references == 0;
    if (last)
        unlink_batch(live, batch);
    pthread_mutex_unlock(&live->mutex);
    if (last)
        cq_live_return(live, batch);
}

/* The mutex is held. */
static bool make_room(cq_batch ***batches, size_t *room, size_t need)
{
    size_t more = *room ? *room : SNAPSHOT_FIRST_ROOM;
    cq_batch **grown;

    if (need <= *room)
        return true;
    while (more < need)
        more *= 2;
    grown = realloc(*batches, more * sizeof(cq_batch *));
    if (!grown)
        return false;
    *batches = grown;
    *room = more;
    return true;
}

cronq_status cq_live_snapshot(cq_live *live, cq_batch ***batches, size_t *count,
                              size_t *room)
{
    cronq_status status = CRONQ_ENOMEM;
    size_t taken = 0;

    pthread_mutex_lock(&live->mutex);
    if (make_room(batches, room, live->count)) {
        for (cq_batch *batch = live->first; batch; batch = batch->next) {
            batch->references++;
            (*batches)[taken++] = batch;
        }
        *count = taken;
        status = CRONQ_OK;
    }
    pthread_mutex_unlock(&live->mutex);
    return status;
}

void cq_live_each(cq_live *live, void (*visit)(cronq_attempt *attempt, void *arg),
                  void *arg)
{
    pthread_mutex_lock(&live->mutex);
    for (cq_batch *batch = live->first; batch; batch = batch->next)
        for (size_t i = 0; i < batch->count; i++)
            visit(&batch->attempts[i], arg);
    pthread_mutex_unlock(&live->mutex);
}
