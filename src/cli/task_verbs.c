/* SPDX-License-Identifier: MIT */
/* cli/task_verbs.c - cronq task delete, archive, run and cancel. */
#include "cli/task.h"

#include "base/error.h"

static const cronq_state waiting[] = { CRONQ_STATE_PENDING, CRONQ_STATE_SCHEDULED,
                                       CRONQ_STATE_RETRY, CRONQ_STATE_AGGREGATING, 0 };

/* ---- delete ---- */

static cronq_status delete_one(void *arg, cronq_inspector *inspector, const char *queue,
                               const char *id, cronq_error *err)
{
    (void)arg;
    return cronq_inspector_delete(inspector, queue, id, err);
}

static cronq_status delete_all(void *arg, cronq_inspector *inspector, const char *queue,
                               cronq_state state, const cronq_bulk_options *options,
                               uint64_t *done, cronq_error *err)
{
    (void)arg;
    return cronq_inspector_delete_all(inspector, queue, state, options, done, err);
}

static const cronq_state all_but_active[] = {
    CRONQ_STATE_PENDING,
    CRONQ_STATE_SCHEDULED,
    CRONQ_STATE_RETRY,
    CRONQ_STATE_ARCHIVED,
    CRONQ_STATE_COMPLETED,
    CRONQ_STATE_AGGREGATING,
    0,
};
static const cq_cli_act delete_act = { "delete",       "deleted",  true,
                                       all_but_active, delete_one, delete_all };

static int work_delete(cq_cli *cli, cronq_inspector *inspector)
{
    return cq_cli_act_run(cli, inspector, &delete_act, NULL);
}

static int run_delete(cq_cli *cli)
{
    return cq_cli_look(cli, work_delete);
}

/* ---- archive ---- */

static cronq_status archive_one(void *arg, cronq_inspector *inspector, const char *queue,
                                const char *id, cronq_error *err)
{
    (void)arg;
    return cronq_inspector_archive(inspector, queue, id, err);
}

static cronq_status archive_all(void *arg, cronq_inspector *inspector, const char *queue,
                                cronq_state state, const cronq_bulk_options *options,
                                uint64_t *done, cronq_error *err)
{
    (void)arg;
    return cronq_inspector_archive_all(inspector, queue, state, options, done, err);
}

static const cq_cli_act archive_act = { "archive", "archived",  false,
                                        waiting,   archive_one, archive_all };

static int work_archive(cq_cli *cli, cronq_inspector *inspector)
{
    return cq_cli_act_run(cli, inspector, &archive_act, NULL);
}

static int run_archive(cq_cli *cli)
{
    return cq_cli_look(cli, work_archive);
}

/* ---- run ---- */

static cronq_status run_one(void *arg, cronq_inspector *inspector, const char *queue,
                            const char *id, cronq_error *err)
{
    (void)arg;
    return cronq_inspector_run(inspector, queue, id, err);
}

static cronq_status run_all(void *arg, cronq_inspector *inspector, const char *queue,
                            cronq_state state, const cronq_bulk_options *options,
                            uint64_t *done, cronq_error *err)
{
    (void)arg;
    return cronq_inspector_run_all(inspector, queue, state, options, done, err);
}

/* What is completed runs again only when it is asked for by name. */
static const cronq_state not_done[] = { CRONQ_STATE_SCHEDULED, CRONQ_STATE_RETRY,
                                        CRONQ_STATE_ARCHIVED, CRONQ_STATE_AGGREGATING,
                                        0 };
static const cq_cli_act run_act = { "run",    "made pending", false,
                                    not_done, run_one,        run_all };

static int work_run(cq_cli *cli, cronq_inspector *inspector)
{
    return cq_cli_act_run(cli, inspector, &run_act, NULL);
}

static int run_run(cq_cli *cli)
{
    return cq_cli_look(cli, work_run);
}

/* ---- cancel ---- */

typedef struct cancelling {
    cronq_client *client;
    cronq_cancel_mode mode;
} cancelling;

static cronq_status cancel_one(void *arg, cronq_inspector *inspector, const char *queue,
                               const char *id, cronq_error *err)
{
    const cancelling *c = arg;

    (void)inspector;
    return cronq_client_cancel_task(c->client, queue, id, c->mode, err);
}

static cronq_status cancel_all(void *arg, cronq_inspector *inspector, const char *queue,
                               cronq_state state, const cronq_bulk_options *options,
                               uint64_t *done, cronq_error *err);

static const cronq_state cancellable[] = {
    CRONQ_STATE_PENDING,     CRONQ_STATE_SCHEDULED, CRONQ_STATE_RETRY,
    CRONQ_STATE_AGGREGATING, CRONQ_STATE_ACTIVE,    0,
};
static const cq_cli_act cancel_act = { "cancel",    "cancelled", true,
                                       cancellable, cancel_one,  cancel_all };
static const cq_cli_act withdraw_act = { "cancel", "cancelled", true,
                                         waiting,  cancel_one,  cancel_all };

static const cronq_state active[] = { CRONQ_STATE_ACTIVE, 0 };

/* Waiting tasks of a state are withdrawn as they are deleted: together. */
static cronq_status cancel_all(void *arg, cronq_inspector *inspector, const char *queue,
                               cronq_state state, const cronq_bulk_options *options,
                               uint64_t *done, cronq_error *err)
{
    if (state == CRONQ_STATE_ARCHIVED || state == CRONQ_STATE_COMPLETED)
        return cq_fail(err, CRONQ_EINVAL,
                       "%s tasks have ended: there is nothing to cancel",
                       cronq_state_name(state));
    if (state == CRONQ_STATE_ACTIVE)
        return cq_cli_act_each(&cancel_act, arg, inspector, queue, active, options, done,
                               err);
    return cronq_inspector_delete_all(inspector, queue, state, options, done, err);
}

static int work_cancel(cq_cli *cli, cronq_inspector *inspector)
{
    bool waits = cq_cli_has(cli, "waiting");
    cancelling c = { .mode = waits ? CRONQ_CANCEL_WAITING : CRONQ_CANCEL_RUNNING };
    cronq_error err;
    int code;

    if (waits && cq_cli_state(cli) == CRONQ_STATE_ACTIVE)
        return cq_cli_misuse(cli, "--waiting and --state active: give one of them");
    if (cronq_client_new(cq_cli_need_uri(cli), NULL, &c.client, &err))
        return cq_cli_report(cli, &err);
    code = cq_cli_act_run(cli, inspector, waits ? &withdraw_act : &cancel_act, &c);
    cronq_client_free(c.client);
    return code;
}

static int run_cancel(cq_cli *cli)
{
    return cq_cli_look(cli, work_cancel);
}

/* ---- verbs ---- */

static const cq_cli_option act_options[] = { CQ_CLI_ACT_ROWS, { 0 } };
static const cq_cli_option delete_options[] = { CQ_CLI_ACT_ROWS, CQ_CLI_YES_ROW, { 0 } };
/* clang-format off */
static const cq_cli_option cancel_options[] = {
    CQ_CLI_ACT_ROWS,
    { "waiting", 'w', NULL, CQ_CLI_FLAG, .help = "leave alone what runs" },
    CQ_CLI_YES_ROW,
    { 0 },
};
/* clang-format on */

const cq_cli_command cq_cli_task_delete = {
    .name = "delete",
    .summary = "Delete tasks, in any state but active",
    .args = "[ID]...",
    .max_args = -1,
    .details = "  cronq task delete -q mail --state archived --older 720h --yes",
    .options = delete_options,
    .run = run_delete,
};
const cq_cli_command cq_cli_task_archive = {
    .name = "archive",
    .summary = "Archive tasks that are pending, scheduled, retried or in a group",
    .args = "[ID]...",
    .max_args = -1,
    .options = act_options,
    .run = run_archive,
};
const cq_cli_command cq_cli_task_run = {
    .name = "run",
    .summary = "Let tasks run now that are scheduled, retried, archived or in a group",
    .args = "[ID]...",
    .max_args = -1,
    .details = "Completed ones too, by id or with --state completed.",
    .options = act_options,
    .run = run_run,
};
const cq_cli_command cq_cli_task_cancel = {
    .name = "cancel",
    .summary = "Withdraw tasks that wait, and ask running ones to stop",
    .args = "[ID]...",
    .max_args = -1,
    .details = "What waits is gone with the lock that it holds. What runs is archived as "
               "cancelled,\nunless it succeeds all the same.",
    .options = cancel_options,
    .run = run_cancel,
};
const cq_cli_command cq_cli_cancel = {
    .name = "cancel",
    .summary = "The same as task cancel",
    .args = "[ID]...",
    .max_args = -1,
    .options = cancel_options,
    .run = run_cancel,
};
