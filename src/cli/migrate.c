/* SPDX-License-Identifier: MIT */
/* cli/migrate.c - cronq migrate: move queues to another store. */
#include "base/json.h"
#include "cli/cli.h"

#include <cronq/inspector.h>
#include <stdio.h>
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
    status = cronq_inspector_new(p->from, NULL, &inspector, err);
    if (!status)
        status = cronq_inspector_queues(inspector, &p->all, &p->count, err);
    cronq_inspector_free(inspector);
    p->queues = (const char **)(void *)p->all;
    return status;
}

static void show_progress(const char *queue, uint64_t moved, uint64_t left, void *arg)
{
    const cq_cli *cli = arg;

    if (!cli->json)
        fprintf(stderr, "%s: %llu moved, %llu left\n", queue, (unsigned long long)moved,
                (unsigned long long)left);
}

typedef struct moved {
    const cq_cli *cli;
    uint64_t count;
} moved;

static void note_progress(const char *queue, uint64_t count, uint64_t left, void *arg)
{
    moved *m = arg;

    m->count = count;
    show_progress(queue, count, left, (void *)(uintptr_t)m->cli);
}

/* One queue after the other, so that each that was moved is said. */
static int move_each(const plan *p)
{
    int64_t wait_ms = cq_cli_number(p->cli, "wait", 0);
    cronq_error err;
    int code = CQ_CLI_OK;
    cq_buf out;

    cq_buf_init(&out, (size_t)1 << 28);
    if (p->cli->json)
        cq_json_open(&out, '[');
    for (size_t i = 0; i < p->count && code == CQ_CLI_OK; i++) {
        moved m = { p->cli, 0 };
        const cronq_migrate_options *options =
            CRONQ_MIGRATE_OPTIONS(.keep_paused = cq_cli_has(p->cli, "keep-paused"),
                                  .active_wait_ms = wait_ms, .on_progress = note_progress,
                                  .arg = &m);

        if (cronq_migrate(p->from, p->to, &p->queues[i], 1, options, &err))
            code = cq_cli_report(p->cli, &err);
        else if (!p->cli->json)
            cq_buf_printf(&out, "%s: %llu tasks moved\n", p->queues[i],
                          (unsigned long long)m.count);
        else {
            cq_json_open(&out, '{');
            cq_json_key(&out, "queue");
            cq_json_string(&out, cq_str_of(p->queues[i]));
            cq_json_key(&out, "moved");
            cq_json_int(&out, (int64_t)m.count);
            cq_json_close(&out, '}');
        }
    }
    if (p->cli->json)
        cq_json_close(&out, ']');
    if (code == CQ_CLI_OK)
        return out.len ? cq_cli_print(p->cli, &out) : CQ_CLI_OK;
    cq_buf_release(&out);
    return code;
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
    else if (!cq_cli_has(cli, "yes"))
        code = cq_cli_misuse(
            cli, "%zu queues would be paused and moved: say --yes to do it", p.count);
    else
        code = move_each(&p);
    free(p.queues);
    return code;
}

static const cq_cli_option options[] = {
    { "from", 0, "URI", CQ_CLI_TEXT, 0, 0, NULL, "the store that is left", false },
    { "to", 0, "URI", CQ_CLI_TEXT, 0, 0, NULL, "the store that gets the tasks", false },
    { "queue", 'q', "QUEUE", CQ_CLI_TEXT, 0, 0, NULL, "only this one; may be repeated",
      true },
    { "wait", 0, "DURATION", CQ_CLI_DURATION, 0, 0, NULL,
      "how long to wait for active tasks", false },
    { "keep-paused", 0, NULL, CQ_CLI_FLAG, 0, 0, NULL,
      "leave the queues paused in the new store", false },
    { "yes", 'y', NULL, CQ_CLI_FLAG, 0, 0, NULL, "do it", false },
    { 0 },
};

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
