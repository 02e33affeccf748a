/* SPDX-License-Identifier: MIT */
/* cli/output.c - what is printed where, and the exit code that goes with it. */
#include "base/error.h"
#include "base/json.h"
#include "cli/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>

static const struct {
    cronq_status status;
    int code;
} exits[] = {
    { CRONQ_OK, CQ_CLI_OK },
    { CRONQ_EINVAL, CQ_CLI_USAGE },
    { CRONQ_ETOOBIG, CQ_CLI_USAGE },
    { CRONQ_EIO, CQ_CLI_CONNECTION },
    { CRONQ_EAUTH, CQ_CLI_CONNECTION },
    { CRONQ_EREFUSED, CQ_CLI_CONNECTION },
    { CRONQ_ETIMEDOUT, CQ_CLI_CONNECTION },
    { CRONQ_EUNSUPPORTED, CQ_CLI_CONNECTION },
    { CRONQ_ENOENT, CQ_CLI_NOT_FOUND },
    { CRONQ_EEXIST, CQ_CLI_CONFLICT },
    { CRONQ_EDUP, CQ_CLI_CONFLICT },
    { CRONQ_ESTATE, CQ_CLI_CONFLICT },
};

int cq_cli_exit_of(cronq_status status)
{
    for (size_t i = 0; i < sizeof exits / sizeof exits[0]; i++)
        if (exits[i].status == status)
            return exits[i].code;
    return CQ_CLI_RUNTIME;
}

/* The text may quote what is in the store, or what the store has said. */
static void complain(const cq_cli *cli, const char *status, const char *text)
{
    cq_buf line;

    cq_buf_init(&line, 1 << 13);
    if (!cli->json) {
        cq_cli_clean(&line, cq_str_of(text));
        fprintf(stderr, "%s: %s\n", cli->path, cq_buf_text(&line));
        cq_buf_release(&line);
        return;
    }
    cq_json_open(&line, '{');
    cq_json_key(&line, "error");
    cq_json_open(&line, '{');
    cq_json_key_text(&line, "status", status);
    cq_json_key_text(&line, "text", text);
    cq_json_close(&line, '}');
    cq_json_close(&line, '}');
    fprintf(stderr, "%s\n", cq_buf_text(&line) ? cq_buf_text(&line) : "{}");
    cq_buf_release(&line);
}

int cq_cli_report(const cq_cli *cli, const cronq_error *err)
{
    complain(cli, cronq_status_name(err->code), err->text);
    return cq_cli_exit_of(err->code);
}

/* What has no status of the library, by exit code. */
static const char *const names[] = {
    [CQ_CLI_RUNTIME] = "RUNTIME",     [CQ_CLI_USAGE] = "USAGE",
    [CQ_CLI_CONFIG] = "CONFIG",       [CQ_CLI_CONNECTION] = "CONNECTION",
    [CQ_CLI_NOT_FOUND] = "NOT_FOUND", [CQ_CLI_CONFLICT] = "CONFLICT",
};

int cq_cli_fail(const cq_cli *cli, int code, const char *format, ...)
{
    cronq_error err;
    va_list args;

    va_start(args, format);
    cq_vfail(&err, CRONQ_EINVAL, format, args);
    va_end(args);
    complain(cli, names[code], err.text);
    return code;
}

int cq_cli_misuse(const cq_cli *cli, const char *format, ...)
{
    cq_buf usage;
    cronq_error err;
    va_list args;

    va_start(args, format);
    cq_vfail(&err, CRONQ_EINVAL, format, args);
    va_end(args);
    complain(cli, names[CQ_CLI_USAGE], err.text);
    if (cli->json)
        return CQ_CLI_USAGE;
    cq_buf_init(&usage, 1 << 12);
    cq_cli_usage(cli, &usage);
    cq_buf_printf(&usage, "try: %s --help\n", cli->path);
    fputs(cq_buf_text(&usage) ? cq_buf_text(&usage) : "", stderr);
    cq_buf_release(&usage);
    return CQ_CLI_USAGE;
}

static void say_lost(int errnum)
{
    if (errnum != EPIPE && errnum != 0)
        fprintf(stderr, "cronq: cannot write to stdout: %s\n", strerror(errnum));
}

int cq_cli_print(const cq_cli *cli, cq_buf *text)
{
    cronq_status status = text->status;

    if (status) {
        cq_buf_release(text);
        return cq_cli_fail(cli, CQ_CLI_RUNTIME, "cannot print: %s",
                           cronq_status_text(status));
    }
    errno = 0;
    fwrite(text->data, 1, text->len, stdout);
    if (text->len == 0 || text->data[text->len - 1] != '\n')
        putchar('\n');
    cq_buf_release(text);
    if (!ferror(stdout))
        return CQ_CLI_OK;
    say_lost(errno); /* known only now; the rest must not be tried, and said, again */
    __fpurge(stdout);
    return CQ_CLI_RUNTIME;
}

int cq_cli_finish(int code)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    say_lost(errno);
    return CQ_CLI_RUNTIME;
}
