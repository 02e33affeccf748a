/* SPDX-License-Identifier: MIT */
/* handlers/http.h - a request that was checked, and the senders that are idle.
 *
 * Invariants: what the options said does not change; a sender is in the list of idle
 * ones, or one attempt's. There are at most as many as attempts at once. A sender keeps
 * its connections. */
#ifndef CQ_HANDLERS_HTTP_H
#define CQ_HANDLERS_HTTP_H

#include "base/arena.h"
#include "base/buf.h"

#include <cronq/handlers.h>
#include <curl/curl.h>
#include <pthread.h>

typedef struct cq_sender {
    struct cq_sender *next;
    CURL *curl;
    CURLM *multi;
    const cronq_http *http;
    char why[CURL_ERROR_SIZE];
    bool is_refused;     /* an address was */
    bool answer_is_cut;  /* and the transfer ended there */
    size_t answer_bytes; /* that came */
    cq_buf answer;       /* that are kept */
} cq_sender;

struct cronq_http {
    cq_arena arena;
    const char *url, *method, *body, *secret_file, *ca_file;
    const cronq_header *headers;
    size_t header_count, output_bytes;
    bool allow_private, has_content_type;
    int64_t timeout_ms;
    pthread_mutex_t mutex;
    cq_sender *idle;
};

/* NULL: out of memory. */
cq_sender *cq_sender_take(cronq_http *http);
void cq_sender_put(cronq_http *http, cq_sender *sender);

/* For who sends something else: a header, and those of the signature of a body. */
cronq_status cq_http_add_line(struct curl_slist **headers, const char *key,
                              const char *value, cronq_error *err);
cronq_status cq_http_add_signature(struct curl_slist **headers, const cronq_http *http,
                                   const char *task_id, cronq_bytes body, cq_arena *arena,
                                   cronq_error *err);

#endif
