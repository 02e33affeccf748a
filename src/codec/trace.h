/* SPDX-License-Identifier: MIT */
/* codec/trace.h - where a task stands in a trace: the W3C traceparent header as data.
 *
 * "00-TRACEID-SPANID-FLAGS", in lower-case hex: 32, 16 and 2 digits. */
#ifndef CQ_CODEC_TRACE_H
#define CQ_CODEC_TRACE_H

#include "base/str.h"

#define CQ_TRACEPARENT_LEN    55
#define CQ_TRACE_FLAG_SAMPLED 0x01

typedef struct cq_trace {
    unsigned char trace_id[16]; /* not all zero */
    unsigned char span_id[8];   /* not all zero */
    unsigned char flags;
} cq_trace;

/* EINVAL with the reason, *out is untouched then. Of a version above 00 the fields of
 * version 00 are read, as the standard asks. */
cronq_status cq_trace_parse(cq_str text, cq_trace *out, cronq_error *err);

/* As version 00, NUL-terminated. */
void cq_trace_format(const cq_trace *trace, char out[CQ_TRACEPARENT_LEN + 1]);

/* The ids alone, NUL-terminated. */
void cq_trace_format_ids(const cq_trace *trace, char trace_id[33], char span_id[17]);

#endif
