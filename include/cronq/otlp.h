/* SPDX-License-Identifier: MIT */
/* cronq/otlp.h - exports spans by OTLP over HTTP, or into a file.
 *
 * Part of libcronq-service. A span is encoded when it ends and put into a queue with a
 * limit; a thread sends what is there. A receiver that is slow or away costs spans, which
 * are counted, never time. */
#ifndef CRONQ_OTLP_H
#define CRONQ_OTLP_H

#include "task.h"
#include "trace.h"

CRONQ_BEGIN

typedef enum cronq_otlp_encoding {
    CRONQ_OTLP_PROTOBUF = 0,
    CRONQ_OTLP_JSON = 1
} cronq_otlp_encoding;

typedef struct cronq_otlp_options {
    size_t struct_size; /* set by CRONQ_OTLP_OPTIONS() */
    cronq_logger logger;
    const char *service_name; /* the attribute service.name; required */
    const char *url;          /* http:// or https://, with its path (/v1/traces) */
    const char *path;         /* or a file to append to: a JSON request a line */
    cronq_otlp_encoding encoding;
    const cronq_header *headers; /* of each request, as for credentials */
    size_t header_count;
    const cronq_header *resource; /* attributes beside service.name; at most 128 */
    size_t resource_count;
    const char *ca_file;        /* PEM; default the system's */
    int64_t timeout_ms;         /* of a request; 0: 10,000 */
    int64_t delay_ms;           /* a span waits this long for others; 0: 5,000 */
    uint32_t batch_count;       /* or until there are so many; 0: 512 */
    uint32_t queue_limit_count; /* more are dropped; 0: 2,048, at most 1,000,000 */
    size_t queue_limit_bytes;   /* the same, encoded; 0: 4 MiB. As much again may be on
                                   its way */
    int64_t stop_timeout_ms;    /* how long a free may send what is left; 0: 3,000 */
} cronq_otlp_options;

#define CRONQ_OTLP_OPTIONS(...)                                              \
    (&(const cronq_otlp_options){ .struct_size = sizeof(cronq_otlp_options), \
                                  __VA_ARGS__ })

typedef struct cronq_otlp cronq_otlp;

/* Starts the thread, connects to nothing yet. Options are copied. EINVAL; EIO when the
 * file can not be opened. */
cronq_status cronq_otlp_new(const cronq_otlp_options *options, cronq_otlp **out,
                            cronq_error *err) CRONQ_CHECKED;
/* Sends what is left. The tracer must have been freed before. NULL is fine. */
void cronq_otlp_free(cronq_otlp *otlp);

/* For cronq_tracer_options: .write = cronq_otlp_write, .write_arg = the exporter. */
void cronq_otlp_write(void *otlp, const cronq_span_record *span);

/* Wait until what was written is sent or given up. ETIMEDOUT. */
cronq_status cronq_otlp_flush(cronq_otlp *otlp, int64_t timeout_ms, cronq_error *err);

/* Spans that the receiver took, and that were lost: for a full queue, or given up. */
uint64_t cronq_otlp_sent_count(const cronq_otlp *otlp);
uint64_t cronq_otlp_dropped_count(const cronq_otlp *otlp);

CRONQ_END
#endif /* CRONQ_OTLP_H */
