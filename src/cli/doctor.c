/* SPDX-License-Identifier: MIT */
/* cli/doctor.c - cronq doctor: what about the store is not as queues need it. */
#include "base/json.h"
#include "cli/look.h"

#define OUTPUT_LIMIT_BYTES ((size_t)1 << 20)

typedef struct run_state {
    const cq_cli *cli;
    cq_buf out;
    size_t count;
} run_state;

static void on_advice(const cronq_advice *advice, void *arg)
{
    run_state *run = arg;

    run->count++;
    if (!run->cli->json) {
        cq_buf_printf(&run->out, "%s: %s\n", advice->kind, advice->text);
        return;
    }
    cq_json_open(&run->out, '{');
    cq_json_key_text(&run->out, "kind", advice->kind);
    cq_json_key_text(&run->out, "text", advice->text);
    cq_json_close(&run->out, '}');
}

static int say(run_state *run, cronq_inspector *inspector)
{
    cronq_error err;

    if (run->cli->json)
        cq_json_open(&run->out, '[');
    if (cronq_inspector_diagnose(inspector, on_advice, run, &err))
        return cq_cli_report(run->cli, &err);
    if (run->cli->json)
        cq_json_close(&run->out, ']');
    else if (run->count == 0)
        cq_buf_append_text(&run->out, "nothing to complain about\n");
    if (cq_cli_print(run->cli, &run->out))
        return CQ_CLI_RUNTIME;
    return run->count ? CQ_CLI_RUNTIME : CQ_CLI_OK;
}

static int examine(cq_cli *cli, cronq_inspector *inspector)
{
    run_state state = { .cli = cli };
    int code;

    cq_buf_init(&state.out, OUTPUT_LIMIT_BYTES);
    code = say(&state, inspector);
    cq_buf_release(&state.out);
    return code;
}

static int run(cq_cli *cli)
{
    return cq_cli_look(cli, examine);
}

const cq_cli_command cq_cli_doctor = {
    .name = "doctor",
    .summary = "Say what about the store is not as queues need it",
    .details =
        "Looks at the version, the clock, eviction, persistence, what the user may do, "
        "and\nwhether workers are told of new tasks. Changes nothing. Exit code 0: "
        "there is\nnothing to say.",
    .run = run,
};
