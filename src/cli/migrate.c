/* SPDX-License-Identifier: MIT */
/* cli/migrate.c - cronq migrate: move queues to another store. */
#include "base/json.h"
#include "cli/look.h"

#include <stdlib.h>

typedef struct plan {
    cq_cli *cli;
    const char *from, *to;
    const char **queues;
    size_t count;
    char **all; /* the block of names, when none was given */
} plan;

/* The queues that were named, or else all of the store. */
static cronq_status read_queues(plan *p, cronq_error *err)
{
    cronq_inspector *inspector = NULL;
    cronq_status status;

    while (cq_cli_nth(p->cli, "queue", p->count))
        p->count++;
    if (p->count) {
        p->queues = calloc(p->count, sizeof *p->queues);
        for (size_t i = 0; p->queues && i < p->count; i++)
            p->queues[i] = cq_cli_nth(p->cli, "queue", i);
        if (p->queues)
            return CRONQ_OK;
        *err = (cronq_error){ .code = CRONQ_ENOMEM, .text = "out of memory" };
        return CRONQ_ENOMEM;
    }
    status = cronq_inspector_new(p->from, CRONQ_STORE_OPTIONS(.must_exist = true),
                                 &inspector, err);
    if (!status)
        status = cronq_inspector_queues(inspector, &p->all, &p->count, err);
    cronq_inspector_free(inspector);
    p->queues = (const char **)(void *)p->all;
    return status;
}

typedef struct moved {
    uint64_t count;
    cq_cli_progress progress;
} moved;

static void note_progress(const char *queue, uint64_t count, uint64_t left, void *arg)
{
    moved *m = arg;

    (void)queue;
    m->count = count;
    cq_cli_progress_step(count, count + left, &m->progress);
}

static cronq_status move_one(const plan *p, size_t index, uint64_t *count,
                             cronq_error *err)
{
    moved m = { 0 };
    const cronq_migrate_options *options =
        CRONQ_MIGRATE_OPTIONS(.keep_paused = cq_cli_has(p->cli, "keep-paused"),
                              .active_wait_ms = cq_cli_number(p->cli, "wait", 0),
                              .on_progress = note_progress, .arg = &m);
    cronq_status status;

    cq_cli_progress_begin(&m.progress, p->queues[index], false);
    status = cronq_migrate(p->from, p->to, &p->queues[index], 1, options, err);
    cq_cli_progress_end(&m.progress);
    *count = m.count;
    return status;
}

/* One queue after the other; what was moved before one fails is said too. */
static int move_each(const plan *p)
{
    int code = CQ_CLI_OK, printed;
    cronq_error err;
    cq_buf out;

    cq_buf_init(&out, (size_t)1 << 28);
    if (p->cli->json)
        cq_json_open(&out, '[');
    for (size_t i = 0; i < p->count && code == CQ_CLI_OK; i++) {
        uint64_t count;

        if (move_one(p, i, &count, &err)) {
            code = cq_cli_report(p->cli, &err);
        } else if (p->cli->json) {
            cq_json_open(&out, '{');
            cq_json_key_text(&out, "queue", p->queues[i]);
            cq_json_key_int(&out, "moved", (int64_t)count);
            cq_json_close(&out, '}');
        } else {
            cq_cli_clean(&out, cq_str_of(p->queues[i]));
            cq_buf_append_text(&out, ": ");
            cq_cli_count(&out, count, "task");
            cq_buf_append_text(&out, " moved\n");
        }
    }
    if (p->cli->json)
        cq_json_close(&out, ']');
    printed = out.len ? cq_cli_print(p->cli, &out) : CQ_CLI_OK;
    return code ? code : printed;
}

static int run_migrate(cq_cli *cli)
{
    plan p = { .cli = cli,
               .from = cq_cli_text(cli, "from"),
               .to = cq_cli_text(cli, "to") };
    cronq_error err;
    int code;

    if (!p.from || !p.to)
        return cq_cli_misuse(cli, "--%s is missing", p.from ? "to" : "from");
    if (read_queues(&p, &err))
        code = cq_cli_report(cli, &err);
    else
        code = cq_cli_confirm(cli, "pause and move %zu queues", p.count);
    if (!code)
        code = move_each(&p);
    free(p.queues);
    return code;
}

/* clang-format off */
static const cq_cli_option options[] = {
    { "from", 0, "URI", CQ_CLI_TEXT, .help = "the store that is left" },
    { "to", 0, "URI", CQ_CLI_TEXT, .help = "the store that gets the tasks" },
    { "queue", 'q', "QUEUE", CQ_CLI_TEXT, .help = "only this one; may be repeated", .repeats = true },
    { "wait", 0, "DURATION", CQ_CLI_DURATION, .help = "how long to wait for active tasks" },
    { "keep-paused", 0, NULL, CQ_CLI_FLAG, .help = "leave the queues paused in the new store" },
    CQ_CLI_YES_ROW,
    { 0 },
};
/* clang-format on */

const cq_cli_command cq_cli_migrate = {
    .name = "migrate",
    .summary = "Move queues to another store",
    .details = "Moves tasks in all states, page by page. When it ends early, run it\n"
               "again: nothing is lost, and nothing is there twice. A queue with active\n"
               "tasks must be paused. The queues are paused in both stores meanwhile;\n"
               "then they are resumed in the new one.",
    .options = options,
    .run = run_migrate,
};
