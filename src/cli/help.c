/* SPDX-License-Identifier: MIT */
/* cli/help.c - usage and help from the tables, and cronq help. */
#include "base/quote.h"
#include "cli/cli.h"

#include <string.h>

enum { label_width = 26 };

void cq_cli_usage(const cq_cli *cli, cq_buf *out)
{
    const cq_cli_command *command = cli->command;

    cq_buf_printf(out, "usage: %s", cli->path);
    if (command->options)
        cq_buf_append_text(out, " [OPTION]...");
    if (command->verbs && !command->run)
        cq_buf_append_text(out, " COMMAND ...");
    if (command->args)
        cq_buf_printf(out, " %s", command->args);
    cq_buf_append_char(out, '\n');
    if (command->verbs && command->run)
        cq_buf_printf(out, "       %s COMMAND ...\n", cli->path);
}

void cq_cli_option_label(const cq_cli_option *option, cq_buf *out)
{
    if (option->letter)
        cq_buf_printf(out, "-%c, ", option->letter);
    cq_buf_printf(out, "--%s", option->name);
    if (option->arg)
        cq_buf_printf(out, " %s", option->arg);
}

/* The text in its column, or on the next line when the label is too long. */
static void pad(cq_buf *out, size_t start)
{
    if (out->len - start >= label_width) {
        cq_buf_append_char(out, '\n');
        start = out->len;
    }
    while (!out->status && out->len - start < label_width)
        cq_buf_append_char(out, ' ');
}

static void list_options(const cq_cli_option *option, const char *title, cq_buf *out)
{
    if (!option)
        return;
    cq_buf_printf(out, "\n%s:\n", title);
    for (; option->name; option++) {
        size_t start = out->len;

        cq_buf_append_text(out, option->letter ? "  " : "      ");
        cq_cli_option_label(option, out);
        pad(out, start);
        cq_buf_append_text(out, option->help);
        if (option->preset)
            cq_buf_printf(out, " (default: %s)", option->preset);
        cq_buf_append_char(out, '\n');
    }
}

static void list_verbs(const cq_cli_command *const *verb, cq_buf *out)
{
    if (!verb)
        return;
    cq_buf_append_text(out, "\ncommands:\n");
    for (; *verb; verb++) {
        size_t start = out->len;

        if ((*verb)->hidden)
            continue;
        cq_buf_printf(out, "  %s", (*verb)->name);
        pad(out, start);
        cq_buf_printf(out, "%s\n", (*verb)->summary);
    }
}

void cq_cli_help(const cq_cli *cli, cq_buf *out)
{
    const cq_cli_command *command = cli->command;

    cq_cli_usage(cli, out);
    cq_buf_printf(out, "\n%s.\n", command->summary);
    list_verbs(command->verbs, out);
    list_options(command->options, "options", out);
    list_options(cq_cli_globals, "global options", out);
    if (command->details)
        cq_buf_printf(out, "\n%s\n", command->details);
}

static int run(cq_cli *cli)
{
    cq_cli other = { .root = cli->root, .command = cli->root, .path = "cronq" };
    char room[CQ_QUOTED_ROOM];
    cq_buf out;

    for (int i = 0; i < cli->arg_count; i++) {
        const cq_cli_command *verb = cq_cli_find(other.command, cli->args[i]);

        if (!verb)
            return cq_cli_misuse(&other, "unknown command %s",
                                 cq_quoted(cq_str_of(cli->args[i]), room));
        cq_cli_enter(&other, verb);
    }
    cq_buf_init(&out, 1 << 16);
    cq_cli_help(&other, &out);
    return cq_cli_print(cli, &out);
}

const cq_cli_command cq_cli_help_command = {
    .name = "help",
    .summary = "Print the help of a command",
    .args = "[COMMAND]...",
    .max_args = -1,
    .run = run,
};
