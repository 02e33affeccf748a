/* SPDX-License-Identifier: MIT */
/* cli/payload.c - payloads from the command line. */
#include "cli/payload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int refuse_payload(const cq_cli *cli, const char *name, const char *why)
{
    return cq_cli_fail(cli, CQ_CLI_USAGE, "payload: cannot read %.200s: %s", name, why);
}

static int read_stream(const cq_cli *cli, const char *name, FILE *stream, cq_buf *out)
{
    char block[8192];
    size_t got;

    while ((got = fread(block, 1, sizeof block, stream)) > 0 && !out->status)
        cq_buf_append(out, block, got);
    if (ferror(stream))
        return refuse_payload(cli, name, strerror(errno));
    if (out->status == CRONQ_ETOOBIG)
        return cq_cli_fail(cli, CQ_CLI_USAGE,
                           "payload: %.200s is larger than %zu bytes, the limit", name,
                           CQ_CLI_PAYLOAD_LIMIT_BYTES);
    return out->status ? cq_cli_fail(cli, CQ_CLI_RUNTIME, "out of memory") : CQ_CLI_OK;
}

static int read_file(const cq_cli *cli, const char *path, cq_buf *out)
{
    FILE *stream = fopen(path, "re");
    int code;

    if (!stream)
        return refuse_payload(cli, path, strerror(errno));
    code = read_stream(cli, path, stream, out);
    fclose(stream);
    return code;
}

int cq_cli_read_payload(const cq_cli *cli, const char *text, cq_buf *room,
                        cronq_bytes *out)
{
    int code;

    if (!text)
        return CQ_CLI_OK;
    if (text[0] != '@' && strcmp(text, "-") != 0) {
        *out = (cronq_bytes){ text, strlen(text) };
        return CQ_CLI_OK;
    }
    code = text[0] == '@' ? read_file(cli, text + 1, room)
                          : read_stream(cli, "standard input", stdin, room);
    *out = (cronq_bytes){ room->len ? room->data : "", room->len };
    return code;
}
