/* SPDX-License-Identifier: MIT */
/* cli/task_time.c - cronq task reschedule and update: another time, another payload. */
#include "cli/payload.h"
#include "cli/task.h"

#include "base/error.h"

/* ---- reschedule ---- */

typedef struct rescheduling {
    cronq_client *client;
    int64_t at_ms;
    const cronq_bytes *payload; /* NULL: it stays */
} rescheduling;

static cronq_status reschedule_one(void *arg, cronq_inspector *inspector,
                                   const char *queue, const char *id, cronq_error *err)
{
    const rescheduling *r = arg;

    (void)inspector;
    return cronq_client_reschedule_task(r->client, queue, id, r->at_ms, r->payload, err);
}

static const cronq_state waiting[] = { CRONQ_STATE_PENDING, CRONQ_STATE_SCHEDULED,
                                       CRONQ_STATE_RETRY, CRONQ_STATE_AGGREGATING, 0 };
static const cq_cli_act reschedule_act = { "reschedule", "rescheduled",  false,
                                           waiting,      reschedule_one, NULL };

static int reschedule(cq_cli *cli, cronq_inspector *inspector, rescheduling *r)
{
    cronq_error err;
    int code;

    if (cronq_client_new(cq_cli_need_uri(cli), NULL, &r->client, &err))
        return cq_cli_report(cli, &err);
    code = cq_cli_act_run(cli, inspector, &reschedule_act, r);
    cronq_client_free(r->client);
    return code;
}

static int work_reschedule(cq_cli *cli, cronq_inspector *inspector)
{
    int given = cq_cli_has(cli, "in") + cq_cli_has(cli, "at") + cq_cli_has(cli, "now");
    rescheduling r = { .at_ms = cq_cli_now_ms() };
    cronq_bytes payload = { 0 };
    cronq_state state = cq_cli_state(cli);
    cq_buf room;
    int code;

    if (state == CRONQ_STATE_ACTIVE || state == CRONQ_STATE_COMPLETED)
        return cq_cli_misuse(cli, "%s tasks can not be rescheduled",
                             cronq_state_name(state));
    if (given != 1)
        return cq_cli_misuse(cli, "when? give one of --in, --at and --now");
    r.at_ms = cq_cli_number(cli, "at", r.at_ms + cq_cli_number(cli, "in", 0));
    cq_buf_init(&room, CQ_CLI_PAYLOAD_LIMIT_BYTES);
    code = cq_cli_read_payload(cli, cq_cli_text(cli, "set-payload"), &room, &payload);
    if (cq_cli_has(cli, "set-payload"))
        r.payload = &payload;
    if (!code)
        code = reschedule(cli, inspector, &r);
    cq_buf_release(&room);
    return code;
}

static int run_reschedule(cq_cli *cli)
{
    return cq_cli_look(cli, work_reschedule);
}

/* ---- update ---- */

static int work_update(cq_cli *cli, cronq_inspector *inspector)
{
    const char *queue = cq_cli_text(cli, "queue");
    cronq_bytes payload = { 0 };
    cronq_error err;
    cq_buf room, out;
    int code;

    cq_buf_init(&room, CQ_CLI_PAYLOAD_LIMIT_BYTES);
    code = cq_cli_read_payload(cli, cli->args[1], &room, &payload);
    if (!code &&
        cronq_inspector_update_payload(inspector, queue, cli->args[0], payload, &err))
        code = cq_cli_report(cli, &err);
    cq_buf_release(&room);
    if (code)
        return code;
    cq_buf_init(&out, 1 << 12);
    cq_cli_act_result(cli, queue, "update", "updated", 1, &out);
    return cq_cli_print(cli, &out);
}

static int run_update(cq_cli *cli)
{
    return cq_cli_look(cli, work_update);
}

/* ---- verbs ---- */

/* clang-format off */
static const cq_cli_option reschedule_options[] = {
    { "in", 0, "DURATION", CQ_CLI_DURATION, .help = "to this long from now: 5s, 1h30m" },
    { "at", 0, "TIME", CQ_CLI_INSTANT, .help = "to this time: 2026-01-31T09:00:00+01:00" },
    { "now", 0, NULL, CQ_CLI_FLAG, .help = "to now" },
    { "set-payload", 0, "TEXT|@FILE|-", CQ_CLI_TEXT, .help = "and another payload" },
    CQ_CLI_ACT_ROWS,
    { 0 },
};
static const cq_cli_option update_options[] = {
    CQ_CLI_QUEUE_ROW,
    { 0 },
};
/* clang-format on */

const cq_cli_command cq_cli_task_reschedule = {
    .name = "reschedule",
    .summary = "Give tasks another time, and perhaps another payload",
    .args = "[ID]...",
    .max_args = -1,
    .details =
        "Of each in one step, its id kept. Not while it runs, when it is completed, "
        "or while\nits group is merged. An archived one runs once more: by id or "
        "with --state archived.",
    .options = reschedule_options,
    .run = run_reschedule,
};
const cq_cli_command cq_cli_task_update = {
    .name = "update",
    .summary = "Give a scheduled task another payload",
    .args = "ID PAYLOAD|@FILE|-",
    .min_args = 2,
    .max_args = 2,
    .options = update_options,
    .run = run_update,
};
