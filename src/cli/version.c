/* SPDX-License-Identifier: MIT */
/* cli/version.c - cronq version. */
#include "base/json.h"
#include "cli/cli.h"

static int run(cq_cli *cli)
{
    cq_buf out;

    cq_buf_init(&out, 256);
    if (cli->json) {
        cq_json_open(&out, '{');
        cq_json_key_text(&out, "version", cronq_version_string());
        cq_json_close(&out, '}');
    } else {
        cq_buf_printf(&out, "cronq %s", cronq_version_string());
    }
    return cq_cli_print(cli, &out);
}

const cq_cli_command cq_cli_version = {
    .name = "version",
    .summary = "Print the version",
    .run = run,
};
