/* SPDX-License-Identifier: MIT */
/* log/repeat.h - warnings and errors that repeat: the first ones of a while are written,
 * the others counted.
 *
 * Lines are alike when they come from one place in the source, or without that have the
 * same text. What shares a slot with another pushes it out: then more is written, never
 * less. */
#ifndef CQ_LOG_REPEAT_H
#define CQ_LOG_REPEAT_H

#include <cronq/base.h>

#define CQ_REPEAT_SLOTS     64
#define CQ_REPEAT_WINDOW_MS 10000

typedef struct cq_repeat_slot {
    uint64_t hash;
    int64_t begun_ms; /* monotonic */
    uint32_t count;
    uint64_t left_out;
    char place[64];
} cq_repeat_slot;

typedef struct cq_repeats {
    uint32_t limit; /* lines of one place in a window */
    cq_repeat_slot slots[CQ_REPEAT_SLOTS];
} cq_repeats;

/* Is it to be written? *over: what was in its slot before; when lines of that were left
 * out, somebody should be told. */
bool cq_repeats_admit(cq_repeats *repeats, const cronq_log_record *record, int64_t now_ms,
                      cq_repeat_slot *over);

#endif
