/* SPDX-License-Identifier: MIT */
/* cronq/trace.h - spans of what is pushed and run, in the terms of OpenTelemetry.
 *
 * A program makes one tracer and gives it to the options of its servers, clients and
 * schedulers; without one, headers pass through and nothing else happens. The context
 * travels in the headers "traceparent", "tracestate" and "baggage" of a task (W3C).
 * cronq/otlp.h exports spans; docs/tracing.md says what is in them. */
#ifndef CRONQ_TRACE_H
#define CRONQ_TRACE_H

#include "base.h"

CRONQ_BEGIN

/* The numbers are those of OTLP. */
typedef enum cronq_span_kind {
    CRONQ_SPAN_INTERNAL = 1,
    CRONQ_SPAN_PRODUCER = 4,
    CRONQ_SPAN_CONSUMER = 5
} cronq_span_kind;

typedef enum cronq_span_status {
    CRONQ_SPAN_UNSET = 0,
    CRONQ_SPAN_OK = 1,
    CRONQ_SPAN_ERROR = 2
} cronq_span_status;

typedef struct cronq_attribute {
    const char *key;
    const char *text; /* NULL: the value is number */
    int64_t number;
} cronq_attribute;

typedef struct cronq_span_event {
    const char *name;
    int64_t at_ns; /* Unix nanoseconds */
    const cronq_attribute *attributes;
    size_t attribute_count;
} cronq_span_event;

/* A span that has ended. Everything is borrowed for the call; texts are as they were
 * given, and may not be UTF-8. */
typedef struct cronq_span_record {
    size_t struct_size;
    unsigned char trace_id[16], span_id[8];
    unsigned char parent_id[8]; /* zeros: the first of its trace */
    unsigned char flags;        /* of traceparent */
    const char *trace_state;    /* the header tracestate; may be NULL */
    const char *name;
    cronq_span_kind kind;
    int64_t start_ns, end_ns; /* Unix nanoseconds */
    const cronq_attribute *attributes;
    size_t attribute_count;
    const cronq_span_event *events;
    size_t event_count;
    uint32_t dropped_attribute_count, dropped_event_count;
    const char *link; /* traceparent of a span that is no parent; NULL: none */
    cronq_span_status status;
    const char *status_text; /* NULL: none */
} cronq_span_record;

/* Receives each span when it ends, in the thread that ended it, several at once. It is on
 * the path of the tasks: it must not block. */
typedef void cronq_span_fn(void *arg, const cronq_span_record *span);

#define CRONQ_SAMPLE_NONE (-1.0)

typedef struct cronq_tracer_options {
    size_t struct_size;   /* set by CRONQ_TRACER_OPTIONS() */
    cronq_span_fn *write; /* NULL: contexts travel, no span is made */
    void *write_arg;
    double sample_ratio; /* of traces that begin here; 0: all; CRONQ_SAMPLE_NONE. Others
                            are followed as their traceparent says */
    bool retry_links;    /* a retry begins a trace of its own, linked to the push */
} cronq_tracer_options;

#define CRONQ_TRACER_OPTIONS(...)                                                \
    (&(const cronq_tracer_options){ .struct_size = sizeof(cronq_tracer_options), \
                                    __VA_ARGS__ })

/* Safe to share between threads; takes no lock. */
typedef struct cronq_tracer cronq_tracer;

cronq_status cronq_tracer_new(const cronq_tracer_options *options, cronq_tracer **out,
                              cronq_error *err) CRONQ_CHECKED;
/* NULL is fine. Whoever was given it must be freed before. */
void cronq_tracer_free(cronq_tracer *tracer);

/* A span under way: cronq_attempt_span gives the one of an attempt, begin makes children.
 * It belongs to the thread of the attempt. NULL stands for a span that is not sampled:
 * every function takes it and does nothing. Texts are copied. A span keeps at most 128
 * attributes, 128 events and 64 KiB, an attempt at most 1,000 children at once; what is
 * more is counted, not kept. */
typedef struct cronq_span cronq_span;

/* NULL also when there is no memory for it. */
cronq_span *cronq_span_begin(cronq_span *parent, const char *name) CRONQ_CHECKED;
/* Hands it to write, with the children that are open; not for the span of the attempt,
 * which ends by itself and ends what is open then. */
void cronq_span_end(cronq_span *span);

/* An attribute of the same key is replaced. */
void cronq_span_set_text(cronq_span *span, const char *key, const char *value);
void cronq_span_set_number(cronq_span *span, const char *key, int64_t value);
void cronq_span_add_event(cronq_span *span, const char *name,
                          const cronq_attribute *attributes, size_t attribute_count);
/* Not for the span of an attempt, whose status is its outcome's. text may be NULL. */
void cronq_span_set_status(cronq_span *span, cronq_span_status status, const char *text);

/* For what is called under this span, as in cronq_task.traceparent: 55 characters that
 * live as long as the span. NULL for NULL. */
const char *cronq_span_traceparent(const cronq_span *span);

CRONQ_END
#endif /* CRONQ_TRACE_H */
