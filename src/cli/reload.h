/* SPDX-License-Identifier: MIT */
/* cli/reload.h - reading the configuration file again. */
#ifndef CQ_CLI_RELOAD_H
#define CQ_CLI_RELOAD_H

#include "base/buf.h"

#include <cronq/config.h>

/* The file as it is now, into text; what can not be read is empty. */
void cq_reload_read(const char *path, cq_buf *text);

/* Could a server be made of the file as it is now? Faults are logged, a line each. */
bool cq_reload_check(const char *path, const char *uri, const char *cgroup,
                     const cronq_logger *logger);

#endif
