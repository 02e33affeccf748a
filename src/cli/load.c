/* SPDX-License-Identifier: MIT */
/* cli/load.c - saying how the loading of a configuration file went. */
#include "cli/load.h"

#include <stdio.h>

int cq_cli_config_verdict(const cq_cli *cli, const cronq_config *config,
                          cronq_status status, const cronq_error *err)
{
    size_t errors = cronq_config_error_count(config);

    for (size_t i = 0; i < cronq_config_warning_count(config); i++)
        fprintf(stderr, "warning: %s\n", cronq_config_warning_at(config, i));
    for (size_t i = 0; i < errors; i++)
        fprintf(stderr, "%s\n", cronq_config_error_at(config, i));
    if (status && errors == 0)
        return cq_cli_fail(cli, CQ_CLI_CONFIG, "%s", err->text);
    return status ? CQ_CLI_CONFIG : CQ_CLI_OK;
}
