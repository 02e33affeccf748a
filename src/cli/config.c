/* SPDX-License-Identifier: MIT */
/* cli/config.c - cronq config check: say everything that is wrong with a file. */
#include "base/json.h"
#include "cli/cli.h"
#include "cli/load.h"

#include <string.h>

static void print_list(cq_buf *out, const char *key, const cronq_config *config,
                       size_t count, const char *(*at)(const cronq_config *, size_t))
{
    cq_json_key(out, key);
    cq_json_open(out, '[');
    for (size_t i = 0; i < count; i++)
        cq_json_string(out, cq_str_of(at(config, i)));
    cq_json_close(out, ']');
}

static int print_json(const cq_cli *cli, const cronq_config *config)
{
    size_t errors = cronq_config_error_count(config);
    cq_buf out;
    int code;

    cq_buf_init(&out, (size_t)1 << 26);
    cq_json_open(&out, '{');
    cq_json_key_bool(&out, "ok", errors == 0);
    print_list(&out, "errors", config, errors, cronq_config_error_at);
    print_list(&out, "warnings", config, cronq_config_warning_count(config),
               cronq_config_warning_at);
    cq_json_close(&out, '}');
    code = cq_cli_print(cli, &out);
    return code || errors == 0 ? code : CQ_CLI_CONFIG;
}

static int print_text(const cq_cli *cli, const char *path)
{
    cq_buf out;

    cq_buf_init(&out, 1 << 14);
    cq_buf_printf(&out, "%.4096s: ok", path);
    return cq_cli_print(cli, &out);
}

static int run(cq_cli *cli)
{
    cronq_config *config = NULL;
    cronq_error err;
    cronq_status status;
    int code;

    if (cronq_config_new(&config, &err))
        return cq_cli_report(cli, &err);
    status = cronq_config_load(config, cli->args[0], &err);
    if (cli->json && (!status || cronq_config_error_count(config)))
        code = print_json(cli, config);
    else
        code = cq_cli_config_verdict(cli, config, status, &err);
    if (!code && !cli->json)
        code = print_text(cli, cli->args[0]);
    cronq_config_free(config);
    return code;
}

static const cq_cli_command check_verb = {
    .name = "check",
    .summary = "Say everything that is wrong with a configuration file",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .details = "Exit code 3 when something is.",
    .run = run,
};
static void key_json(const cronq_config_key *key, cq_buf *out)
{
    cq_json_open(out, '{');
    cq_json_key_text(out, "key", key->path);
    cq_json_key_text(out, "type", key->type);
    cq_json_key_text(out, "range", key->range);
    cq_json_key_text(out, "default", key->default_text);
    cq_json_key_text(out, "doc", key->doc);
    cq_json_close(out, '}');
}

static void key_text(const cronq_config_key *key, cq_buf *out)
{
    bool required = strcmp(key->default_text, "required") == 0;

    cq_buf_printf(out, "%s (%s", key->path, key->type);
    if (*key->range)
        cq_buf_printf(out, " %s", key->range);
    if (*key->default_text)
        cq_buf_printf(out, "; %s%s", required ? "" : "default ", key->default_text);
    cq_buf_printf(out, ")\n    %s\n", key->doc);
}

static int run_keys(cq_cli *cli)
{
    cronq_config_key key = { 0 };
    cq_buf out;

    cq_buf_init(&out, 1 << 20);
    if (cli->json)
        cq_json_open(&out, '[');
    for (size_t i = 0; cronq_config_key_at(i, &key); i++)
        (cli->json ? key_json : key_text)(&key, &out);
    if (cli->json)
        cq_json_close(&out, ']');
    return cq_cli_print(cli, &out);
}

static const cq_cli_command keys_verb = {
    .name = "keys",
    .summary = "List the keys that a configuration file may have",
    .run = run_keys,
};
static const cq_cli_command *const verbs[] = { &check_verb, &keys_verb, NULL };

const cq_cli_command cq_cli_config = {
    .name = "config",
    .summary = "Look at a configuration file",
    .verbs = verbs,
};
