/* SPDX-License-Identifier: MIT */
/* cli/payload.h - payloads from the command line. */
#ifndef CQ_CLI_PAYLOAD_H
#define CQ_CLI_PAYLOAD_H

#include "cli/cli.h"

/* What the client takes at most unless it is told otherwise. */
#define CQ_CLI_PAYLOAD_LIMIT_BYTES ((size_t)1 << 20)

/* Text as it is, "@FILE", or "-" for standard input; NULL: nothing. room, with the limit
 * above, holds what was read. Returns CQ_CLI_OK, or the exit code after having said what
 * is wrong. */
int cq_cli_read_payload(const cq_cli *cli, const char *text, cq_buf *room,
                        cronq_bytes *out);

#endif
