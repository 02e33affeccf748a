/* SPDX-License-Identifier: MIT */
/* http.c - the options of a request, checked and kept, and its senders. */
#include "handlers/http.h"

#include "base/error.h"
#include "base/options.h"
#include "handlers/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define ARENA_LIMIT_BYTES ((size_t)4 << 20)
#define ANSWER_LIMIT_BYTES                                       \
    ((size_t)16 << 20) /* what comes beyond it is not waited for \
                        */
#define OUTPUT_BYTES     ((size_t)64 << 10)
#define MAX_OUTPUT_BYTES ((size_t)1 << 20)
#define MAX_HEADERS      100
#define MAX_TEXT_BYTES   8192
#define TIMEOUT_MS       30000
#define MAX_TIMEOUT_MS   ((int64_t)86400 * 1000)
#define CONNECT_MS       10000
#define IDLE_S           60 /* a connection that rested longer is not used again */

static const char *const methods[] = { "POST", "GET", "PUT", "PATCH", "DELETE" };
/* Of cronq, of the signature, and of the framing of messages. */
static const char *const reserved[] = { "cronq-",         "webhook-",
                                        "content-length", "transfer-encoding",
                                        "connection",     "expect" };

static bool is_one_of(const char *text, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, texts[i]) == 0)
            return true;
    return false;
}

static bool is_token(const char *text)
{
    static const char signs[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    return text && *text && text[strspn(text, signs)] == '\0' &&
           strlen(text) <= MAX_TEXT_BYTES;
}

static bool is_value(const char *text)
{
    if (!text || strlen(text) > MAX_TEXT_BYTES)
        return false;
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7F)
            return false;
    return true;
}

/* Values may be secrets: no message shows them. */
static cronq_status check_headers(const cronq_http_options *options, cronq_error *err)
{
    if (options->header_count > MAX_HEADERS)
        return cq_fail(err, CRONQ_EINVAL, "http: %zu headers, at most %d",
                       options->header_count, MAX_HEADERS);
    for (size_t i = 0; i < options->header_count; i++) {
        const cronq_header *header = &options->headers[i];

        if (!is_token(header->key) || !is_value(header->value))
            return cq_fail(err, CRONQ_EINVAL, "http: headers[%zu] is no HTTP header", i);
        for (size_t r = 0; r < sizeof reserved / sizeof reserved[0]; r++)
            if (strncasecmp(header->key, reserved[r], strlen(reserved[r])) == 0)
                return cq_fail(err, CRONQ_EINVAL,
                               "http: headers[%zu]: %.100s is set by cronq itself", i,
                               header->key);
    }
    return CRONQ_OK;
}

static cronq_status check_url(const char *url, cronq_error *err)
{
    CURLU *parts = curl_url();
    char *scheme = NULL;
    CURLUcode code;
    bool is_web;

    if (!parts)
        return cq_fail_nomem(err);
    code =
        url && *url ? curl_url_set(parts, CURLUPART_URL, url, 0) : CURLUE_MALFORMED_INPUT;
    if (!code)
        code = curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
    is_web = !code && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    curl_url_cleanup(parts);
    if (code)
        return cq_fail(err, CRONQ_EINVAL, "http: the URL is wrong: %s",
                       curl_url_strerror(code));
    return is_web ? CRONQ_OK
                  : cq_fail(err, CRONQ_EINVAL, "http: the URL is neither http nor https");
}

static cronq_status check(const cronq_http_options *options, cronq_error *err)
{
    cronq_status status = check_url(options->url, err);

    if (status)
        return status;
    if (options->method && *options->method &&
        !is_one_of(options->method, methods, sizeof methods / sizeof methods[0]))
        return cq_fail(err, CRONQ_EINVAL,
                       "http: method %.20s is not GET, POST, PUT, "
                       "PATCH or DELETE",
                       options->method);
    if (options->timeout_ms < 0 || options->timeout_ms > MAX_TIMEOUT_MS)
        return cq_fail(err, CRONQ_EINVAL, "http: timeout_ms %lld is not 0 to %lld",
                       (long long)options->timeout_ms, (long long)MAX_TIMEOUT_MS);
    if (options->output_bytes > MAX_OUTPUT_BYTES)
        return cq_fail(err, CRONQ_EINVAL, "http: output_bytes %zu is not 0 to %zu",
                       options->output_bytes, MAX_OUTPUT_BYTES);
    if (options->ca_file && access(options->ca_file, R_OK) != 0)
        return cq_fail(err, CRONQ_EINVAL, "http: ca_file %.200s can not be read",
                       options->ca_file);
    return check_headers(options, err);
}

static bool copy_text(cq_arena *arena, const char *text, const char **out)
{
    *out = text && *text ? cq_arena_dup(arena, text, strlen(text)) : NULL;
    return *out || !text || !*text;
}

static bool copy_headers(cronq_http *http, const cronq_http_options *options)
{
    cronq_header *copy =
        cq_arena_calloc(&http->arena, options->header_count + 1, sizeof *copy);

    for (size_t i = 0; copy && i < options->header_count; i++) {
        const cronq_header *from = &options->headers[i];

        copy[i].key = cq_arena_dup(&http->arena, from->key, strlen(from->key));
        copy[i].value = cq_arena_dup(&http->arena, from->value, strlen(from->value));
        if (!copy[i].key || !copy[i].value)
            return false;
        http->has_content_type |= strcasecmp(from->key, "content-type") == 0;
    }
    http->headers = copy;
    http->header_count = options->header_count;
    return copy;
}

static bool copy_options(cronq_http *http, const cronq_http_options *options)
{
    cq_arena *arena = &http->arena;

    http->allow_private = options->allow_private;
    http->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
    http->output_bytes = options->output_bytes ? options->output_bytes : OUTPUT_BYTES;
    return copy_text(arena, options->url, &http->url) &&
           copy_text(arena, options->method ? options->method : methods[0],
                     &http->method) &&
           copy_text(arena, options->body, &http->body) &&
           copy_text(arena, options->secret_file, &http->secret_file) &&
           copy_text(arena, options->ca_file, &http->ca_file) &&
           copy_headers(http, options);
}

cronq_status cronq_http_new(const cronq_http_options *options, cronq_http **out,
                            cronq_error *err)
{
    cronq_http_options own;
    cronq_http *http;
    cronq_status status =
        cq_options_copy(&own, sizeof own, options, "cronq_http_options", err);

    if (!status)
        status = check(&own, err);
    if (status)
        return status;
    http = calloc(1, sizeof *http);
    if (!http || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(http);
        return cq_fail_nomem(err);
    }
    cq_arena_init(&http->arena, ARENA_LIMIT_BYTES);
    pthread_mutex_init(&http->mutex, NULL);
    if (!copy_options(http, &own)) {
        cronq_http_free(http);
        return cq_fail_nomem(err);
    }
    *out = http;
    return CRONQ_OK;
}

static void free_sender(cq_sender *sender)
{
    curl_easy_cleanup(sender->curl);
    curl_multi_cleanup(sender->multi);
    cq_buf_release(&sender->answer);
    free(sender);
}

void cronq_http_free(cronq_http *http)
{
    if (!http)
        return;
    while (http->idle) {
        cq_sender *sender = http->idle;

        http->idle = sender->next;
        free_sender(sender);
    }
    pthread_mutex_destroy(&http->mutex);
    cq_arena_release(&http->arena);
    free(http);
    curl_global_cleanup();
}

static size_t keep_answer(char *data, size_t size, size_t count, void *arg)
{
    cq_sender *sender = arg;
    size_t len = size * count, room = sender->answer.limit - sender->answer.len;

    cq_buf_append(&sender->answer, data, len < room ? len : room);
    sender->answer_bytes += len;
    sender->answer_is_cut = sender->answer_bytes > ANSWER_LIMIT_BYTES;
    return sender->answer_is_cut ? 0 : len;
}

/* Asked for each address before it is connected to: whatever a name means by then. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose,
                                 struct curl_sockaddr *address)
{
    cq_sender *sender = arg;

    (void)purpose;
    if (!sender->http->allow_private && !cq_address_is_public(&address->addr)) {
        sender->is_refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* What is the same for all requests. The environment's proxies would be connected to in
 * place of the address that is looked at. */
static void set_up(cq_sender *sender)
{
    const cronq_http *http = sender->http;
    CURL *curl = sender->curl;
    char agent[64];

    snprintf(agent, sizeof agent, "cronq/%s", cronq_version_string());
    curl_easy_setopt(curl, CURLOPT_URL, http->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, agent);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, sender->why);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, sender);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, sender);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)http->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, (long)IDLE_S);
    if (http->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, http->ca_file);
    if (strcmp(http->method, "GET") == 0) {
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
        return;
    }
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, http->method);
}

static cq_sender *new_sender(const cronq_http *http)
{
    cq_sender *sender = calloc(1, sizeof *sender);

    if (!sender)
        return NULL;
    sender->http = http;
    cq_buf_init(&sender->answer, http->output_bytes);
    sender->curl = curl_easy_init();
    sender->multi = curl_multi_init();
    if (!sender->curl || !sender->multi) {
        free_sender(sender);
        return NULL;
    }
    set_up(sender);
    return sender;
}

cq_sender *cq_sender_take(cronq_http *http)
{
    cq_sender *sender;

    pthread_mutex_lock(&http->mutex);
    sender = http->idle;
    if (sender)
        http->idle = sender->next;
    pthread_mutex_unlock(&http->mutex);
    return sender ? sender : new_sender(http);
}

void cq_sender_put(cronq_http *http, cq_sender *sender)
{
    cq_buf_reset(&sender->answer);
    sender->why[0] = '\0';
    sender->is_refused = sender->answer_is_cut = false;
    sender->answer_bytes = 0;
    pthread_mutex_lock(&http->mutex);
    sender->next = http->idle;
    http->idle = sender;
    pthread_mutex_unlock(&http->mutex);
}
