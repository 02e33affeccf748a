/* SPDX-License-Identifier: MIT */
/* answer.c - what each path answers, and the clerk who asks the store. */
#include "base/error.h"
#include "base/json.h"
#include "http/internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ANSWER_LIMIT_BYTES ((size_t)64 << 10)

static const char json_type[] = "application/json; charset=utf-8";
static const char text_type[] = "text/plain; charset=utf-8";

/* ---- answers ---- */

/* The buffer's memory becomes the answer's. Without memory the body is empty. */
static cq_answer answer_with(unsigned code, const char *content_type, cq_buf *body)
{
    cq_answer answer = { .code = code, .content_type = content_type };

    if (body->status) {
        cq_buf_release(body);
        return answer;
    }
    answer.body = body->data;
    answer.len = body->len;
    return answer;
}

static cq_answer say_error(unsigned code, const char *text)
{
    cq_buf body;

    cq_buf_init(&body, ANSWER_LIMIT_BYTES);
    cq_json_open(&body, '{');
    cq_json_key_text(&body, "error", text);
    cq_json_close(&body, '}');
    cq_buf_append_char(&body, '\n');
    return answer_with(code, json_type, &body);
}

static cq_answer say_index(const cronq_devserver *server)
{
    cq_buf body;

    cq_buf_init(&body, ANSWER_LIMIT_BYTES);
    cq_json_open(&body, '[');
    for (size_t i = 0; i < CQ_ROUTE_COUNT; i++)
        if (server->paths[i])
            cq_json_string(&body, cq_str_of(server->paths[i]));
    cq_json_close(&body, ']');
    cq_buf_append_char(&body, '\n');
    return answer_with(MHD_HTTP_OK, json_type, &body);
}

static cq_answer say_health(const cronq_devserver *server)
{
    cq_buf body;

    cq_buf_init(&body, ANSWER_LIMIT_BYTES);
    cq_buf_append_text(&body, server->health_response);
    return answer_with(MHD_HTTP_OK, text_type, &body);
}

static cq_answer say_ready(const cronq_devserver *server)
{
    cronq_error err = { 0 };
    cronq_status status =
        server->ready ? server->ready(server->ready_arg, &err) : CRONQ_OK;
    cq_buf body;

    cq_buf_init(&body, ANSWER_LIMIT_BYTES);
    cq_json_open(&body, '{');
    cq_json_key_bool(&body, "ready", !status);
    if (status)
        cq_json_key_text(&body, "reason", err.text);
    cq_json_close(&body, '}');
    cq_buf_append_char(&body, '\n');
    return answer_with(status ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK, json_type,
                       &body);
}

static cq_answer say_metrics(const cronq_devserver *server, cronq_metrics_format format)
{
    cq_answer answer = { .code = MHD_HTTP_OK,
                         .content_type = cronq_metrics_content_type(format) };
    cronq_error err;

    if (cronq_metrics_render(server->metrics, format, &answer.body, &answer.len, &err))
        return say_error(MHD_HTTP_INTERNAL_SERVER_ERROR, err.text);
    return answer;
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, cq_answer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->len, answer->body,
        answer->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    answer->body = NULL;
    MHD_add_response_header(response, "Content-Type", answer->content_type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Connection", "close");
    if (answer->allow)
        MHD_add_response_header(response, "Allow", answer->allow);
    result = MHD_queue_response(connection, answer->code, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- the clerk ---- */

static void work(cronq_devserver *server, cq_job *job)
{
    if (job->route == CQ_ROUTE_READY)
        job->answer = say_ready(server);
    else
        job->answer = say_metrics(server, job->format);
    /* libmicrohttpd's own signal may be taken by a run that began before. */
    MHD_resume_connection(job->connection);
    cq_event_set(&server->news);
}

static cq_job *take(cronq_devserver *server)
{
    cq_job *job = NULL;

    pthread_mutex_lock(&server->mutex);
    while (!server->closed && !server->first)
        pthread_cond_wait(&server->more, &server->mutex);
    if (!server->closed) {
        job = server->first;
        server->first = job->next;
    }
    pthread_mutex_unlock(&server->mutex);
    return job;
}

void *cq_http_clerk(void *arg)
{
    cronq_devserver *server = arg;
    cq_job *job;

    while ((job = take(server)))
        work(server, job);
    return NULL;
}

void cq_http_resume_rest(cronq_devserver *server)
{
    for (cq_job *job = server->first; job; job = job->next) {
        job->answer = say_error(MHD_HTTP_SERVICE_UNAVAILABLE, "stopping");
        MHD_resume_connection(job->connection);
    }
    server->first = NULL;
}

/* How much a type is wanted by an Accept header (RFC 9110, 12.5.1): its q, 1 where none
 * is said, 0 where it is not named. */
static double wanted(const char *accept, const char *type)
{
    const char *at = strcasestr(accept, type), *end, *q;

    if (!at)
        return 0;
    end = at + strcspn(at, ",");
    for (q = strchr(at, ';'); q && q < end; q = strchr(q + 1, ';'))
        if (strncasecmp(q + 1 + strspn(q + 1, " "), "q=", 2) == 0)
            return strtod(strchr(q, '=') + 1, NULL);
    return 1;
}

static cronq_metrics_format wanted_format(struct MHD_Connection *connection)
{
    const char *accept =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
    double open = accept ? wanted(accept, "application/openmetrics-text") : 0;

    return open > 0 && open >= wanted(accept, "text/plain") ? CRONQ_METRICS_OPENMETRICS
                                                            : CRONQ_METRICS_TEXT;
}

static enum MHD_Result hand_over(cronq_devserver *server,
                                 struct MHD_Connection *connection, cq_route route,
                                 void **context)
{
    cq_job *job = calloc(1, sizeof *job);

    if (!job)
        return MHD_NO;
    job->connection = connection;
    job->route = route;
    job->format = wanted_format(connection);
    *context = job;
    MHD_suspend_connection(connection);
    pthread_mutex_lock(&server->mutex);
    if (server->first)
        server->last->next = job;
    else
        server->first = job;
    server->last = job;
    pthread_cond_signal(&server->more);
    pthread_mutex_unlock(&server->mutex);
    return MHD_YES;
}

/* ---- requests ---- */

static bool has_body(struct MHD_Connection *connection)
{
    const char *length =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");

    return (length && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding");
}

static cq_route find_route(const cronq_devserver *server, const char *url)
{
    cq_route route = 0;

    while (route < CQ_ROUTE_COUNT &&
           (!server->paths[route] || strcmp(server->paths[route], url) != 0))
        route++;
    return route;
}

static cq_answer answer_at_once(cronq_devserver *server,
                                struct MHD_Connection *connection, cq_route route,
                                const char *method)
{
    cq_answer answer;

    if (route == CQ_ROUTE_COUNT)
        return say_error(MHD_HTTP_NOT_FOUND,
                         "no such path; / lists those that there are");
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        answer = say_error(MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are answered");
        answer.allow = "GET, HEAD";
        return answer;
    }
    if (has_body(connection))
        return say_error(MHD_HTTP_CONTENT_TOO_LARGE, "a request has no body here");
    if (route == CQ_ROUTE_INDEX)
        return say_index(server);
    if (route == CQ_ROUTE_HEALTH)
        return say_health(server);
    return (cq_answer){ 0 };
}

enum MHD_Result cq_http_access(void *arg, struct MHD_Connection *connection,
                               const char *url, const char *method, const char *version,
                               const char *upload_data, size_t *upload_data_size,
                               void **context)
{
    cronq_devserver *server = arg;
    cq_job *job = *context;
    enum MHD_Result result;
    cq_answer answer;
    cq_route route;

    (void)version, (void)upload_data, (void)upload_data_size;
    if (job)
        return send_answer(connection, &job->answer);
    route = find_route(server, url);
    answer = answer_at_once(server, connection, route, method);
    if (!answer.code)
        return hand_over(server, connection, route, context);
    result = send_answer(connection, &answer);
    free(answer.body);
    return result;
}

void cq_http_completed(void *arg, struct MHD_Connection *connection, void **context,
                       enum MHD_RequestTerminationCode why)
{
    cq_job *job = *context;

    (void)arg, (void)connection, (void)why;
    if (!job)
        return;
    free(job->answer.body);
    free(job);
    *context = NULL;
}
