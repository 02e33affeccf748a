/* SPDX-License-Identifier: MIT */
/* cli/told.h - verbs that show what servers and schedulers tell, below their commands. */
#ifndef CQ_CLI_TOLD_H
#define CQ_CLI_TOLD_H

#include "cli/look.h"

extern const cq_cli_command cq_cli_server_list;
extern const cq_cli_command cq_cli_cron_list;
extern const cq_cli_command cq_cli_cron_history;

#endif
