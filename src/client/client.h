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

/* Push the task of one tick of a cron entry, once however many schedulers do: EDUP when
 * another one has, ESTATE when skip_overlap and the last run is not over. The id is
 * ID_PREFIX:TICK, the prefix being task->id or else the entry's id. */
cronq_status cq_client_push_tick(cronq_client *client, const cronq_task *task,
                                 const char *entry_id, int64_t tick_at_s,
                                 bool skip_overlap, cronq_task_info **info,
                                 cronq_error *err);

/* Check a task as a push would, storing nothing. */
cronq_status cq_client_check(cronq_client *client, const cronq_task *task,
                             cronq_error *err);

#endif
