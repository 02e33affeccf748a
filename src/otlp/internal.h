/* SPDX-License-Identifier: MIT */
/* otlp/internal.h - what the files of this folder share.
 *
 * Requests are put together from spans that were encoded before: in both encodings the
 * spans of a request are a run of bytes between a head and, in JSON, a tail. */
#ifndef CQ_OTLP_INTERNAL_H
#define CQ_OTLP_INTERNAL_H

#include "base/buf.h"

#include <cronq/otlp.h>

/* What is written before the spans: the resource, once. */
typedef struct cq_otlp_encoder {
    /* Append a span, as it stands among others. */
    void (*span)(cq_buf *out, const cronq_span_record *span);
    /* Append the attributes of the resource. */
    void (*resource)(cq_buf *out, const cronq_attribute *attributes, size_t count);
    /* Append a whole request. */
    void (*request)(cq_buf *out, cq_str resource, cq_str spans);
    const char *content_type;
} cq_otlp_encoder;

extern const cq_otlp_encoder cq_otlp_protobuf, cq_otlp_json;

/* Where requests go. */
typedef enum cq_sent { CQ_SENT, CQ_SENT_AGAIN, CQ_SENT_NEVER } cq_sent;

typedef struct cq_http cq_http;

/* The receiver of options->url. Used by one thread at a time. */
cronq_status cq_http_new(const cronq_otlp_options *options, const char *content_type,
                         cq_http **out, cronq_error *err);
void cq_http_free(cq_http *http);
/* Ends after timeout_ms, or soon after is_over returns true. *wait_ms: how long the
 * receiver asks to wait before the next try, or 0. err says why it was not sent. */
cq_sent cq_http_post(cq_http *http, cq_str body, int64_t timeout_ms,
                     bool (*is_over)(void *arg), void *arg, int64_t *wait_ms,
                     cronq_error *err);

#endif
