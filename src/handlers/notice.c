/* SPDX-License-Identifier: MIT */
/* notice.c - telling a program, or an address, of a task that was archived. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "base/rfc3339.h"
#include "base/sigpipe.h"
#include "base/utf8.h"
#include "handlers/command.h"
#include "handlers/http.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_MS          10000
#define ARENA_LIMIT_BYTES   ((size_t)4 << 20)
#define TEXT_LIMIT_BYTES    ((size_t)4 << 20)
#define PAYLOAD_LIMIT_BYTES ((size_t)64 << 10)
#define VARIABLES           6

struct cronq_notice {
    cronq_command *command;
    cronq_http *http;
};

/* ---- making ---- */

static cronq_status make_command(const cronq_command_options *options,
                                 cronq_notice *notice, cronq_error *err)
{
    cronq_command_options mine;
    cronq_status status =
        cq_options_copy(&mine, sizeof mine, options, "cronq_command_options", err);

    if (status)
        return status;
    if (!mine.timeout_ms)
        mine.timeout_ms = TIMEOUT_MS;
    return cronq_command_new(&mine, &notice->command, err);
}

static cronq_status make_http(const cronq_http_options *options, cronq_notice *notice,
                              cronq_error *err)
{
    cronq_http_options mine;
    cronq_status status =
        cq_options_copy(&mine, sizeof mine, options, "cronq_http_options", err);

    if (status)
        return status;
    if (mine.body || (mine.method && strcmp(mine.method, "POST") != 0))
        return cq_fail(err, CRONQ_EINVAL,
                       "a notice is a POST of its own text: no method, no body");
    if (!mine.timeout_ms)
        mine.timeout_ms = TIMEOUT_MS;
    return cronq_http_new(&mine, &notice->http, err);
}

cronq_status cronq_notice_new(const cronq_command_options *command,
                              const cronq_http_options *http, cronq_notice **out,
                              cronq_error *err)
{
    cronq_notice *notice;
    cronq_status status;

    if (!out || !command == !http)
        return cq_fail(err, CRONQ_EINVAL, "a notice is a command or a request");
    notice = calloc(1, sizeof *notice);
    if (!notice)
        return cq_fail_nomem(err);
    status = command ? make_command(command, notice, err) : make_http(http, notice, err);
    if (!status && notice->command && notice->command->has_placeholders)
        status = cq_fail(err, CRONQ_EINVAL, "command: a notice fills no placeholders");
    if (status) {
        cronq_notice_free(notice);
        return status;
    }
    *out = notice;
    return CRONQ_OK;
}

void cronq_notice_free(cronq_notice *notice)
{
    if (!notice)
        return;
    cronq_command_free(notice->command);
    cronq_http_free(notice->http);
    free(notice);
}

/* ---- what is told ---- */

static void add_payload(cq_buf *out, cronq_bytes payload)
{
    cq_json_key_int(out, "payload_bytes", (int64_t)payload.len);
    cq_json_key(out, "payload");
    if (payload.len <= PAYLOAD_LIMIT_BYTES && cq_utf8_valid(payload.data, payload.len))
        cq_json_string(out, (cq_str){ payload.data, payload.len });
    else
        cq_json_null(out);
}

static void describe(const cronq_task_info *task, cq_buf *out)
{
    cronq_failure last = cronq_task_info_failure_at(task, 0);

    cq_json_open(out, '{');
    cq_json_key_text(out, "event", "archived");
    cq_json_key_text(out, "id", cronq_task_info_id(task));
    cq_json_key_text(out, "queue", cronq_task_info_queue(task));
    cq_json_key_text(out, "type", cronq_task_info_type(task));
    cq_json_key_text(out, "error", cronq_task_info_error(task));
    cq_json_key_text(out, "host", last.host);
    cq_json_key_int(out, "retried", cronq_task_info_retry_count(task));
    cq_json_key_int(out, "max_retry", cronq_task_info_max_retry(task));
    cq_json_key_int(out, "archived_at_ms", cronq_task_info_archived_at_ms(task));
    add_payload(out, cronq_task_info_payload(task));
    cq_json_close(out, '}');
    cq_buf_append_char(out, '\n');
}

/* ---- a command ---- */

static const char *const *variables(const cronq_command *command,
                                    const cronq_task_info *task, cq_arena *arena)
{
    size_t count = command->env_count;
    const char **env = cq_arena_calloc(arena, count + VARIABLES + 1, sizeof *env);
    char retry[16], max_retry[16];
    const struct {
        const char *name, *value;
    } own[VARIABLES] = {
        { "CRONQ_TASK_ID", cronq_task_info_id(task) },
        { "CRONQ_QUEUE", cronq_task_info_queue(task) },
        { "CRONQ_TYPE", cronq_task_info_type(task) },
        { "CRONQ_ERROR", cronq_task_info_error(task) },
        { "CRONQ_RETRY", retry },
        { "CRONQ_MAX_RETRY", max_retry },
    };

    if (!env)
        return NULL;
    snprintf(retry, sizeof retry, "%d", (int)cronq_task_info_retry_count(task));
    snprintf(max_retry, sizeof max_retry, "%d", (int)cronq_task_info_max_retry(task));
    memcpy(env, command->env, count * sizeof *env);
    for (size_t i = 0; i < VARIABLES; i++)
        if (!(env[count++] = cq_command_variable(arena, own[i].name, own[i].value)))
            return NULL;
    return env;
}

static cronq_status judge(const cronq_command *command, const cq_process_result *result,
                          cronq_error *err)
{
    if (result->stop == CQ_PROCESS_TIMED_OUT)
        return cq_fail(err, CRONQ_ETIMEDOUT, "%s was stopped after %lld ms",
                       command->argv[0], (long long)command->timeout_ms);
    if (result->end == CQ_PROCESS_EXITED && result->code == 0)
        return CRONQ_OK;
    if (result->end == CQ_PROCESS_EXITED)
        return cq_fail(err, CRONQ_EFAILED, "%s: exit status %d%s%s", command->argv[0],
                       result->code, *result->error_line ? ": " : "", result->error_line);
    return cq_fail(err, CRONQ_EFAILED, "%s was killed, signal %d", command->argv[0],
                   result->signal);
}

static cronq_status run_command(const cronq_command *command, const cronq_task_info *task,
                                cronq_bytes text, cq_arena *arena, cronq_error *err)
{
    char path[PATH_MAX] = "/bin/sh";
    cq_process_request request = { .path = path,
                                   .argv = command->argv,
                                   .env = variables(command, task, arena),
                                   .dir = command->dir,
                                   .input = text,
                                   .limits = command->limits,
                                   .user = command->user,
                                   .output_bytes = command->output_bytes,
                                   .cancel_fd = -1,
                                   .timeout_ms = command->timeout_ms,
                                   .grace_ms = command->grace_ms };
    cq_process_result result;
    cronq_status status = CRONQ_OK;

    if (!request.env)
        return cq_fail_nomem(err);
    if (!command->is_shell)
        status = cq_process_find(command->argv[0], command->search_path, path,
                                 sizeof path, err);
    if (!status)
        status = cq_process_run(&request, &result, err);
    if (status)
        return status;
    status = judge(command, &result, err);
    cq_process_result_release(&result);
    return status;
}

/* ---- a request ---- */

static cronq_status add_headers(const cronq_http *http, const cronq_task_info *task,
                                cronq_bytes text, cq_arena *arena,
                                struct curl_slist **headers, cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    for (size_t i = 0; !status && i < http->header_count; i++)
        status =
            cq_http_add_line(headers, http->headers[i].key, http->headers[i].value, err);
    if (!status && !http->has_content_type)
        status = cq_http_add_line(headers, "Content-Type", "application/json", err);
    if (!status && http->secret_file)
        status = cq_http_add_signature(headers, http, cronq_task_info_id(task), text,
                                       arena, err);
    return status;
}

static cronq_status post(cq_sender *sender, struct curl_slist *headers, cronq_bytes text,
                         cronq_error *err)
{
    CURL *curl = sender->curl;
    long answer = 0;
    CURLcode code;
    cq_sigpipe guard;

    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)text.len);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text.data);
    cq_sigpipe_block(&guard); /* OpenSSL writes without a flag against it */
    code = curl_easy_perform(curl);
    cq_sigpipe_restore(&guard);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer);
    if (code && !(code == CURLE_WRITE_ERROR && sender->answer_is_cut))
        return cq_fail(err, CRONQ_EFAILED, "%s",
                       sender->is_refused ? "its address is private, which is not allowed"
                       : sender->why[0]   ? sender->why
                                          : curl_easy_strerror(code));
    if (answer < 200 || answer >= 300)
        return cq_fail(err, CRONQ_EFAILED, "HTTP %ld", answer);
    return CRONQ_OK;
}

static cronq_status send_request(cronq_http *http, const cronq_task_info *task,
                                 cronq_bytes text, cq_arena *arena, cronq_error *err)
{
    struct curl_slist *headers = NULL;
    cronq_status status = add_headers(http, task, text, arena, &headers, err);
    cq_sender *sender = status ? NULL : cq_sender_take(http);

    if (!status && !sender)
        status = cq_fail_nomem(err);
    if (sender) {
        status = post(sender, headers, text, err);
        cq_sender_put(http, sender);
    }
    curl_slist_free_all(headers);
    return status;
}

cronq_status cronq_notice_send(const cronq_task_info *task, void *arg, cronq_error *err)
{
    const cronq_notice *notice = arg;
    cronq_status status;
    cq_arena arena;
    cq_buf text;

    cq_arena_init(&arena, ARENA_LIMIT_BYTES);
    cq_buf_init(&text, TEXT_LIMIT_BYTES);
    describe(task, &text);
    if (text.status)
        status =
            cq_fail(err, text.status, "the notice: %s", cronq_status_text(text.status));
    else if (notice->command)
        status = run_command(notice->command, task, (cronq_bytes){ text.data, text.len },
                             &arena, err);
    else
        status = send_request(notice->http, task, (cronq_bytes){ text.data, text.len },
                              &arena, err);
    cq_buf_release(&text);
    cq_arena_release(&arena);
    return status;
}
