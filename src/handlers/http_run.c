/* SPDX-License-Identifier: MIT */
/* http_run.c - one attempt of a task that is an HTTP request. */
#include "base/clock.h"
#include "base/error.h"
#include "base/sigpipe.h"
#include "handlers/http.h"
#include "handlers/signature.h"
#include "handlers/template.h"

#include <stdio.h>

#define ARENA_LIMIT_BYTES ((size_t)4 << 20)
#define BODY_LIMIT_BYTES  ((size_t)64 << 20)
#define LINE_BYTES        ((size_t)16 << 10)
#define ASK_EVERY_MS      200 /* is it cancelled?, beside the descriptor */
#define SAID_BYTES        200 /* of an answer, in the text of a failure */
#define MOST_WAIT_S       ((curl_off_t)86400)

/* All that belongs to one request. */
typedef struct request {
    cronq_attempt *attempt;
    const cronq_http *http;
    cq_sender *sender;
    cq_arena arena;
    cq_buf expanded; /* the body, when there is a template */
    cronq_bytes body;
    struct curl_slist *headers;
} request;

cronq_status cq_http_add_line(struct curl_slist **headers, const char *key,
                              const char *value, cronq_error *err)
{
    struct curl_slist *more = NULL;
    cq_buf line;

    cq_buf_init(&line, LINE_BYTES);
    /* An empty header would be left out, were it not for the semicolon. */
    cq_buf_printf(&line, *value ? "%s: %s" : "%s;%s", key, value);
    if (cq_buf_text(&line))
        more = curl_slist_append(*headers, cq_buf_text(&line));
    cq_buf_release(&line);
    if (!more)
        return cq_fail_nomem(err);
    *headers = more;
    return CRONQ_OK;
}

/* Anybody's text as the value of a header: what is not printable ASCII, and the percent
 * sign, becomes %XX, so that it ends no line. NULL: out of memory. */
static const char *header_text(cq_arena *arena, const char *text)
{
    char *out = cq_arena_alloc(arena, strlen(text) * 3 + 1), *at = out;

    for (; out && *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c > 0x20 && c < 0x7F && c != '%')
            *at++ = *text;
        else
            at += snprintf(at, 4, "%%%02X", c);
    }
    if (out)
        *at = '\0';
    return out;
}

static bool is_trace(const char *text)
{
    size_t len = text ? strspn(text, "0123456789abcdef-") : 0;

    return len > 0 && len < 128 && text[len] == '\0';
}

static cronq_status add_own(request *r, cronq_error *err)
{
    const cronq_attempt *attempt = r->attempt;
    const char *trace = cronq_attempt_traceparent(attempt);
    char retry[16], max_retry[16];
    const struct {
        const char *key, *text;
    } rows[] = {
        { "Cronq-Task-Id", header_text(&r->arena, cronq_attempt_task_id(attempt)) },
        { "Cronq-Queue", header_text(&r->arena, cronq_attempt_queue(attempt)) },
        { "Cronq-Type", header_text(&r->arena, cronq_attempt_type(attempt)) },
        { "Cronq-Retry", retry },
        { "Cronq-Max-Retry", max_retry },
    };
    cronq_status status = CRONQ_OK;

    snprintf(retry, sizeof retry, "%d", (int)cronq_attempt_retry_count(attempt));
    snprintf(max_retry, sizeof max_retry, "%d", (int)cronq_attempt_max_retry(attempt));
    for (size_t i = 0; !status && i < sizeof rows / sizeof rows[0]; i++)
        status = rows[i].text
                     ? cq_http_add_line(&r->headers, rows[i].key, rows[i].text, err)
                     : cq_fail_nomem(err);
    if (!status && is_trace(trace))
        status = cq_http_add_line(&r->headers, "traceparent", trace, err);
    return status;
}

cronq_status cq_http_add_signature(struct curl_slist **headers, const cronq_http *http,
                                   const char *task_id, cronq_bytes body, cq_arena *arena,
                                   cronq_error *err)
{
    char signature[CQ_SIGNATURE_BYTES], stamp[24];
    int64_t now_s = cq_wall_ns() / CQ_NS_PER_MS / CQ_MS_PER_S;
    const char *id = header_text(arena, task_id);
    cronq_status status;

    if (!id)
        return cq_fail_nomem(err);
    status = cq_signature_make(http->secret_file, id, now_s, body, signature, err);
    if (status)
        return status;
    snprintf(stamp, sizeof stamp, "%lld", (long long)now_s);
    status = cq_http_add_line(headers, "webhook-id", id, err);
    if (!status)
        status = cq_http_add_line(headers, "webhook-timestamp", stamp, err);
    return status ? status
                  : cq_http_add_line(headers, "webhook-signature", signature, err);
}

static cronq_status add_headers(request *r, cronq_error *err)
{
    const cronq_http *http = r->http;
    bool is_get = strcmp(http->method, "GET") == 0;
    struct curl_slist *more;
    cronq_status status = CRONQ_OK;

    for (size_t i = 0; !status && i < http->header_count; i++)
        status = cq_http_add_line(&r->headers, http->headers[i].key,
                                  http->headers[i].value, err);
    if (!status && !is_get && !http->has_content_type)
        status = cq_http_add_line(
            &r->headers, "Content-Type",
            http->body ? "application/json" : "application/octet-stream", err);
    if (!status)
        status = add_own(r, err);
    if (!status && http->secret_file)
        status =
            cq_http_add_signature(&r->headers, http, cronq_attempt_task_id(r->attempt),
                                  r->body, &r->arena, err);
    if (status)
        return status;
    /* "Expect:" takes away a pause of a second before large bodies. */
    more = curl_slist_append(r->headers, "Expect:");
    if (!more)
        return cq_fail_nomem(err);
    r->headers = more;
    return CRONQ_OK;
}

/* EINVAL: the task will not fit later either. */
static cronq_status prepare(request *r, cronq_error *err)
{
    const cronq_http *http = r->http;
    cronq_status status = CRONQ_OK;

    r->body = (cronq_bytes){ "", 0 };
    if (http->body) {
        status = cq_template_expand(http->body, r->attempt, &r->arena, &r->expanded, err);
        r->body = (cronq_bytes){ r->expanded.data, r->expanded.len };
    } else if (strcmp(http->method, "GET") != 0) {
        r->body = cronq_attempt_payload(r->attempt);
    }
    return status;
}

static void set_request(const request *r)
{
    CURL *curl = r->sender->curl;

    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, r->headers);
    if (strcmp(r->http->method, "GET") == 0)
        return;
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->body.len ? r->body.data : "");
}

/* Until it is over, or the attempt is cancelled: CURLE_ABORTED_BY_CALLBACK. */
static CURLcode transfer(const request *r)
{
    CURLM *multi = r->sender->multi;
    struct curl_waitfd cancel = { cronq_attempt_cancel_fd(r->attempt), CURL_WAIT_POLLIN,
                                  0 };
    const CURLMsg *message;
    int running = 1, left;

    while (running) {
        if (cronq_attempt_cancelled(r->attempt))
            return CURLE_ABORTED_BY_CALLBACK;
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            return CURLE_OUT_OF_MEMORY;
        if (running && curl_multi_poll(multi, &cancel, cancel.fd >= 0, ASK_EVERY_MS,
                                       NULL) != CURLM_OK)
            return CURLE_OUT_OF_MEMORY;
    }
    message = curl_multi_info_read(multi, &left);
    return message && message->msg == CURLMSG_DONE ? message->data.result
                                                   : CURLE_OUT_OF_MEMORY;
}

static CURLcode send_request(const request *r)
{
    cq_sender *sender = r->sender;
    CURLcode code = CURLE_OUT_OF_MEMORY;
    cq_sigpipe guard;

    set_request(r);
    cq_sigpipe_block(&guard); /* OpenSSL writes without a flag against it */
    if (curl_multi_add_handle(sender->multi, sender->curl) == CURLM_OK)
        code = transfer(r);
    curl_multi_remove_handle(sender->multi, sender->curl);
    cq_sigpipe_restore(&guard);
    curl_easy_setopt(sender->curl, CURLOPT_HTTPHEADER, NULL);
    return code;
}

static cronq_status succeed(const request *r)
{
    const cq_sender *sender = r->sender;
    cronq_bytes result = { sender->answer.data, sender->answer.len };
    cronq_error err = { 0 };

    if (sender->answer_bytes > sender->answer.len)
        cronq_attempt_log(r->attempt, CRONQ_LOG_WARN,
                          "the answer has more than %zu bytes: its result is cut",
                          sender->answer.limit);
    if (result.len > 0 && cronq_attempt_write_result(r->attempt, result, &err))
        cronq_attempt_log(r->attempt, CRONQ_LOG_WARN, "the result could not be kept: %s",
                          err.text);
    return CRONQ_OK;
}

/* "HTTP 500: the first line of the answer". */
static void describe(const request *r, long answer, char *out, size_t size)
{
    const cq_buf *said = &r->sender->answer;
    size_t len = said->len < SAID_BYTES ? said->len : SAID_BYTES, line = 0;

    while (line < len && said->data[line] && said->data[line] != '\n' &&
           said->data[line] != '\r')
        line++;
    if (answer >= 300 && answer < 400)
        snprintf(out, size, "HTTP %ld: redirects are not followed", answer);
    else
        snprintf(out, size, "HTTP %ld%s%.*s", answer, line ? ": " : "", (int)line,
                 line ? said->data : "");
}

static cronq_status judge(const request *r)
{
    char text[SAID_BYTES + 64];
    curl_off_t wait_s = 0;
    long answer = 0;

    curl_easy_getinfo(r->sender->curl, CURLINFO_RESPONSE_CODE, &answer);
    if (answer >= 200 && answer < 300)
        return succeed(r);
    describe(r, answer, text, sizeof text);
    curl_easy_getinfo(r->sender->curl, CURLINFO_RETRY_AFTER, &wait_s);
    if (wait_s > MOST_WAIT_S)
        wait_s = MOST_WAIT_S;
    if ((answer == 429 || answer == 503) && wait_s > 0)
        return cronq_attempt_retry_in(r->attempt, (int64_t)wait_s * CQ_MS_PER_S, false,
                                      "%s", text);
    if (answer >= 400 && answer < 500 && answer != 408 && answer != 425 && answer != 429)
        return cronq_attempt_skip_retry(r->attempt, "%s", text);
    return cronq_attempt_fail(r->attempt, "%s", text);
}

static cronq_status conclude(const request *r, CURLcode code)
{
    const cq_sender *sender = r->sender;

    if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && sender->answer_is_cut))
        return judge(r);
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        cronq_status why = cronq_attempt_cancel_reason(r->attempt);

        return why ? why : CRONQ_ECANCELED;
    }
    if (sender->is_refused && code == CURLE_COULDNT_CONNECT)
        return cronq_attempt_fail(r->attempt, "its address is private, which is not "
                                              "allowed");
    return cronq_attempt_fail(r->attempt, "%s",
                              sender->why[0] ? sender->why : curl_easy_strerror(code));
}

cronq_status cronq_http_handle(cronq_attempt *attempt, void *arg)
{
    cronq_http *http = arg;
    request r = { .attempt = attempt, .http = http };
    cronq_error err = { 0 };
    cronq_status status;

    cq_arena_init(&r.arena, ARENA_LIMIT_BYTES);
    cq_buf_init(&r.expanded, BODY_LIMIT_BYTES);
    status = prepare(&r, &err);
    if (status == CRONQ_EINVAL)
        status = cronq_attempt_skip_retry(attempt, "%s", err.text);
    else if (status || add_headers(&r, &err))
        status = cronq_attempt_fail(attempt, "%s", err.text);
    else if (!(r.sender = cq_sender_take(http)))
        status = cronq_attempt_fail(attempt, "out of memory");
    else
        status = conclude(&r, send_request(&r));
    if (r.sender)
        cq_sender_put(http, r.sender);
    curl_slist_free_all(r.headers);
    cq_buf_release(&r.expanded);
    cq_arena_release(&r.arena);
    return status;
}
