/* SPDX-License-Identifier: MIT */
/* command.c - the options of a command, checked and kept. */
#include "handlers/command.h"

#include "base/error.h"
#include "base/options.h"
#include "handlers/account.h"
#include "handlers/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARENA_LIMIT_BYTES ((size_t)4 << 20)
#define GRACE_MS          2000
#define MAX_TIME_MS       ((int64_t)315360000 * 1000)
#define MAX_TEXTS         1000 /* of argv and env */
#define MAX_OUTPUT_BYTES  ((size_t)1 << 20)
#define MAX_BYTES         ((int64_t)1 << 50)
#define MAX_COUNT         1000000
#define OF_ACCOUNT        3 /* variables */
#define STANDARD_PATH     "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const inherited[] = { "PATH", "HOME", "LANG", "TZ", "LC_ALL" };

static size_t count_texts(const char *const *texts)
{
    size_t count = 0;

    while (texts && texts[count])
        count++;
    return count;
}

typedef struct range {
    const char *name;
    int64_t value, most;
} range;

static cronq_status check_numbers(const cronq_command_options *options, cronq_error *err)
{
    const range ranges[] = {
        { "timeout_ms", options->timeout_ms, MAX_TIME_MS },
        { "kill_grace_ms", options->kill_grace_ms, MAX_TIME_MS },
        { "memory_bytes", options->memory_bytes, MAX_BYTES },
        { "cpu_time_s", options->cpu_time_s, MAX_TIME_MS },
        { "file_bytes", options->file_bytes, MAX_BYTES },
        { "process_count", options->process_count, MAX_COUNT },
        { "open_file_count", options->open_file_count, MAX_COUNT },
        { "output_bytes",
          options->output_bytes > MAX_OUTPUT_BYTES ? INT64_MAX
                                                   : (int64_t)options->output_bytes,
          (int64_t)MAX_OUTPUT_BYTES },
    };

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (ranges[i].value < 0 || ranges[i].value > ranges[i].most)
            return cq_fail(err, CRONQ_EINVAL, "command: %s %lld is not 0 to %lld",
                           ranges[i].name, (long long)ranges[i].value,
                           (long long)ranges[i].most);
    return CRONQ_OK;
}

static cronq_status check_argv(const char *const *argv, bool *has_placeholders,
                               cronq_error *err)
{
    for (size_t i = 0; argv[i]; i++) {
        cronq_error why = { 0 };
        bool is_placeholder = false;
        cronq_status status = cq_template_check(argv[i], &is_placeholder, &why);

        if (!status && is_placeholder && i == 0)
            status = cq_fail(&why, CRONQ_EINVAL, "the program can not be a placeholder");
        if (status)
            return cq_fail(err, status, "command: argv[%zu]: %s", i, why.text);
        *has_placeholders |= is_placeholder;
    }
    return CRONQ_OK;
}

static cronq_status check(const cronq_command_options *options, cronq_error *err)
{
    size_t args = count_texts(options->argv), env = count_texts(options->env);

    if (args == 0 || !*options->argv[0])
        return cq_fail(err, CRONQ_EINVAL, "command: argv is empty");
    if (args > MAX_TEXTS || env > MAX_TEXTS)
        return cq_fail(err, CRONQ_EINVAL, "command: %s has %zu texts, at most %d",
                       args > MAX_TEXTS ? "argv" : "env", args > MAX_TEXTS ? args : env,
                       MAX_TEXTS);
    for (size_t i = 0; i < env; i++)
        if (!strchr(options->env[i], '=') || options->env[i][0] == '=')
            return cq_fail(err, CRONQ_EINVAL, "command: env[%zu] is not NAME=VALUE", i);
    return check_numbers(options, err);
}

static const char *copy_text(cq_arena *arena, const char *text)
{
    return cq_arena_dup(arena, text, strlen(text));
}

static const char *const *copy_texts(cq_arena *arena, const char *const *texts)
{
    size_t count = count_texts(texts);
    const char **copy = cq_arena_calloc(arena, count + 1, sizeof *copy);

    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = copy_text(arena, texts[i]);
        if (!copy[i])
            return NULL;
    }
    return copy;
}

/* The value of name in "NAME=VALUE" texts; the last one wins. */
static const char *find_variable(const char *const *env, size_t count, const char *name)
{
    size_t len = strlen(name);

    while (count-- > 0)
        if (strncmp(env[count], name, len) == 0 && env[count][len] == '=')
            return env[count] + len + 1;
    return NULL;
}

const char *cq_command_variable(cq_arena *arena, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 2;
    char *text = cq_arena_alloc(arena, size);

    if (text)
        snprintf(text, size, "%s=%s", name, value);
    return text;
}

/* argv, or for a shell: sh -c SCRIPT sh ARGUMENT… */
static const char *const *copy_argv(cq_arena *arena, const cronq_command_options *options)
{
    size_t count = count_texts(options->argv);
    const char **argv;

    if (!options->shell)
        return copy_texts(arena, options->argv);
    argv = cq_arena_calloc(arena, count + 4, sizeof *argv);
    if (!argv)
        return NULL;
    argv[0] = argv[3] = "sh";
    argv[1] = "-c";
    for (size_t i = 0; i < count; i++)
        if (!(argv[i == 0 ? 2 : i + 3] = copy_text(arena, options->argv[i])))
            return NULL;
    return argv;
}

/* What a variable of our own environment, or of the account, is to the command. */
static const char *inherit(const char *name, const cq_account *account)
{
    const char *value = getenv(name);

    if (account->user.is_set && strcmp(name, "HOME") == 0)
        return account->home;
    return value || strcmp(name, "PATH") != 0 ? value : STANDARD_PATH;
}

static bool add_variable(cronq_command *command, const char **env, const char *name,
                         const char *value)
{
    env[command->env_count] = cq_command_variable(&command->arena, name, value);
    return env[command->env_count++] != NULL;
}

/* What is inherited, unless it is replaced, and then the options' own. */
static bool copy_env(cronq_command *command, const cq_account *account,
                     const char *const *own)
{
    size_t inherited_count = sizeof inherited / sizeof inherited[0];
    size_t own_count = count_texts(own);
    const char **env = cq_arena_calloc(
        &command->arena, inherited_count + OF_ACCOUNT + own_count + 1, sizeof *env);

    if (!env)
        return false;
    for (size_t i = 0; i < inherited_count; i++) {
        const char *value = inherit(inherited[i], account);

        if (value && !find_variable(own, own_count, inherited[i]) &&
            !add_variable(command, env, inherited[i], value))
            return false;
    }
    if (account->user.is_set && account->name &&
        (!add_variable(command, env, "USER", account->name) ||
         !add_variable(command, env, "LOGNAME", account->name)))
        return false;
    for (size_t i = 0; i < own_count; i++)
        if (!(env[command->env_count++] = copy_text(&command->arena, own[i])))
            return false;
    command->env = env;
    command->search_path = find_variable(env, command->env_count, "PATH");
    return true;
}

/* What a cgroup limits for all processes together is not limited for each. */
static cronq_status take_limits(cronq_command *command,
                                const cronq_command_options *options, cronq_error *err)
{
    const cq_cgroup *cgroup = &command->cgroup;

    command->limits = (cq_process_limits){
        .memory_bytes = cgroup->has_memory ? 0 : options->memory_bytes,
        .cpu_s = options->cpu_time_s,
        .file_bytes = options->file_bytes,
        .processes = cgroup->has_pids ? 0 : options->process_count,
        .open_files = options->open_file_count,
    };
    command->cgroup_memory_bytes = cgroup->has_memory ? options->memory_bytes : 0;
    command->cgroup_processes = cgroup->has_pids ? options->process_count : 0;
    if (command->limits.processes > 0 &&
        (command->user.is_set ? command->user.uid : geteuid()) == 0)
        return cq_fail(err, CRONQ_EINVAL,
                       "command: process_count does not hold for root without a cgroup "
                       "that limits pids: give the command a user");
    return CRONQ_OK;
}

static cronq_status take_texts(cronq_command *command, const cq_account *account,
                               const cronq_command_options *options, cronq_error *err)
{
    cq_arena *arena = &command->arena;

    command->argv = copy_argv(arena, options);
    if (!command->argv || !copy_env(command, account, options->env))
        return cq_fail_nomem(err);
    if (options->dir && *options->dir && !(command->dir = copy_text(arena, options->dir)))
        return cq_fail_nomem(err);
    if (command->cgroup.base &&
        !(command->cgroup.base = copy_text(arena, options->cgroup)))
        return cq_fail_nomem(err);
    return CRONQ_OK;
}

static cronq_status take(cronq_command *command, const cronq_command_options *options,
                         cronq_error *err)
{
    cq_account account;
    cronq_error why = { 0 };
    cronq_status status;

    command->is_shell = options->shell;
    command->timeout_ms = options->timeout_ms;
    command->grace_ms = options->kill_grace_ms ? options->kill_grace_ms : GRACE_MS;
    command->output_bytes = options->output_bytes;
    status = check_argv(options->argv, &command->has_placeholders, err);
    if (status)
        return status;
    status =
        cq_account_find(options->user, options->group, &command->arena, &account, &why);
    if (!status && options->cgroup && *options->cgroup)
        status = cq_cgroup_check(options->cgroup, &command->cgroup, &why);
    if (status)
        return cq_fail(err, status, "command: %s", why.text);
    command->user = account.user;
    status = take_limits(command, options, err);
    return status ? status : take_texts(command, &account, options, err);
}

cronq_status cronq_command_new(const cronq_command_options *options, cronq_command **out,
                               cronq_error *err)
{
    cronq_command_options own;
    cronq_command *command;
    cronq_status status =
        cq_options_copy(&own, sizeof own, options, "cronq_command_options", err);

    if (status == CRONQ_OK)
        status = check(&own, err);
    if (status != CRONQ_OK)
        return status;
    command = calloc(1, sizeof *command);
    if (!command)
        return cq_fail_nomem(err);
    cq_arena_init(&command->arena, ARENA_LIMIT_BYTES);
    status = take(command, &own, err);
    if (status) {
        cronq_command_free(command);
        return status;
    }
    *out = command;
    return CRONQ_OK;
}

void cronq_command_free(cronq_command *command)
{
    if (!command)
        return;
    cq_arena_release(&command->arena);
    free(command);
}
