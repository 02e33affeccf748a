/* SPDX-License-Identifier: MIT */
/* dash/text.h - foreign bytes as cells of a terminal, harmlessly.
 *
 * Control characters are shown as ^X, what is not UTF-8 or not printable as U+FFFD, so
 * that nothing that a store holds can move the cursor or change the terminal. Widths are
 * those of the C library's locale. */
#ifndef CQ_DASH_TEXT_H
#define CQ_DASH_TEXT_H

#include "base/buf.h"

/* Append what fits into so many cells; returns how many it took. Without unicode
 * everything beyond ASCII is a question mark. */
size_t cq_dash_fit(cq_buf *out, cq_str text, size_t cells, bool unicode);

/* Cut the next line off *rest: up to a newline, or as much as fits into the cells. False
 * when nothing is left. */
bool cq_dash_next_line(cq_str *rest, size_t cells, bool unicode, cq_str *line);

typedef enum cq_dash_form {
    CQ_DASH_AUTO, /* JSON when it is, else text when it is, else hex */
    CQ_DASH_TEXT,
    CQ_DASH_JSON,
    CQ_DASH_HEX,
} cq_dash_form;
#define CQ_DASH_FORM_COUNT 4

#define CQ_DASH_SHOWN_BYTES 65536

/* Append the payload, at most its first CQ_DASH_SHOWN_BYTES, as lines for a window of so
 * many cells; returns the form that it got. What is no JSON is shown as text. */
cq_dash_form cq_dash_format(cq_buf *out, cronq_bytes payload, cq_dash_form form,
                            size_t cells);

/* The last count samples as bars, scaled to the highest of them. */
void cq_dash_spark(cq_buf *out, const double *samples, size_t count, bool unicode);

/* "99999", "12.3M". */
void cq_dash_count(cq_buf *out, uint64_t count);
/* "12s", "3m20s", "5h01m", "9d"; negative ones are 0. */
void cq_dash_span(cq_buf *out, int64_t ms);
/* "in 12s", "12s ago", "-" for 0. */
void cq_dash_relative(cq_buf *out, int64_t at_ms, int64_t now_ms);
/* "2026-01-31 09:00:00" of the local zone; "-" for 0. */
void cq_dash_instant(cq_buf *out, int64_t at_ms);

#endif
