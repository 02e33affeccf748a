/* SPDX-License-Identifier: MIT */
/* obs/span.h - making spans: who they are, what they hold, handing them over.
 *
 * Where there is no tracer nothing here is called. A span that is not sampled is only its
 * cq_span_id: it has a context, which travels, and costs no memory. */
#ifndef CQ_OBS_SPAN_H
#define CQ_OBS_SPAN_H

#include "base/arena.h"
#include "codec/trace.h"

#include <cronq/trace.h>

#define CQ_HEADER_TRACEPARENT "traceparent"
#define CQ_HEADER_TRACESTATE  "tracestate"

/* Who a span is. */
typedef struct cq_span_id {
    cq_trace own;
    unsigned char parent_id[8]; /* zeros: the first of its trace */
    int64_t start_ns;           /* 0: not recorded */
} cq_span_id;

/* Begin one below parent, or without one a trace. */
void cq_span_identify(cronq_tracer *tracer, const cq_trace *parent, cq_span_id *out);

/* It begins a trace of its own after all, sampled or not as it was. */
void cq_span_leave(cronq_tracer *tracer, cq_span_id *id);

/* In a process that was forked with it: no id may be there twice. */
void cq_tracer_reseed(cronq_tracer *tracer);

bool cq_tracer_links_retries(const cronq_tracer *tracer);

#define CQ_SPAN_FIRST_ATTRIBUTES 24

/* What is recorded of one. The texts of the cq_span_put calls and of the record are
 * borrowed until cq_span_finish, those of the public functions are in the arena. */
struct cronq_span {
    cronq_tracer *tracer;
    cq_trace own;
    cronq_span_record record;
    cronq_attribute first[CQ_SPAN_FIRST_ATTRIBUTES], *attributes;
    size_t attribute_room, event_room;
    cronq_span_event *events;
    cronq_span *parent, *children, *next; /* children that are open, newest first */
    size_t *open_count;                   /* below the attempt's span; shared */
    size_t own_open_count;
    bool is_child; /* on the heap, ended by its user */
    cq_arena arena;
    char traceparent[CQ_TRACEPARENT_LEN + 1];
};

/* id is a recorded one. cq_span_finish must follow. */
void cq_span_init(cronq_span *span, cronq_tracer *tracer, const cq_span_id *id,
                  cronq_span_kind kind);
/* Its name: prefix and the type. */
void cq_span_name(cronq_span *span, const char *prefix, cq_str type);
void cq_span_put_text(cronq_span *span, const char *key, const char *value);
void cq_span_put_str(cronq_span *span, const char *key, cq_str value); /* copied */
void cq_span_put_number(cronq_span *span, const char *key, int64_t value);
/* As OpenTelemetry's RecordError: an event, the attribute error.type and the status. */
void cq_span_fail(cronq_span *span, cronq_status status, cq_str text);
/* What every span about a message says. operation is "send" or "process". */
void cq_span_put_message(cronq_span *span, const char *operation, cq_str queue, cq_str id,
                         size_t payload_bytes);
/* Ends the children that are open, hands over, and frees all but the struct. */
void cq_span_finish(cronq_span *span);

#endif
