/* SPDX-License-Identifier: MIT */
/* http.c - posting a request, with libcurl. */
#include "base/clock.h"
#include "base/error.h"
#include "otlp/internal.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_LIMIT_BYTES ((size_t)64 << 10)

struct cq_http {
    CURL *curl;
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    size_t answer_bytes;
    bool (*is_over)(void *arg);
    void *over_arg;
};

/* What the receiver says is of no use; more than it may say ends the transfer. */
static size_t discard(char *data, size_t size, size_t count, void *arg)
{
    cq_http *http = arg;

    (void)data;
    http->answer_bytes += size * count;
    return http->answer_bytes > ANSWER_LIMIT_BYTES ? 0 : size * count;
}

static int look(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const cq_http *http = arg;

    (void)a, (void)b, (void)c, (void)d;
    return http->is_over && http->is_over(http->over_arg);
}

static bool add_header(cq_http *http, const char *line)
{
    struct curl_slist *more = curl_slist_append(http->headers, line);

    if (more)
        http->headers = more;
    return more;
}

static bool is_header_text(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            return false;
    return true;
}

/* Their values may be secrets: no message shows them. */
static cronq_status take_headers(cq_http *http, const cronq_otlp_options *options,
                                 cronq_error *err)
{
    for (size_t i = 0; i < options->header_count; i++) {
        const cronq_header *header = &options->headers[i];
        cq_buf line;
        bool added;

        if (!header->key || !*header->key || !header->value ||
            strpbrk(header->key, ": ") || !is_header_text(header->key) ||
            !is_header_text(header->value))
            return cq_fail(err, CRONQ_EINVAL, "headers: number %zu is no HTTP header", i);
        cq_buf_init(&line, ANSWER_LIMIT_BYTES);
        cq_buf_printf(&line, "%s: %s", header->key, header->value);
        added = cq_buf_text(&line) && add_header(http, cq_buf_text(&line));
        cq_buf_release(&line);
        if (!added)
            return cq_fail_nomem(err);
    }
    return CRONQ_OK;
}

static cronq_status set_options(cq_http *http, const cronq_otlp_options *options,
                                cronq_error *err)
{
    CURL *curl = http->curl;
    char agent[64];
    CURLcode code;

    snprintf(agent, sizeof agent, "cronq/%s", cronq_version_string());
    code = curl_easy_setopt(curl, CURLOPT_URL, options->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, http->headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, agent);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, http);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http);
    if (options->ca_file && code == CURLE_OK)
        code = curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
    if (code != CURLE_OK)
        return cq_fail(err, CRONQ_EINVAL, "OTLP: %s", curl_easy_strerror(code));
    return CRONQ_OK;
}

cronq_status cq_http_new(const cronq_otlp_options *options, const char *content_type,
                         cq_http **out, cronq_error *err)
{
    cq_http *http = calloc(1, sizeof *http);
    cronq_status status;

    if (!http || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(http);
        return cq_fail_nomem(err);
    }
    http->curl = curl_easy_init();
    /* "Expect:" takes away a pause of a second before large bodies. */
    if (!http->curl || !add_header(http, content_type) || !add_header(http, "Expect:"))
        status = cq_fail_nomem(err);
    else
        status = take_headers(http, options, err);
    if (!status)
        status = set_options(http, options, err);
    if (status)
        cq_http_free(http);
    else
        *out = http;
    return status;
}

void cq_http_free(cq_http *http)
{
    if (!http)
        return;
    curl_easy_cleanup(http->curl);
    curl_slist_free_all(http->headers);
    free(http);
    curl_global_cleanup();
}

static cq_sent judge(cq_http *http, int64_t *wait_ms, cronq_error *err)
{
    curl_off_t wait_s = 0;
    long answer = 0;

    curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &answer);
    if (answer >= 200 && answer < 300)
        return CQ_SENT;
    cq_fail(err, CRONQ_EIO, "the receiver answers %ld", answer);
    if (answer != 429 && answer != 502 && answer != 503 && answer != 504)
        return CQ_SENT_NEVER;
    curl_easy_getinfo(http->curl, CURLINFO_RETRY_AFTER, &wait_s);
    *wait_ms = wait_s * CQ_MS_PER_S;
    return CQ_SENT_AGAIN;
}

cq_sent cq_http_post(cq_http *http, cq_str body, int64_t timeout_ms,
                     bool (*is_over)(void *arg), void *arg, int64_t *wait_ms,
                     cronq_error *err)
{
    CURLcode code;

    http->is_over = is_over;
    http->over_arg = arg;
    http->answer_bytes = 0;
    http->error[0] = '\0';
    *wait_ms = 0;
    curl_easy_setopt(http->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, body.data);
    curl_easy_setopt(http->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    code = curl_easy_perform(http->curl);
    if (code == CURLE_OK)
        return judge(http, wait_ms, err);
    cq_fail(err, CRONQ_EIO, "%s",
            http->error[0] ? http->error : curl_easy_strerror(code));
    return CQ_SENT_AGAIN;
}
