/* SPDX-License-Identifier: MIT */
/* cli/task_act.c - doing something to tasks, by their ids or to all that fit. */
#include "cli/task.h"

#include "base/error.h"
#include "base/json.h"
#include "base/quote.h"

#include <string.h>

#define IDS_LIMIT_BYTES ((size_t)1 << 30)

/* One run of a verb. */
typedef struct act_run {
    cq_cli *cli;
    cronq_inspector *inspector;
    const cq_cli_act *act;
    void *arg;
    const char *queue;
    cq_cli_progress progress;
    uint64_t done;
    int code; /* of the last failure */
} act_run;

void cq_cli_act_result(const cq_cli *cli, const char *queue, const char *verb,
                       const char *done, uint64_t count, cq_buf *out)
{
    if (cli->json) {
        cq_json_open(out, '{');
        cq_json_key_text(out, "queue", queue);
        cq_json_key_text(out, "action", verb);
        cq_json_key_int(out, "done", (int64_t)count);
        cq_json_close(out, '}');
    } else {
        cq_cli_count(out, count, "task");
        cq_buf_printf(out, " %s", done);
    }
}

static int print(const act_run *run)
{
    cq_buf out;

    cq_buf_init(&out, 1 << 12);
    cq_cli_act_result(run->cli, run->queue, run->act->verb, run->act->done, run->done,
                      &out);
    return cq_cli_print(run->cli, &out);
}

/* ---- by id ---- */

/* One that fails does not keep the others from it. */
static void act_on_ids(act_run *run)
{
    const cq_cli *cli = run->cli;
    uint64_t total = (uint64_t)cli->arg_count;
    cronq_error err;

    for (int i = 0; i < cli->arg_count; i++) {
        if (run->act->one(run->arg, run->inspector, run->queue, cli->args[i], &err))
            run->code = cq_cli_report(cli, &err);
        else
            run->done++;
        if (!cq_cli_progress_step((uint64_t)i + 1, total, &run->progress)) {
            run->code = cq_cli_fail(cli, CQ_CLI_RUNTIME, "interrupted");
            return;
        }
        if (run->code == CQ_CLI_CONNECTION)
            return;
    }
}

static int confirm_ids(const act_run *run)
{
    const cq_cli *cli = run->cli;
    char room[CQ_QUOTED_ROOM];

    if (cli->arg_count == 1)
        return cq_cli_confirm(cli, "%s the task %s of queue %.100s", run->act->verb,
                              cq_quoted(cq_str_of(cli->args[0]), room), run->queue);
    return cq_cli_confirm(cli, "%s %d tasks of queue %.100s", run->act->verb,
                          cli->arg_count, run->queue);
}

/* ---- all that fit ---- */

static void act_on_state(act_run *run, cronq_state state,
                         const cronq_bulk_options *options)
{
    uint64_t done = 0;
    cronq_error err;

    run->progress.what = cronq_state_name(state);
    if (run->act->all(run->arg, run->inspector, run->queue, state, options, &done, &err))
        run->code = cq_cli_report(run->cli, &err);
    run->done += done;
}

static void act_on_each(act_run *run, const cronq_state *states,
                        const cronq_bulk_options *options)
{
    cronq_error err;

    if (cq_cli_act_each(run->act, run->arg, run->inspector, run->queue, states, options,
                        &run->done, &err))
        run->code = cq_cli_report(run->cli, &err);
}

static void act_on_all(act_run *run)
{
    cronq_filter filter = cq_cli_filter(run->cli);
    const cronq_bulk_options *options =
        CRONQ_BULK_OPTIONS(.filter = &filter, .progress = cq_cli_progress_step,
                           .progress_arg = &run->progress);
    cronq_state named[] = { cq_cli_state(run->cli), 0 };
    const cronq_state *states = named;

    if (!named[0] && filter.group)
        named[0] = CRONQ_STATE_AGGREGATING;
    if (!named[0])
        states = run->act->states;
    if (!run->act->all)
        act_on_each(run, states, options);
    else
        for (; *states && !run->code; states++)
            act_on_state(run, *states, options);
}

static int confirm_all(const act_run *run)
{
    const cq_cli *cli = run->cli;
    const char *state = cq_cli_text(cli, "state");
    bool some = cq_cli_has(cli, "type") || cq_cli_has(cli, "id") ||
                cq_cli_has(cli, "payload") || cq_cli_has(cli, "older") ||
                cq_cli_has(cli, "group");

    return cq_cli_confirm(cli, "%s all %s%stasks of queue %.100s%s", run->act->verb,
                          state ? state : "", state ? " " : "", run->queue,
                          some ? " that fit" : "");
}

/* ---- both ---- */

/* An empty prefix, or no age, fits every task. Here it comes from a variable that was not
 * set, and all is not what was meant. */
static int check_filters(const cq_cli *cli)
{
    static const char *const names[] = { "type", "id", "payload", "group" };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = cq_cli_text(cli, names[i]);

        if (text && !*text)
            return cq_cli_misuse(cli, "--%s is empty: --all is for all tasks", names[i]);
    }
    if (cq_cli_has(cli, "older") && cq_cli_number(cli, "older", 0) == 0)
        return cq_cli_misuse(cli, "--older is 0: --all is for all tasks");
    return CQ_CLI_OK;
}

static int check_words(const cq_cli *cli)
{
    bool filters = cq_cli_filters(cli), all = cq_cli_has(cli, "all");

    if (cli->arg_count == 0 && !filters && !all)
        return cq_cli_misuse(cli, "which tasks? name ids, or give --state, --type, … or "
                                  "--all");
    if (cli->arg_count > 0 && (filters || all))
        return cq_cli_misuse(cli, "either ids or a choice of tasks, not both");
    return check_filters(cli);
}

int cq_cli_act_run(cq_cli *cli, cronq_inspector *inspector, const cq_cli_act *act,
                   void *arg)
{
    act_run run = { .cli = cli,
                    .inspector = inspector,
                    .act = act,
                    .arg = arg,
                    .queue = cq_cli_text(cli, "queue") };
    int code = check_words(cli);

    if (!code && act->asks)
        code = cli->arg_count > 0 ? confirm_ids(&run) : confirm_all(&run);
    if (code)
        return code;
    cq_cli_progress_begin(&run.progress, act->verb, true);
    if (cli->arg_count > 0)
        act_on_ids(&run);
    else
        act_on_all(&run);
    cq_cli_progress_end(&run.progress);
    if (run.code && !run.done)
        return run.code;
    code = print(&run);
    return run.code ? run.code : code;
}

/* ---- one by one ---- */

static bool keep_id(const cronq_task_info *info, void *arg)
{
    const char *id = cronq_task_info_id(info);
    cq_buf *ids = arg;

    cq_buf_append(ids, id, strlen(id) + 1);
    return ids->status == CRONQ_OK;
}

static uint64_t count_ids(const cq_buf *ids)
{
    uint64_t count = 0;

    for (size_t at = 0; at < ids->len; at += strlen(ids->data + at) + 1)
        count++;
    return count;
}

/* What has moved on since it was seen is passed over. */
static bool is_over(cronq_status status)
{
    return status == CRONQ_ENOENT || status == CRONQ_ESTATE;
}

cronq_status cq_cli_act_each(const cq_cli_act *act, void *arg, cronq_inspector *inspector,
                             const char *queue, const cronq_state *states,
                             const cronq_bulk_options *options, uint64_t *done,
                             cronq_error *err)
{
    uint64_t total, looked_at = 0;
    cronq_status status = CRONQ_OK;
    cq_buf ids;

    *done = 0;
    cq_buf_init(&ids, IDS_LIMIT_BYTES);
    for (; *states && !status; states++)
        status = cronq_inspector_each(inspector, queue, *states, options->filter, keep_id,
                                      &ids, err);
    if (ids.status)
        status = cq_fail(err, ids.status, "too many tasks to do it one by one");
    total = count_ids(&ids);
    for (size_t at = 0; at < ids.len && !status; at += strlen(ids.data + at) + 1) {
        status = act->one(arg, inspector, queue, ids.data + at, err);
        *done += status == CRONQ_OK;
        if (is_over(status))
            status = CRONQ_OK;
        if (!status && !options->progress(++looked_at, total, options->progress_arg))
            status = cq_fail(err, CRONQ_ECANCELED, "interrupted after %llu of %llu tasks",
                             (unsigned long long)looked_at, (unsigned long long)total);
    }
    cq_buf_release(&ids);
    return status;
}
