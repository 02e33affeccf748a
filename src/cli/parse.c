/* SPDX-License-Identifier: MIT */
/* cli/parse.c - from argv to a command, its options and its arguments.
 *
 * Options may stand anywhere, before and behind what they belong to; "--" ends them. Each
 * value is checked and converted by the type of its row before the command runs. */
#include "base/duration.h"
#include "base/quote.h"
#include "base/rfc3339.h"
#include "base/state.h"
#include "base/utf8.h"
#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The rest of the command line, and whether "--" was seen. */
typedef struct cursor {
    int argc, next;
    char **argv;
    bool only_args;
} cursor;

const cq_cli_command *cq_cli_find(const cq_cli_command *parent, const char *name)
{
    const cq_cli_command *const *verb = parent->verbs;

    for (; verb && *verb; verb++)
        if (strcmp((*verb)->name, name) == 0)
            return *verb;
    return NULL;
}

void cq_cli_enter(cq_cli *cli, const cq_cli_command *verb)
{
    size_t len = strlen(cli->path);

    assert(len + 1 + strlen(verb->name) < sizeof cli->path);
    cli->path[len] = ' ';
    strcpy(cli->path + len + 1, verb->name);
    cli->command = verb;
}

static const cq_cli_option *find_in(const cq_cli_option *table, cq_str name, char letter)
{
    for (; table && table->name; table++)
        if (letter ? table->letter == letter : cq_str_eq(cq_str_of(table->name), name))
            return table;
    return NULL;
}

static const cq_cli_option *find_option(const cq_cli *cli, cq_str name, char letter)
{
    const cq_cli_option *option = find_in(cli->command->options, name, letter);

    return option ? option : find_in(cq_cli_globals, name, letter);
}

static int refuse_number(const cq_cli *cli, const cq_cli_option *option, const char *text)
{
    char room[CQ_QUOTED_ROOM];

    text = cq_quoted(cq_str_of(text), room);
    if (option->max)
        return cq_cli_misuse(cli, "--%s: %s is not a number from %lld to %lld",
                             option->name, text, (long long)option->min,
                             (long long)option->max);
    return cq_cli_misuse(cli, "--%s: %s is not a number of at least %lld", option->name,
                         text, (long long)option->min);
}

static int convert_int(const cq_cli *cli, const cq_cli_option *option,
                       cq_cli_given *given)
{
    char *end;

    errno = 0;
    given->number = strtoll(given->text, &end, 10);
    if (errno || end == given->text || *end || given->number < option->min ||
        (option->max && given->number > option->max))
        return refuse_number(cli, option, given->text);
    return CQ_CLI_OK;
}

static int convert_duration(const cq_cli *cli, const cq_cli_option *option,
                            cq_cli_given *given)
{
    char room[CQ_QUOTED_ROOM];
    int64_t ns = 0;
    cronq_error err;

    if (cq_duration_parse(cq_str_of(given->text), &ns, &err))
        return cq_cli_misuse(cli, "--%s: %s", option->name, err.text);
    if (ns < 0)
        return cq_cli_misuse(cli, "--%s: %s is negative", option->name,
                             cq_quoted(cq_str_of(given->text), room));
    given->number = ns / 1000000 + (ns % 1000000 != 0);
    return CQ_CLI_OK;
}

static int convert_instant(const cq_cli *cli, const cq_cli_option *option,
                           cq_cli_given *given)
{
    int64_t seconds = 0;
    int32_t ns = 0;
    cronq_error err;

    if (cq_rfc3339_parse_s(cq_str_of(given->text), &seconds, &ns, &err))
        return cq_cli_misuse(cli, "--%s: %s", option->name, err.text);
    given->number = seconds * 1000 + (ns + 999999) / 1000000;
    return CQ_CLI_OK;
}

static int check_pair(const cq_cli *cli, const cq_cli_option *option, cq_cli_given *given)
{
    const char *equals = strchr(given->text, '=');
    char room[CQ_QUOTED_ROOM];

    if (!equals || equals == given->text)
        return cq_cli_misuse(cli, "--%s: %s is not of the form key=value", option->name,
                             cq_quoted(cq_str_of(given->text), room));
    return CQ_CLI_OK;
}

static int find_choice(const cq_cli *cli, const cq_cli_option *option,
                       cq_cli_given *given)
{
    size_t len = strlen(given->text);
    const char *word = option->arg;
    char room[CQ_QUOTED_ROOM];

    for (int64_t i = 0; *word; i++) {
        size_t size = strcspn(word, "|");

        if (size == len && memcmp(word, given->text, len) == 0) {
            given->number = i;
            return CQ_CLI_OK;
        }
        word += size + (word[size] == '|');
    }
    return cq_cli_misuse(cli, "--%s: %s is none of %s", option->name,
                         cq_quoted(cq_str_of(given->text), room), option->arg);
}

/* Without a row: the text is the value. */
static int (*const converters[])(const cq_cli *, const cq_cli_option *,
                                 cq_cli_given *) = {
    [CQ_CLI_INT] = convert_int,         [CQ_CLI_DURATION] = convert_duration,
    [CQ_CLI_INSTANT] = convert_instant, [CQ_CLI_PAIR] = check_pair,
    [CQ_CLI_CHOICE] = find_choice,
};

static int convert(const cq_cli *cli, const cq_cli_option *option, cq_cli_given *given)
{
    size_t type = (size_t)option->type;

    if (type >= sizeof converters / sizeof converters[0] || !converters[type])
        return CQ_CLI_OK;
    return converters[type](cli, option, given);
}

static int take(cq_cli *cli, const cq_cli_option *option, const char *text)
{
    size_t size = (cli->given_count + 1) * sizeof *cli->given;
    cq_cli_given *grown = realloc(cli->given, size);

    if (!grown)
        return cq_cli_fail(cli, CQ_CLI_RUNTIME, "out of memory");
    cli->given = grown;
    grown[cli->given_count] = (cq_cli_given){ option, text, 0 };
    return convert(cli, option, &grown[cli->given_count++]);
}

/* --name, --name=value, --name value. */
static int parse_long(cq_cli *cli, cursor *at, const char *arg)
{
    const char *equals = strchr(arg, '=');
    cq_str name = { arg + 2, equals ? (size_t)(equals - arg) - 2 : strlen(arg + 2) };
    const cq_cli_option *option = find_option(cli, name, 0);
    char room[CQ_QUOTED_ROOM];

    if (!option)
        return cq_cli_misuse(cli, "unknown option %s",
                             cq_quoted((cq_str){ arg, name.len + 2 }, room));
    if (option->type == CQ_CLI_FLAG && equals)
        return cq_cli_misuse(cli, "--%s takes no value", option->name);
    if (option->type == CQ_CLI_FLAG)
        return take(cli, option, "");
    if (equals)
        return take(cli, option, equals + 1);
    if (at->next == at->argc)
        return cq_cli_misuse(cli, "--%s needs a value: %s", option->name, option->arg);
    return take(cli, option, at->argv[at->next++]);
}

/* -x, -xy, -nVALUE, -n VALUE. */
static int parse_letters(cq_cli *cli, cursor *at, const char *arg)
{
    char room[CQ_QUOTED_ROOM];

    for (const char *letter = arg + 1; *letter; letter++) {
        const cq_cli_option *option = find_option(cli, CQ_STR(""), *letter);
        int code;

        if (!option)
            return cq_cli_misuse(cli, "unknown option in %s",
                                 cq_quoted(cq_str_of(arg), room));
        if (option->type != CQ_CLI_FLAG && letter[1])
            return take(cli, option, letter + 1);
        if (option->type != CQ_CLI_FLAG && at->next == at->argc)
            return cq_cli_misuse(cli, "-%c needs a value: %s", *letter, option->arg);
        if (option->type != CQ_CLI_FLAG)
            return take(cli, option, at->argv[at->next++]);
        code = take(cli, option, "");
        if (code)
            return code;
    }
    return CQ_CLI_OK;
}

static int parse_word(cq_cli *cli, const char *arg)
{
    const cq_cli_command *verb;
    char room[CQ_QUOTED_ROOM];

    if (!cli->command->verbs) {
        cli->args[cli->arg_count++] = arg;
        return CQ_CLI_OK;
    }
    verb = cq_cli_find(cli->command, arg);
    if (!verb && cli->command->run)
        return cq_cli_misuse(cli, "unexpected argument %s",
                             cq_quoted(cq_str_of(arg), room));
    if (!verb)
        return cq_cli_misuse(cli, "unknown command %s", cq_quoted(cq_str_of(arg), room));
    cq_cli_enter(cli, verb);
    return CQ_CLI_OK;
}

static int parse_one(cq_cli *cli, cursor *at)
{
    const char *arg = at->argv[at->next++];

    if (at->only_args || arg[0] != '-' || arg[1] == '\0')
        return parse_word(cli, arg);
    if (strcmp(arg, "--") == 0) {
        at->only_args = true;
        return CQ_CLI_OK;
    }
    return arg[1] == '-' ? parse_long(cli, at, arg) : parse_letters(cli, at, arg);
}

static int check_texts(const cq_cli *cli, int argc, char **argv)
{
    char room[CQ_QUOTED_ROOM];

    for (int i = 1; i < argc; i++)
        if (!cq_utf8_valid(argv[i], strlen(argv[i])))
            return cq_cli_misuse(cli, "argument %d is not UTF-8: %s", i,
                                 cq_quoted(cq_str_of(argv[i]), room));
    return CQ_CLI_OK;
}

static int check_arg_count(const cq_cli *cli)
{
    const cq_cli_command *command = cli->command;
    char room[CQ_QUOTED_ROOM];

    if (command->verbs && !command->run)
        return cq_cli_misuse(cli, "which command?");
    if (cli->arg_count < command->min_args)
        return cq_cli_misuse(cli, "an argument is missing");
    if (command->max_args >= 0 && cli->arg_count > command->max_args)
        return cq_cli_misuse(cli, "unexpected argument %s",
                             cq_quoted(cq_str_of(cli->args[command->max_args]), room));
    return CQ_CLI_OK;
}

static void read_globals(cq_cli *cli)
{
    const char *no_color = getenv("NO_COLOR");

    cli->json = cq_cli_has(cli, "json");
    cli->help = cq_cli_has(cli, "help");
    cli->color = !cli->json && !cq_cli_has(cli, "no-color") && !(no_color && *no_color) &&
                 isatty(STDOUT_FILENO);
    if (cq_cli_has(cli, "version")) {
        cli->command = &cq_cli_root;
        cli->path[strlen(cli->root->name)] = '\0';
        cli->arg_count = 0;
        cq_cli_enter(cli, &cq_cli_version);
    }
}

/* Left empty where there is no place for it. */
static void find_default_uri(cq_cli *cli)
{
    cq_buf buf;

    cq_buf_init(&buf, sizeof cli->default_uri - 1);
    if (cq_state_uri(&buf, NULL) == CRONQ_OK)
        memcpy(cli->default_uri, buf.data, buf.len);
    cq_buf_release(&buf);
}

int cq_cli_parse(cq_cli *cli, int argc, char **argv)
{
    cursor at = { .argc = argc, .next = 1, .argv = argv };
    int code;

    *cli = (cq_cli){ .root = &cq_cli_root, .command = &cq_cli_root, .path = "cronq" };
    find_default_uri(cli);
    cli->args = calloc((size_t)argc + 1, sizeof *cli->args);
    if (!cli->args)
        return cq_cli_fail(cli, CQ_CLI_RUNTIME, "out of memory");

    /* Known before the first fault is found, because faults are printed by it. */
    for (int i = 1; i < argc; i++)
        cli->json = cli->json || strcmp(argv[i], "--json") == 0;
    code = check_texts(cli, argc, argv);
    while (!code && at.next < argc)
        code = parse_one(cli, &at);
    if (code)
        return code;
    read_globals(cli);
    return cli->help ? CQ_CLI_OK : check_arg_count(cli);
}

void cq_cli_release(cq_cli *cli)
{
    free(cli->given);
    free(cli->args);
}

static const cq_cli_given *last_given(const cq_cli *cli, const cq_cli_option *option)
{
    for (size_t i = cli->given_count; i > 0; i--)
        if (cli->given[i - 1].option == option)
            return &cli->given[i - 1];
    return NULL;
}

/* A name that is in no table is a mistake of ours. */
static const cq_cli_option *known_option(const cq_cli *cli, const char *name)
{
    const cq_cli_option *option = find_option(cli, cq_str_of(name), 0);

    assert(option);
    return option;
}

bool cq_cli_has(const cq_cli *cli, const char *name)
{
    return last_given(cli, known_option(cli, name)) != NULL;
}

const char *cq_cli_text(const cq_cli *cli, const char *name)
{
    const cq_cli_option *option = known_option(cli, name);
    const cq_cli_given *given = last_given(cli, option);

    return given ? given->text : option->preset;
}

int64_t cq_cli_number(const cq_cli *cli, const char *name, int64_t otherwise)
{
    const cq_cli_option *option = known_option(cli, name);
    const cq_cli_given *given = last_given(cli, option);
    cq_cli_given preset = { option, option->preset, otherwise };

    if (given)
        return given->number;
    if (preset.text && convert(cli, option, &preset))
        return otherwise;
    return preset.number;
}

const char *cq_cli_nth(const cq_cli *cli, const char *name, size_t index)
{
    const cq_cli_option *option = known_option(cli, name);

    for (size_t i = 0; i < cli->given_count; i++)
        if (cli->given[i].option == option && index-- == 0)
            return cli->given[i].text;
    return NULL;
}

const char *cq_cli_uri(const cq_cli *cli)
{
    const char *uri = cq_cli_text(cli, "uri");

    if (!uri)
        uri = getenv("CRONQ_URI");
    return uri && *uri ? uri : NULL;
}

const char *cq_cli_prepare(const cq_cli *cli, const char *uri)
{
    cronq_error err;

    if (strcmp(uri, cli->default_uri) != 0 || !cq_state_make_folder(&err))
        return uri;
    cq_cli_report(cli, &err);
    return NULL;
}

const char *cq_cli_need_uri(const cq_cli *cli)
{
    const char *uri = cq_cli_uri(cli);

    if (!uri && !cq_cli_has(cli, "uri") && cli->default_uri[0])
        uri = cli->default_uri;
    if (uri)
        return cq_cli_prepare(cli, uri);
    cq_cli_misuse(cli, "no store is named: give -u URI or set CRONQ_URI");
    return NULL;
}
