/* SPDX-License-Identifier: MIT */
/* cli/queue.c - cronq queue: list, inspect, pause, resume and remove queues. */
#include "base/json.h"
#include "cli/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { DAYS_MAX = 90 };

/* ---- ls ---- */

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
        if (cli->json) {
            cq_json_string(&out, cq_str_of(names[i]));
            continue;
        }
        cq_cli_clean(&out, cq_str_of(names[i]));
        cq_buf_append_char(&out, '\n');
    }
    if (cli->json)
        cq_json_close(&out, ']');
    free(names);
    return out.len ? cq_cli_print(cli, &out) : CQ_CLI_OK;
}

/* ---- pause, resume, rm ---- */

typedef cronq_status queue_change(cq_cli *cli, cronq_inspector *inspector,
                                  const char *queue, cronq_error *err);

/* One that fails does not keep the others from being changed, unless the store is away or
 * the user has interrupted it. Prints what was done, as JSON: an array of the names. */
static int each(cq_cli *cli, cronq_inspector *inspector, queue_change *change,
                const char *done)
{
    int code = CQ_CLI_OK, printed, i = 0;
    cronq_error err;
    cq_buf out;

    cq_buf_init(&out, (size_t)1 << 28);
    if (cli->json)
        cq_json_open(&out, '[');
    for (; i < cli->arg_count; i++) {
        if (code == CQ_CLI_CONNECTION || cq_cli_interrupted())
            break;
        if (change(cli, inspector, cli->args[i], &err)) {
            code = cq_cli_report(cli, &err);
        } else if (cli->json) {
            cq_json_string(&out, cq_str_of(cli->args[i]));
        } else {
            cq_cli_clean(&out, cq_str_of(cli->args[i]));
            cq_buf_printf(&out, ": %s\n", done);
        }
    }
    if (i < cli->arg_count && !code)
        code = cq_cli_fail(cli, CQ_CLI_RUNTIME, "interrupted");
    if (cli->json)
        cq_json_close(&out, ']');
    printed = out.len ? cq_cli_print(cli, &out) : CQ_CLI_OK;
    return code ? code : printed;
}

static cronq_status pause_one(cq_cli *cli, cronq_inspector *inspector, const char *queue,
                              cronq_error *err)
{
    (void)cli;
    return cronq_inspector_pause(inspector, queue, err);
}

static cronq_status resume_one(cq_cli *cli, cronq_inspector *inspector, const char *queue,
                               cronq_error *err)
{
    (void)cli;
    return cronq_inspector_resume(inspector, queue, err);
}

static cronq_status remove_one(cq_cli *cli, cronq_inspector *inspector, const char *queue,
                               cronq_error *err)
{
    cq_cli_progress progress;
    cronq_status status;

    cq_cli_progress_begin(&progress, queue, true);
    status = cronq_inspector_remove_queue(
        inspector, queue, cq_cli_has(cli, "force"),
        CRONQ_BULK_OPTIONS(.progress = cq_cli_progress_step, .progress_arg = &progress),
        err);
    cq_cli_progress_end(&progress);
    return status;
}

static int pause_each(cq_cli *cli, cronq_inspector *inspector)
{
    return each(cli, inspector, pause_one, "paused");
}

static int resume_each(cq_cli *cli, cronq_inspector *inspector)
{
    return each(cli, inspector, resume_one, "resumed");
}

static int remove_each(cq_cli *cli, cronq_inspector *inspector)
{
    bool force = cq_cli_has(cli, "force");
    int code = cli->arg_count == 1
                   ? cq_cli_confirm(cli, "remove the queue %.200s%s", cli->args[0],
                                    force ? ", with all its tasks" : "")
                   : cq_cli_confirm(cli, "remove %d queues%s", cli->arg_count,
                                    force ? ", with all their tasks" : "");

    return code ? code : each(cli, inspector, remove_one, "removed");
}

/* ---- history ---- */

static void history_json(cq_buf *out, const char *queue, const cronq_day_info *days,
                         size_t count)
{
    cq_json_open(out, '{');
    cq_json_key_text(out, "queue", queue);
    cq_json_key(out, "days");
    cq_json_open(out, '[');
    for (size_t i = 0; i < count; i++) {
        cq_json_open(out, '{');
        cq_json_key_int(out, "begins_at_ms", days[i].begins_at_ms);
        cq_json_key_int(out, "processed", (int64_t)days[i].processed_count);
        cq_json_key_int(out, "failed", (int64_t)days[i].failed_count);
        cq_json_close(out, '}');
    }
    cq_json_close(out, ']');
    cq_json_close(out, '}');
}

static void history_rows(cq_cli_table *table, const char *queue,
                         const cronq_day_info *days, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t failed = days[i].failed_count, processed = days[i].processed_count;
        time_t t = (time_t)(days[i].begins_at_ms / 1000);
        char text[32] = "";
        struct tm day;

        if (gmtime_r(&t, &day))
            strftime(text, sizeof text, "%Y-%m-%d", &day);
        cq_cli_table_text(table, queue);
        cq_cli_table_text(table, text);
        cq_cli_table_count(table, processed);
        cq_cli_table_count(table, failed);
        snprintf(text, sizeof text, "%.1f%%",
                 processed ? 100.0 * (double)failed / (double)processed : 0.0);
        cq_cli_table_cell(table, cq_str_of(text), failed ? CQ_CLI_YELLOW : CQ_CLI_PLAIN);
    }
}

/* The JSON or the table, and release both. A table without rows is not printed. */
static int print_either(const cq_cli *cli, cq_cli_table *table, cq_buf *json)
{
    int code = CQ_CLI_OK;

    if (cli->json)
        code = cq_cli_print(cli, json);
    else if (table->cells.len)
        code = cq_cli_table_print(cli, table);
    cq_cli_table_release(table);
    cq_buf_release(json);
    return code;
}

static int history(cq_cli *cli, cronq_inspector *inspector)
{
    static const cq_cli_column columns[] = {
        { .title = "QUEUE", .cut_to = 8 },       { .title = "UTC DAY" },
        { .title = "PROCESSED", .right = true }, { .title = "FAILED", .right = true },
        { .title = "RATE", .right = true },
    };
    size_t count = (size_t)cq_cli_number(cli, "days", 10);
    cronq_day_info days[DAYS_MAX];
    int code = CQ_CLI_OK, printed;
    cq_cli_table table;
    cronq_error err;
    cq_buf out;

    cq_cli_table_init(&table, columns, sizeof columns / sizeof columns[0]);
    cq_buf_init(&out, (size_t)1 << 28);
    cq_json_open(&out, '[');
    for (int i = 0; i < cli->arg_count; i++) {
        if (cronq_inspector_history(inspector, cli->args[i], count, days, &err)) {
            code = cq_cli_report(cli, &err);
            continue;
        }
        history_json(&out, cli->args[i], days, count);
        history_rows(&table, cli->args[i], days, count);
    }
    cq_json_close(&out, ']');
    printed = print_either(cli, &table, &out);
    return code ? code : printed;
}

/* ---- verbs ---- */

static int run_list(cq_cli *cli)
{
    return cq_cli_look(cli, list);
}

static int run_history(cq_cli *cli)
{
    return cq_cli_look(cli, history);
}

static int run_pause(cq_cli *cli)
{
    return cq_cli_look(cli, pause_each);
}

static int run_resume(cq_cli *cli)
{
    return cq_cli_look(cli, resume_each);
}

static int run_remove(cq_cli *cli)
{
    return cq_cli_look(cli, remove_each);
}

/* clang-format off */
static const cq_cli_option history_options[] = {
    { "days", 'x', "N", CQ_CLI_INT, .min = 1, .max = DAYS_MAX, .preset = "10", .help = "how many, with today" },
    { 0 },
};
static const cq_cli_option remove_options[] = {
    { "force", 'f', NULL, CQ_CLI_FLAG, .help = "also when it holds tasks: they are deleted" },
    CQ_CLI_YES_ROW,
    { 0 },
};
/* clang-format on */

static const cq_cli_command list_verb = {
    .name = "ls",
    .summary = "List the queues",
    .run = run_list,
};
static const cq_cli_command inspect_verb = {
    .name = "inspect",
    .summary = "Show all that is counted of queues",
    .args = "QUEUE...",
    .min_args = 1,
    .max_args = -1,
    .run = cq_cli_inspect_queues,
};
static const cq_cli_command history_verb = {
    .name = "history",
    .summary = "Show what was processed and failed a day",
    .args = "QUEUE...",
    .min_args = 1,
    .max_args = -1,
    .options = history_options,
    .run = run_history,
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
static const cq_cli_command remove_verb = {
    .name = "rm",
    .summary = "Remove a queue and what belongs to it",
    .args = "QUEUE...",
    .min_args = 1,
    .max_args = -1,
    .details = "Refused while tasks of it are active, and without --force while it holds "
               "any.\nTakes away 500 tasks at a time; what is interrupted can be "
               "run again.",
    .options = remove_options,
    .run = run_remove,
};
static const cq_cli_command *const verbs[] = {
    &list_verb,   &inspect_verb, &history_verb, &pause_verb,
    &resume_verb, &remove_verb,  NULL,
};

const cq_cli_command cq_cli_queue = {
    .name = "queue",
    .summary = "List, inspect, pause, resume and remove queues",
    .verbs = verbs,
};
