/* SPDX-License-Identifier: MIT */
/* client/client.h - what the scheduler needs of the client beside the public API. */
#ifndef CQ_CLIENT_CLIENT_H
#define CQ_CLIENT_CLIENT_H

#include "broker/broker.h"

#include <cronq/client.h>

/* A client on a broker that somebody else owns and keeps until after cronq_client_free.
 */
cronq_status cq_client_new_on(cq_broker *broker, const cronq_client_options *options,
                              cronq_client **out, cronq_error *err);

/* One tick of a cron entry: what is pushed for it, and what became of that. */
typedef struct cq_tick {
    const cronq_task *task;
    const char *entry_id;
    int64_t at_s;
    bool skip_overlap;
    cronq_task_info *info; /* out: the caller's to free; NULL unless OK */
    cronq_error result;    /* out: code OK, or why not */
} cq_tick;

/* Push the tasks of ticks, each once however many schedulers do: EDUP when another one
 * has, ESTATE when skip_overlap and the last run is not over. The id is ID_PREFIX:AT_S,
 * the prefix being task->id or else the entry's id. */
void cq_client_push_ticks(cronq_client *client, cq_tick *ticks, size_t count);

/* Check a task as a push would, storing nothing. */
cronq_status cq_client_check(cronq_client *client, const cronq_task *task,
                             cronq_error *err);

#endif
