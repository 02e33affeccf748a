/* SPDX-License-Identifier: MIT */
/* inspector/internal.h - what the files of this folder share. */
#ifndef CQ_INSPECTOR_INTERNAL_H
#define CQ_INSPECTOR_INTERNAL_H

#include "broker/broker.h"
#include "codec/message.h"

#include <cronq/inspector.h>

#define CQ_INSPECT_LIMIT_BYTES ((size_t)2 << 30)

/* Nothing but the broker, which is safe to share. */
struct cronq_inspector {
    cq_broker *broker;
};

cronq_status cq_inspect_check_queue(const char *queue, cronq_error *err);

/* The store's time; measured first. */
cronq_status cq_inspect_now(cronq_inspector *inspector, int64_t *now_ns,
                            cronq_error *err);

/* Does it fit? message: decoded, or NULL when it can not be. NULL fits all. */
bool cq_filter_fits(const cronq_filter *filter, const cq_record *record,
                    const cq_message *message, int64_t now_ns);
/* Is there anything but a group in it? */
bool cq_filter_selects(const cronq_filter *filter);

/* The groups whose tasks are meant: the filter's, else all, sorted; for states without
 * groups, one that is empty. */
cronq_status cq_inspect_groups(cronq_inspector *inspector, cq_str queue,
                               cronq_state state, const cronq_filter *filter,
                               cq_arena *arena, cq_group_count **out, size_t *count,
                               cronq_error *err);

#endif
