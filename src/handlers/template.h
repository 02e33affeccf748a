/* SPDX-License-Identifier: MIT */
/* handlers/template.h - arguments of a command, some of which a task fills in.
 *
 * A placeholder is a whole argument and becomes exactly one: {payload}, {payload.KEY} (a
 * member of a JSON object), {task_id}, {queue}, {type}, {retry}, {max_retry}. */
#ifndef CQ_HANDLERS_TEMPLATE_H
#define CQ_HANDLERS_TEMPLATE_H

#include "base/arena.h"
#include "base/buf.h"

#include <cronq/server.h>

/* Of one argument: is it a placeholder? EINVAL: it holds one among other text. */
cronq_status cq_template_check(const char *arg, bool *is_placeholder, cronq_error *err);

/* argv with what the attempt gives, NULL-terminated, in the arena. options_over: a value
 * may begin with '-' anywhere, not only after "--". EINVAL: what the task has does not
 * fit, whenever it is tried. */
cronq_status cq_template_fill(const char *const *argv, bool options_over,
                              const cronq_attempt *attempt, cq_arena *arena,
                              const char *const **out, cronq_error *err);

/* text with every placeholder replaced, wherever it stands: {payload} by the payload as
 * it is, the others by JSON values, so that a JSON text stays one. EINVAL as above. */
cronq_status cq_template_expand(const char *text, const cronq_attempt *attempt,
                                cq_arena *arena, cq_buf *out, cronq_error *err);

#endif
