/* SPDX-License-Identifier: MIT */
/* cli/queue.c - cronq queue: list, pause and resume queues. */
#include "base/json.h"
#include "cli/cli.h"

#include <cronq/inspector.h>
#include <stdio.h>
#include <stdlib.h>

/* Runs work with an inspector of the store that was named. */
static int with_inspector(cq_cli *cli,
                          int (*work)(cq_cli *cli, cronq_inspector *inspector))
{
    const char *uri = cq_cli_need_uri(cli);
    cronq_inspector *inspector = NULL;
    cronq_error err;
    int code;

    if (!uri)
        return CQ_CLI_USAGE;
    code = cronq_inspector_new(uri, NULL, &inspector, &err) ? cq_cli_report(cli, &err)
                                                            : work(cli, inspector);
    cronq_inspector_free(inspector);
    return code;
}

static int list(cq_cli *cli, cronq_inspector *inspector)
{
    char **names = NULL;
    size_t count = 0;
    cronq_error err;
    cq_buf out;

    if (cronq_inspector_queues(inspector, &names, &count, &err))
        return cq_cli_report(cli, &err);
    cq_buf_init(&out, (size_t)1 << 28);
    if (cli->json)
        cq_json_open(&out, '[');
    for (size_t i = 0; i < count; i++) {
        if (cli->json)
            cq_json_string(&out, cq_str_of(names[i]));
        else
            cq_buf_printf(&out, "%s\n", names[i]);
    }
    if (cli->json)
        cq_json_close(&out, ']');
    free(names);
    return out.len ? cq_cli_print(cli, &out) : CQ_CLI_OK;
}

typedef cronq_status queue_change(cronq_inspector *inspector, const char *queue,
                                  cronq_error *err);

/* One that fails does not keep the others from being changed. */
static int each(cq_cli *cli, cronq_inspector *inspector, queue_change *change)
{
    cronq_error err;
    int code = CQ_CLI_OK;

    for (int i = 0; i < cli->arg_count; i++)
        if (change(inspector, cli->args[i], &err))
            code = cq_cli_report(cli, &err);
    return code;
}

static int pause_each(cq_cli *cli, cronq_inspector *inspector)
{
    return each(cli, inspector, cronq_inspector_pause);
}

static int resume_each(cq_cli *cli, cronq_inspector *inspector)
{
    return each(cli, inspector, cronq_inspector_resume);
}

static int run_list(cq_cli *cli)
{
    return with_inspector(cli, list);
}

static int run_pause(cq_cli *cli)
{
    return with_inspector(cli, pause_each);
}

static int run_resume(cq_cli *cli)
{
    return with_inspector(cli, resume_each);
}

static const cq_cli_command list_verb = {
    .name = "ls",
    .summary = "List the queues",
    .run = run_list,
};
static const cq_cli_command pause_verb = {
    .name = "pause",
    .summary = "Let no worker take tasks from a queue",
    .args = "QUEUE...",
    .min_args = 1,
    .max_args = -1,
    .run = run_pause,
};
static const cq_cli_command resume_verb = {
    .name = "resume",
    .summary = "Undo pause",
    .args = "QUEUE...",
    .min_args = 1,
    .max_args = -1,
    .run = run_resume,
};
static const cq_cli_command *const verbs[] = { &list_verb, &pause_verb, &resume_verb,
                                               NULL };

const cq_cli_command cq_cli_queue = {
    .name = "queue",
    .summary = "List, pause and resume queues",
    .verbs = verbs,
};
