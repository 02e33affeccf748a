/* SPDX-License-Identifier: MIT */
/* codec/option.h - options of a scheduler's entry as text: MaxRetry(3), Queue("q"), …
 *
 * Written for Asynq's tools, which show them. All functions append to out. */
#ifndef CQ_CODEC_OPTION_H
#define CQ_CODEC_OPTION_H

#include "base/buf.h"
#include "base/quote.h"

void cq_option_max_retry(cq_buf *out, int64_t count); /* negative prints 0 */
void cq_option_queue(cq_buf *out, cq_str queue);
void cq_option_task_id(cq_buf *out, cq_str id);
void cq_option_timeout(cq_buf *out, int64_t ns);
void cq_option_deadline(cq_buf *out,
                        int64_t unix_s); /* UTC, in the form of Unix date(1) */
void cq_option_unique(cq_buf *out, int64_t ttl_ns);
void cq_option_process_at(cq_buf *out, int64_t unix_s);
void cq_option_process_in(cq_buf *out, int64_t ns);
void cq_option_retention(cq_buf *out, int64_t ns);
void cq_option_group(cq_buf *out, cq_str group);
void cq_option_header(cq_buf *out, cq_str key, cq_str value);

#endif
