/* SPDX-License-Identifier: MIT */
/* cli/man.c - cronq man: the manual page, made from the tables. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* Text of a line in roff: backslashes and hyphens are special, and so is a leading dot.
 */
static void escape(cq_buf *out, const char *text)
{
    bool line_start = true;

    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            cq_buf_append_text(out, "\\&");
        if (*text == '\\')
            cq_buf_append_text(out, "\\e");
        else if (*text == '-')
            cq_buf_append_text(out, "\\-");
        else
            cq_buf_append_char(out, *text);
        line_start = *text == '\n';
    }
}

static void options(const cq_cli_option *option, cq_buf *out)
{
    for (; option && option->name; option++) {
        cq_buf label;

        cq_buf_init(&label, 256);
        cq_cli_option_label(option, &label);
        cq_buf_append_text(out, ".TP\n.B ");
        escape(out, cq_buf_text(&label) ? cq_buf_text(&label) : "");
        cq_buf_append_char(out, '\n');
        escape(out, option->help);
        if (option->preset) {
            cq_buf_append_text(out, " (default: ");
            escape(out, option->preset);
            cq_buf_append_char(out, ')');
        }
        cq_buf_append_char(out, '\n');
        cq_buf_release(&label);
    }
}

static void command(const cq_cli_command *verb, const char *prefix, cq_buf *out)
{
    char path[64];

    snprintf(path, sizeof path, "%s %s", prefix, verb->name);
    if (verb->hidden)
        return;
    for (const cq_cli_command *const *next = verb->verbs; next && *next; next++)
        command(*next, path, out);
    if (!verb->run)
        return;
    cq_buf_append_text(out, ".SS ");
    escape(out, path);
    if (verb->args) {
        cq_buf_append_char(out, ' ');
        escape(out, verb->args);
    }
    cq_buf_append_char(out, '\n');
    escape(out, verb->summary);
    cq_buf_append_text(out, ".\n");
    options(verb->options, out);
    if (verb->details) {
        cq_buf_append_text(out, ".PP\n.nf\n");
        escape(out, verb->details);
        cq_buf_append_text(out, "\n.fi\n");
    }
}

static int run(cq_cli *cli)
{
    cq_buf out;

    cq_buf_init(&out, 1 << 18);
    cq_buf_printf(&out, ".TH CRONQ 1 \"\" \"cronq %s\"\n.SH NAME\ncronq \\- ",
                  cronq_version_string());
    escape(&out, cli->root->summary);
    cq_buf_append_text(&out, "\n.SH SYNOPSIS\n.B cronq\nCOMMAND [OPTION]... "
                             "[ARGUMENT]...\n.SH OPTIONS\n");
    options(cq_cli_globals, &out);
    cq_buf_append_text(&out, ".SH COMMANDS\n");
    for (const cq_cli_command *const *verb = cli->root->verbs; *verb; verb++)
        command(*verb, "cronq", &out);
    cq_buf_append_text(&out, ".SH ENVIRONMENT\n.TP\n.B CRONQ_URI\n"
                             "The store when \\-u is not given.\n"
                             ".TP\n.B NO_COLOR\nWhen not empty: no colours.\n"
                             ".SH EXIT STATUS\n");
    escape(&out, cli->root->details);
    cq_buf_append_char(&out, '\n');
    return cq_cli_print(cli, &out);
}

const cq_cli_command cq_cli_man = {
    .name = "man",
    .summary = "Print the manual page",
    .run = run,
    .hidden = true,
};
