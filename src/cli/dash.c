/* SPDX-License-Identifier: MIT */
/* cli/dash.c - cronq dash: a live view of queues on a terminal. */
#include "dash/dash.h"
#include "cli/cli.h"

static int run(cq_cli *cli)
{
    cq_dash_options options = {
        .uri = cq_cli_need_uri(cli),
        .interval_ms = cq_cli_number(cli, "interval", 0),
        .color = cli->color,
    };
    cronq_error err;

    if (!options.uri)
        return CQ_CLI_USAGE;
    if (cli->json)
        return cq_cli_misuse(cli, "--json: this is for the eye; stats prints JSON");
    if (cq_dash_run(&options, &err))
        return err.code == CRONQ_EUNSUPPORTED
                   ? cq_cli_fail(cli, CQ_CLI_USAGE, "%s", err.text)
                   : cq_cli_report(cli, &err);
    return CQ_CLI_OK;
}

/* clang-format off */
static const cq_cli_option options[] = {
    { "interval", 'i', "TIME", CQ_CLI_DURATION, 100, 60000, "1s",
      "between two looks at the store", false },
    { 0 },
};
/* clang-format on */

const cq_cli_command cq_cli_dash = {
    .name = "dash",
    .summary = "Watch queues, tasks, servers and cron entries on the terminal",
    .details =
        "Keys: ? shows them. Archiving, cancelling and deleting are asked about first.",
    .options = options,
    .run = run,
};
