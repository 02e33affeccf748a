/* SPDX-License-Identifier: MIT */
/* codec/failures.h - the last failures of a task, as stores keep them: lines, the newest
 * first, each "UNIX_MS ATTEMPT HOST TEXT". In TEXT a newline is \n and a backslash \\. */
#ifndef CQ_CODEC_FAILURES_H
#define CQ_CODEC_FAILURES_H

#include "base/buf.h"

#include <cronq/task.h>

#define CQ_FAILURES_LIMIT           10
#define CQ_FAILURE_TEXT_LIMIT_BYTES ((size_t)1024)
#define CQ_FAILURE_LINE_LIMIT_BYTES ((size_t)4096)

/* Append the line, without a newline. The text is repaired and cut, a host without a name
 * is "-". */
void cq_failure_append(cq_buf *out, const cronq_failure *failure);

/* Append a line and the newest of those that there were, as many as are kept. */
void cq_failures_append(cq_buf *out, cronq_bytes line, cronq_bytes before);

/* Read them where they are: texts are unescaped and ended in place, with one byte behind
 * lines[len] for the last one's end. What is no line is left out. Returns how many. */
size_t cq_failures_read(char *lines, size_t len, cronq_failure out[CQ_FAILURES_LIMIT]);

#endif
