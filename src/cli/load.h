/* SPDX-License-Identifier: MIT */
/* cli/load.h - saying how the loading of a configuration file went. */
#ifndef CQ_CLI_LOAD_H
#define CQ_CLI_LOAD_H

#include "cli/cli.h"

#include <cronq/config.h>

/* Print the faults, or err when there are none but loading failed, and the warnings, to
 * stderr, a line each. Returns CQ_CLI_OK when status is OK, else CQ_CLI_CONFIG. */
int cq_cli_config_verdict(const cq_cli *cli, const cronq_config *config,
                          cronq_status status, const cronq_error *err);

#endif
