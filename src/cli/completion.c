/* SPDX-License-Identifier: MIT */
/* cli/completion.c - cronq completion: a script for the shell, made from the tables. */
#include "base/quote.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

/* Visits every command with the path to it: "" for the root, "cron next". */
typedef void visitor(const cq_cli_command *command, const char *path, cq_buf *out);

static void walk(const cq_cli_command *command, const char *path, visitor *visit,
                 cq_buf *out)
{
    const cq_cli_command *const *verb = command->verbs;

    visit(command, path, out);
    for (; verb && *verb; verb++) {
        cq_buf deeper;

        if ((*verb)->hidden)
            continue;
        cq_buf_init(&deeper, 256);
        cq_buf_printf(&deeper, "%s%s%s", path, *path ? " " : "", (*verb)->name);
        if (cq_buf_text(&deeper))
            walk(*verb, cq_buf_text(&deeper), visit, out);
        cq_buf_release(&deeper);
    }
}

/* "this|that" as words. */
static void choices(const char *text, cq_buf *out)
{
    for (; *text; text++)
        cq_buf_append_char(out, *text == '|' ? ' ' : *text);
}

/* Shell: what may follow an option that has a value; nothing where we can not know. */
static void option_case(const cq_cli_option *option, const char *path, cq_buf *out)
{
    cq_buf_printf(out, "    %s:--%s", path, option->name);
    if (option->letter)
        cq_buf_printf(out, "|%s:-%c", path, option->letter);
    cq_buf_append_text(out, ") ");
    if (option->type == CQ_CLI_FILE)
        cq_buf_append_text(out, "COMPREPLY=($(compgen -f -- \"$cur\")); ");
    if (option->type == CQ_CLI_CHOICE) {
        cq_buf_append_text(out, "COMPREPLY=($(compgen -W '");
        choices(option->arg, out);
        cq_buf_append_text(out, "' -- \"$cur\")); ");
    }
    cq_buf_append_text(out, "return ;;\n");
}

static void option_cases(const cq_cli_command *command, const char *path, cq_buf *out)
{
    const cq_cli_option *option = command->options;
    char quoted[80];

    snprintf(quoted, sizeof quoted, "'%s'", path);
    for (; option && option->name; option++)
        if (option->type != CQ_CLI_FLAG)
            option_case(option, quoted, out);
}

static void option_words(const cq_cli_option *option, cq_buf *out)
{
    for (; option && option->name; option++)
        cq_buf_printf(out, " --%s", option->name);
}

/* Shell: from the path so far and one more word to the longer path. */
static void path_case(const cq_cli_command *command, const char *path, cq_buf *out)
{
    const cq_cli_command *const *verb = command->verbs;

    for (; verb && *verb; verb++)
        if (!(*verb)->hidden)
            cq_buf_printf(out, "        '%s:%s') verb='%s%s%s' ;;\n", path, (*verb)->name,
                          path, *path ? " " : "", (*verb)->name);
}

/* Shell: what may follow the path. */
static void words_case(const cq_cli_command *command, const char *path, cq_buf *out)
{
    const cq_cli_command *const *verb = command->verbs;

    cq_buf_printf(out, "    '%s') words='", path);
    for (; verb && *verb; verb++)
        if (!(*verb)->hidden)
            cq_buf_printf(out, " %s", (*verb)->name);
    if (command->args &&
        strspn(command->args, "abcdefghijklmnopqrstuvwxyz|") == strlen(command->args)) {
        cq_buf_append_char(out, ' ');
        choices(command->args, out);
    }
    option_words(command->options, out);
    option_words(cq_cli_globals, out);
    cq_buf_append_text(out, "' ;;\n");
}

/* One body serves both shells: zsh runs it through its own emulation of bash. There path
 * would be the search path, in any scope. */
static void script(const cq_cli *cli, cq_buf *out)
{
    cq_buf_append_text(out,
                       "_cronq() {\n"
                       "    local cur=${COMP_WORDS[COMP_CWORD]} verb='' words='' i\n"
                       "    local prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                       "    COMPREPLY=()\n"
                       "    if [[ $cur == '=' ]]; then\n" /* bash: a word of its own */
                       "        cur=''\n"
                       "    elif [[ $prev == '=' ]]; then\n"
                       "        prev=${COMP_WORDS[COMP_CWORD-2]}\n"
                       "    fi\n"
                       "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                       "        case \"$verb:${COMP_WORDS[i]}\" in\n");
    walk(cli->root, "", path_case, out);
    cq_buf_append_text(out, "        esac\n"
                            "    done\n"
                            "    case \"$verb:$prev\" in\n");
    walk(cli->root, "", option_cases, out);
    for (const cq_cli_option *option = cq_cli_globals; option->name; option++)
        if (option->type != CQ_CLI_FLAG)
            option_case(option, "*", out);
    cq_buf_append_text(out, "    esac\n"
                            "    case $verb in\n");
    walk(cli->root, "", words_case, out);
    cq_buf_append_text(out, "    esac\n"
                            "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                            "}\n"
                            "complete -F _cronq -o default cronq\n");
}

static int run(cq_cli *cli)
{
    bool zsh = strcmp(cli->args[0], "zsh") == 0;
    char room[CQ_QUOTED_ROOM];
    cq_buf out;

    if (!zsh && strcmp(cli->args[0], "bash") != 0)
        return cq_cli_misuse(cli, "no completion for %s: bash, zsh",
                             cq_quoted(cq_str_of(cli->args[0]), room));
    cq_buf_init(&out, 1 << 16);
    if (zsh)
        cq_buf_append_text(&out, "#compdef cronq\n"
                                 "autoload -U +X bashcompinit && bashcompinit\n");
    script(cli, &out);
    if (zsh) /* loaded from fpath, this is already the first completion */
        cq_buf_append_text(&out, "[[ $funcstack[1] != _cronq ]] ||\n"
                                 "    _bash_complete -o default -F _cronq\n");
    return cq_cli_print(cli, &out);
}

const cq_cli_command cq_cli_completion = {
    .name = "completion",
    .summary = "Print a completion script for a shell",
    .args = "bash|zsh",
    .min_args = 1,
    .max_args = 1,
    .details = "In ~/.bashrc: source <(cronq completion bash)",
    .run = run,
};
