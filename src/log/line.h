/* SPDX-License-Identifier: MIT */
/* log/line.h - one log record as one line of JSON or of plain text. */
#ifndef CQ_LOG_LINE_H
#define CQ_LOG_LINE_H

#include "base/buf.h"

/* Append the record and a newline. Any bytes in it give a valid line; a text of more than
 * max_content_bytes is cut. */
void cq_log_line_json(cq_buf *out, const cronq_log_record *record,
                      size_t max_content_bytes);
void cq_log_line_plain(cq_buf *out, const cronq_log_record *record,
                       size_t max_content_bytes);

#endif
