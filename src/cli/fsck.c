/* SPDX-License-Identifier: MIT */
/* cli/fsck.c - cronq fsck: find what is broken in queues, and mend it. */
#include "base/json.h"
#include "cli/look.h"

#include <stdlib.h>

#define OUTPUT_LIMIT_BYTES ((size_t)1 << 28)
#define LINE_LIMIT_BYTES   ((size_t)1 << 16)

typedef struct run_state {
    const cq_cli *cli;
    cq_buf findings; /* with --json */
    size_t found_count, repaired_count;
} run_state;

static void append_json(run_state *run, const cronq_finding *finding)
{
    cq_buf *out = &run->findings;

    cq_json_open(out, '{');
    cq_json_key_text(out, "kind", cronq_finding_kind_name(finding->kind));
    cq_json_key_text(out, "queue", finding->queue);
    cq_json_key_text(out, "id", finding->id);
    cq_json_key_text(out, "text", finding->text);
    cq_json_key_bool(out, "repaired", finding->repaired);
    cq_json_close(out, '}');
}

/* At once, since a check can take long. Ids are as they are in the store. */
static void print_line(const run_state *run, const cronq_finding *finding)
{
    cq_buf out;

    cq_buf_init(&out, LINE_LIMIT_BYTES);
    cq_cli_clean(&out, cq_str_of(finding->queue));
    cq_buf_printf(&out, " %s ", cronq_finding_kind_name(finding->kind));
    cq_cli_clean(&out, cq_str_of(finding->id[0] ? finding->id : "-"));
    cq_buf_append_text(&out, ": ");
    cq_cli_clean(&out, cq_str_of(finding->text));
    cq_buf_append_text(&out, finding->repaired ? " (repaired)\n" : "\n");
    cq_cli_print(run->cli, &out);
}

static void on_finding(const cronq_finding *finding, void *arg)
{
    run_state *run = arg;

    run->found_count++;
    run->repaired_count += finding->repaired;
    if (run->cli->json)
        append_json(run, finding);
    else
        print_line(run, finding);
}

static int summarize(run_state *run, size_t queue_count)
{
    size_t left = run->found_count - run->repaired_count;
    int code = left ? CQ_CLI_RUNTIME : CQ_CLI_OK;
    cq_buf out;

    cq_buf_init(&out, 2 * OUTPUT_LIMIT_BYTES);
    if (run->cli->json) {
        cq_json_open(&out, '{');
        cq_json_key_int(&out, "queues", (int64_t)queue_count);
        cq_json_key_int(&out, "found", (int64_t)run->found_count);
        cq_json_key_int(&out, "repaired", (int64_t)run->repaired_count);
        cq_json_key(&out, "findings");
        cq_json_open(&out, '[');
        cq_buf_append_str(&out, cq_buf_str(&run->findings));
        cq_json_close(&out, ']');
        cq_json_close(&out, '}');
    } else if (run->found_count == 0) {
        cq_cli_count(&out, queue_count, "queue");
        cq_buf_append_text(&out, ", nothing found");
    } else {
        cq_cli_count(&out, queue_count, "queue");
        cq_buf_printf(&out, ", %zu found, %zu repaired", run->found_count,
                      run->repaired_count);
    }
    if (cq_cli_print(run->cli, &out))
        return CQ_CLI_RUNTIME;
    return code;
}

/* One that cannot be checked does not keep the others from it. */
static int check_each(run_state *run, cronq_inspector *inspector,
                      const char *const *names, size_t count)
{
    bool repair = cq_cli_has(run->cli, "repair");
    int code = CQ_CLI_OK, last;
    size_t checked = 0;
    cronq_error err;

    for (size_t i = 0; i < count && code != CQ_CLI_CONNECTION; i++)
        if (cronq_inspector_check(inspector, names[i], repair, on_finding, run, &err))
            code = cq_cli_report(run->cli, &err);
        else
            checked++;
    if (code && !checked)
        return code;
    last = summarize(run, checked);
    return code ? code : last;
}

static int check_all(run_state *run, cronq_inspector *inspector)
{
    char **names = NULL;
    size_t count = 0;
    cronq_error err;
    int code;

    if (cronq_inspector_queues(inspector, &names, &count, &err))
        return cq_cli_report(run->cli, &err);
    code = check_each(run, inspector, (const char *const *)names, count);
    free(names);
    return code;
}

static int check(cq_cli *cli, cronq_inspector *inspector)
{
    run_state state = { .cli = cli };
    int code;

    cq_buf_init(&state.findings, OUTPUT_LIMIT_BYTES);
    code = cli->arg_count > 0
               ? check_each(&state, inspector, cli->args, (size_t)cli->arg_count)
               : check_all(&state, inspector);
    cq_buf_release(&state.findings);
    return code;
}

static int run(cq_cli *cli)
{
    return cq_cli_look(cli, check);
}

/* clang-format off */
static const cq_cli_option options[] = {
    { "repair", 0, NULL, CQ_CLI_FLAG, .help = "mend what is safe to mend" },
    { 0 },
};
/* clang-format on */

const cq_cli_command cq_cli_fsck = {
    .name = "fsck",
    .summary = "Find what is broken in queues, and mend it",
    .args = "[QUEUE]...",
    .max_args = -1,
    .options = options,
    .details =
        "Checks every task of the queues (all, when none is named), also while they "
        "are in\nuse. Prints a line for each finding. Exit code 0: nothing is "
        "left broken.",
    .run = run,
};
