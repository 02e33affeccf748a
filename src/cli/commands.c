/* SPDX-License-Identifier: MIT */
/* cli/commands.c - the subcommands, in the order in which help lists them. */
#include "cli/cli.h"

/* clang-format off */
static const cq_cli_command *const verbs[] = {
    &cq_cli_server,
    &cq_cli_push,
    &cq_cli_stats,
    &cq_cli_dash,
    &cq_cli_queue,
    &cq_cli_task,
    &cq_cli_cancel,
    &cq_cli_group,
    &cq_cli_fsck,
    &cq_cli_doctor,
    &cq_cli_cron,
    &cq_cli_config,
    &cq_cli_bench,
    &cq_cli_completion,
    &cq_cli_help_command,
    &cq_cli_man,
    &cq_cli_migrate,
    &cq_cli_version,
    NULL,
};
/* clang-format on */

const cq_cli_command cq_cli_root = {
    .name = "cronq",
    .summary = "Run, push, schedule and inspect tasks in queues",
    .verbs = verbs,
    .details = "Exit codes: 0 ok, 1 runtime, 2 usage, 3 configuration, 4 connection,\n"
               "5 not found, 6 conflict.",
};

/* clang-format off */
const cq_cli_option cq_cli_globals[] = {
    { "uri", 'u', "URI", CQ_CLI_TEXT,
      .help = "the store, e.g. redis://localhost:6379/0 (else CRONQ_URI, else a file of yours)" },
    { "json", 0, NULL, CQ_CLI_FLAG, .help = "print JSON" },
    { "no-color", 0, NULL, CQ_CLI_FLAG, .help = "no colours (also: NO_COLOR)" },
    { "help", 'h', NULL, CQ_CLI_FLAG, .help = "print this help" },
    { "version", 0, NULL, CQ_CLI_FLAG, .help = "print the version" },
    { 0 },
};
/* clang-format on */
