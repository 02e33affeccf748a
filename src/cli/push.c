/* SPDX-License-Identifier: MIT */
/* cli/push.c - cronq push: put one task into a queue. */
#include "base/json.h"
#include "cli/payload.h"

#include <cronq/client.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Somebody sits before the terminal. */
#define PATIENCE_MS 3000

/* A task that is being put together, and the memory that its fields point into. */
typedef struct push_draft {
    cronq_task task;
    cq_buf type, payload;
    cronq_header *headers;
} push_draft;

/* The headers and their texts in one block. */
static int take_headers(const cq_cli *cli, push_draft *draft)
{
    size_t count = 0, size = 0;
    const char *pair;
    char *text;

    for (; (pair = cq_cli_nth(cli, "header", count)); count++)
        size += strlen(pair) + 1;
    if (count == 0)
        return CQ_CLI_OK;
    draft->headers = malloc(count * sizeof *draft->headers + size);
    if (!draft->headers)
        return cq_cli_fail(cli, CQ_CLI_RUNTIME, "out of memory");
    text = (char *)(draft->headers + count);
    for (size_t i = 0; i < count; i++) {
        char *equals;

        strcpy(text, cq_cli_nth(cli, "header", i));
        equals = strchr(text, '=');
        *equals = '\0';
        draft->headers[i] = (cronq_header){ text, equals + 1 };
        text = equals + 1 + strlen(equals + 1) + 1;
    }
    draft->task.headers = draft->headers;
    draft->task.header_count = count;
    return CQ_CLI_OK;
}

/* A namespace prefixes the type and is the queue, as a server with it expects. */
static int take_type(const cq_cli *cli, push_draft *draft)
{
    const char *space = cq_cli_text(cli, "namespace");

    draft->task.type = cli->args[0];
    if (!space)
        return CQ_CLI_OK;
    cq_buf_printf(&draft->type, "%s:%s", space, cli->args[0]);
    draft->task.type = cq_buf_text(&draft->type);
    if (!draft->task.queue)
        draft->task.queue = space;
    return draft->task.type
               ? CQ_CLI_OK
               : cq_cli_fail(cli, CQ_CLI_USAGE, "type: longer than 1024 bytes");
}

static int fill(const cq_cli *cli, push_draft *draft)
{
    cronq_task *task = &draft->task;
    int64_t max_retry = cq_cli_number(cli, "max-retry", -1);
    int code;

    *task = *CRONQ_TASK(.queue = cq_cli_text(cli, "queue"), .id = cq_cli_text(cli, "id"),
                        .group = cq_cli_text(cli, "group"));
    task->process_in_ms = cq_cli_number(cli, "in", 0);
    task->process_at_ms = cq_cli_number(cli, "at", 0);
    task->timeout_ms = cq_cli_number(cli, "timeout", 0);
    task->deadline_at_ms = cq_cli_number(cli, "deadline", 0);
    task->unique_for_ms = cq_cli_number(cli, "unique", 0);
    task->retain_for_ms = cq_cli_number(cli, "retention", 0);
    if (max_retry >= 0)
        task->max_retry = max_retry ? (int32_t)max_retry : CRONQ_NO_RETRY;
    if (cq_cli_has(cli, "in") && cq_cli_has(cli, "at"))
        return cq_cli_misuse(cli, "--in and --at: give one of them");
    code = take_type(cli, draft);
    if (!code)
        code = take_headers(cli, draft);
    if (!code && cli->arg_count > 1)
        code = cq_cli_read_payload(cli, cli->args[1], &draft->payload, &task->payload);
    return code;
}

static int print(const cq_cli *cli, const cronq_task_info *info)
{
    const char *state = cronq_state_name(cronq_task_info_state(info));
    cq_buf out;

    cq_buf_init(&out, 1 << 14);
    if (!cli->json) {
        cq_buf_printf(&out, "%s %s", cronq_task_info_id(info), state);
        return cq_cli_print(cli, &out);
    }
    cq_json_open(&out, '{');
    cq_json_key_text(&out, "id", cronq_task_info_id(info));
    cq_json_key_text(&out, "type", cronq_task_info_type(info));
    cq_json_key_text(&out, "queue", cronq_task_info_queue(info));
    cq_json_key_text(&out, "state", state);
    cq_json_key_int(&out, "max_retry", cronq_task_info_max_retry(info));
    cq_json_key_int(&out, "timeout_ms", cronq_task_info_timeout_ms(info));
    cq_json_key_int(&out, "deadline_at_ms", cronq_task_info_deadline_at_ms(info));
    cq_json_key_int(&out, "next_at_ms", cronq_task_info_next_at_ms(info));
    cq_json_close(&out, '}');
    return cq_cli_print(cli, &out);
}

static int push(const cq_cli *cli, const char *uri, const push_draft *draft)
{
    cronq_client *client = NULL;
    cronq_task_info *info = NULL;
    cronq_error err;
    int code;

    if (cronq_client_new(uri, CRONQ_CLIENT_OPTIONS(.push_timeout_ms = PATIENCE_MS),
                         &client, &err) ||
        cronq_client_push(client, &draft->task, &info, &err))
        code = cq_cli_report(cli, &err);
    else
        code = print(cli, info);
    cronq_task_info_free(info);
    cronq_client_free(client);
    return code;
}

static int run(cq_cli *cli)
{
    const char *uri = cq_cli_need_uri(cli);
    push_draft draft = { 0 };
    int code;

    if (!uri)
        return CQ_CLI_USAGE;
    cq_buf_init(&draft.type, 1 << 12);
    cq_buf_init(&draft.payload, CQ_CLI_PAYLOAD_LIMIT_BYTES);
    code = fill(cli, &draft);
    if (!code)
        code = push(cli, uri, &draft);
    cq_buf_release(&draft.type);
    cq_buf_release(&draft.payload);
    free(draft.headers);
    return code;
}

/* clang-format off */
static const cq_cli_option options[] = {
    { "queue", 'q', "NAME", CQ_CLI_TEXT, .help = "the queue (default: default)" },
    { "id", 0, "ID", CQ_CLI_TEXT, .help = "the task's id (default: a new one)" },
    { "in", 0, "DURATION", CQ_CLI_DURATION, .help = "not before this long from now: 5s, 1h30m" },
    { "at", 0, "TIME", CQ_CLI_INSTANT, .help = "not before this: 2026-01-31T09:00:00+01:00" },
    { "timeout", 0, "DURATION", CQ_CLI_DURATION, .help = "of each attempt (default: 30m)" },
    { "deadline", 0, "TIME", CQ_CLI_INSTANT, .help = "of all attempts" },
    { "max-retry", 0, "N", CQ_CLI_INT, .max = INT32_MAX, .help = "retries after failures; 0: none (default: 25)" },
    { "unique", 0, "DURATION", CQ_CLI_DURATION, .help = "refuse equal tasks for this long" },
    { "retention", 0, "DURATION", CQ_CLI_DURATION, .help = "keep it after success, for this long" },
    { "group", 0, "NAME", CQ_CLI_TEXT, .help = "aggregate it with this group" },
    { "header", 'H', "KEY=VALUE", CQ_CLI_PAIR, .help = "text that travels with it; may be repeated", .repeats = true },
    { "namespace", 'n', "NS", CQ_CLI_TEXT, .help = "push NS:TYPE, to the queue NS unless --queue" },
    { 0 },
};
/* clang-format on */

const cq_cli_command cq_cli_push = {
    .name = "push",
    .summary = "Put a task into a queue",
    .args = "TYPE [PAYLOAD|@FILE|-]",
    .min_args = 1,
    .max_args = 2,
    .details = "The payload is the text, the content of FILE, or standard input.\n"
               "Prints the task's id and state.\n"
               "\n"
               "  cronq push email:welcome '{\"user\":42}' --in 5s --max-retry 3",
    .options = options,
    .run = run,
};
