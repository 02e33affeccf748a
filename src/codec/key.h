/* SPDX-License-Identifier: MIT */
/* codec/key.h - names of keys in the store, and which names are allowed in them.
 *
 * All functions append to out. The braces around a queue's name are the hash tag of Redis
 * Cluster: all keys of a queue share a slot. */
#ifndef CQ_CODEC_KEY_H
#define CQ_CODEC_KEY_H

#include "base/buf.h"
#include "base/quote.h"

#include <cronq/base.h>

#define CQ_NAME_LIMIT_BYTES 200 /* queues; types, ids and groups may have 1024 */
#define CQ_ID_LIMIT_BYTES   1024

#define CQ_KEY_QUEUES     "asynq:queues"
#define CQ_KEY_SERVERS    "asynq:servers"
#define CQ_KEY_WORKERS    "asynq:workers"
#define CQ_KEY_SCHEDULERS "asynq:schedulers"
#define CQ_CHANNEL_CANCEL "asynq:cancel"

/* "asynq:{QUEUE}:" */
void cq_key_prefix(cq_buf *out, cq_str queue);
/* "asynq:{QUEUE}:NAME", NAME one of pending, active, lease, scheduled, … */
void cq_key_of(cq_buf *out, cq_str queue, const char *name);
/* "asynq:{QUEUE}:t:ID" */
void cq_key_task(cq_buf *out, cq_str queue, cq_str id);
/* "asynq:{QUEUE}:g:GROUP", and "asynq:{QUEUE}:g:GROUP:SETID" */
void cq_key_group(cq_buf *out, cq_str queue, cq_str group);
void cq_key_aggregation_set(cq_buf *out, cq_str queue, cq_str group, cq_str set_id);
/* "asynq:{QUEUE}:unique:TYPE:MD5HEX", nothing behind the last colon for an absent payload
 */
void cq_key_unique(cq_buf *out, cq_str queue, cq_str type, cronq_bytes payload);
/* "asynq:{QUEUE}:processed:2026-11-22" (UTC), NAME processed or failed */
void cq_key_daily(cq_buf *out, cq_str queue, const char *name, int64_t now_s);
/* "asynq:servers:{HOST:PID:SERVERID}", "asynq:workers:{…}",
 * "asynq:schedulers:{SCHEDULERID}", "asynq:scheduler_history:ENTRYID" */
void cq_key_server(cq_buf *out, cq_str host, int pid, cq_str server_id);
void cq_key_workers(cq_buf *out, cq_str host, int pid, cq_str server_id);
void cq_key_scheduler(cq_buf *out, cq_str scheduler_id);
void cq_key_history(cq_buf *out, cq_str entry_id);

/* EINVAL naming the field, the value (escaped, cut to 80 characters) and the limit. A
 * queue's name is not blank, has no braces, no control bytes, is UTF-8 of at most 200
 * bytes. Types, task ids and groups are not blank, UTF-8, without control bytes, and at
 * most 1024 bytes. */
cronq_status cq_check_queue(cq_str name, cronq_error *err);
cronq_status cq_check_type(cq_str type, cronq_error *err);
cronq_status cq_check_task_id(cq_str id, cronq_error *err);
cronq_status cq_check_group(cq_str group, cronq_error *err);

#endif
