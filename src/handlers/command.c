/* SPDX-License-Identifier: MIT */
/* command.c - tasks that run a command.
 *
 * Invariants: a cronq_command does not change after its creation; everything in it is in
 * its arena. env is complete but for what an attempt adds. */
#include <cronq/handlers.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/options.h"
#include "handlers/process.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_LIMIT_BYTES ((size_t)4 << 20)
#define GRACE_MS          2000
#define MAX_TIME_MS       ((int64_t)315360000 * 1000)
#define MAX_TEXTS         1000 /* of argv and env */
#define OWN_VARIABLES     6
#define STANDARD_PATH     "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define TRACE_BYTES       128

struct cronq_command {
    cq_arena arena;
    const char *const *argv;
    const char *const *env;
    size_t env_count;
    const char *search_path; /* PATH of env */
    const char *dir;
    int64_t timeout_ms, grace_ms;
};

static const char *const inherited[] = { "PATH", "HOME", "LANG", "TZ", "LC_ALL" };

static size_t count_texts(const char *const *texts)
{
    size_t count = 0;

    while (texts && texts[count])
        count++;
    return count;
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
    if (options->timeout_ms < 0 || options->timeout_ms > MAX_TIME_MS)
        return cq_fail(err, CRONQ_EINVAL, "command: timeout_ms %lld is not 0 to %lld",
                       (long long)options->timeout_ms, (long long)MAX_TIME_MS);
    if (options->kill_grace_ms < 0 || options->kill_grace_ms > MAX_TIME_MS)
        return cq_fail(err, CRONQ_EINVAL, "command: kill_grace_ms %lld is not 0 to %lld",
                       (long long)options->kill_grace_ms, (long long)MAX_TIME_MS);
    return CRONQ_OK;
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

/* A text of the arena, formatted; NULL when out of memory. */
static const char *variable(cq_arena *arena, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 2;
    char *text = cq_arena_alloc(arena, size);

    if (text)
        snprintf(text, size, "%s=%s", name, value);
    return text;
}

/* What is inherited, unless it is replaced, and then the options' own. */
static bool copy_env(cronq_command *command, const char *const *own)
{
    size_t inherited_count = sizeof inherited / sizeof inherited[0], count = 0;
    size_t own_count = count_texts(own);
    const char **env =
        cq_arena_calloc(&command->arena, inherited_count + own_count + 1, sizeof *env);

    if (!env)
        return false;
    for (size_t i = 0; i < inherited_count; i++) {
        const char *value = getenv(inherited[i]);

        if (!value && i == 0)
            value = STANDARD_PATH;
        if (value && !find_variable(own, own_count, inherited[i]) &&
            !(env[count++] = variable(&command->arena, inherited[i], value)))
            return false;
    }
    for (size_t i = 0; i < own_count; i++)
        if (!(env[count++] = copy_text(&command->arena, own[i])))
            return false;
    command->env = env;
    command->env_count = count;
    command->search_path = find_variable(env, count, "PATH");
    return true;
}

static bool copy_options(cronq_command *command, const cronq_command_options *options)
{
    command->timeout_ms = options->timeout_ms;
    command->grace_ms = options->kill_grace_ms ? options->kill_grace_ms : GRACE_MS;
    command->argv = copy_texts(&command->arena, options->argv);
    if (options->dir && *options->dir) {
        command->dir = copy_text(&command->arena, options->dir);
        if (!command->dir)
            return false;
    }
    return command->argv && copy_env(command, options->env);
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
    if (!copy_options(command, &own)) {
        cronq_command_free(command);
        return cq_fail_nomem(err);
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

/* A header is anybody's text: only what can be a traceparent is passed on. */
static bool is_trace(const char *text)
{
    size_t len = text ? strspn(text, "0123456789abcdef-") : 0;

    return len > 0 && len < TRACE_BYTES && text[len] == '\0';
}

/* The command's environment and what this attempt adds, which wins; NULL: no memory. */
static const char *const *attempt_env(const cronq_command *command,
                                      const cronq_attempt *attempt, cq_arena *arena)
{
    size_t count = command->env_count;
    const char **env = cq_arena_calloc(arena, count + OWN_VARIABLES + 1, sizeof *env);
    const char *trace = cronq_attempt_header(attempt, "traceparent");
    char retry[16], max_retry[16];
    const struct {
        const char *name, *value;
    } own[OWN_VARIABLES] = {
        { "CRONQ_TASK_ID", cronq_attempt_task_id(attempt) },
        { "CRONQ_QUEUE", cronq_attempt_queue(attempt) },
        { "CRONQ_TYPE", cronq_attempt_type(attempt) },
        { "CRONQ_RETRY", retry },
        { "CRONQ_MAX_RETRY", max_retry },
        { "TRACEPARENT", is_trace(trace) ? trace : NULL },
    };

    if (!env)
        return NULL;
    snprintf(retry, sizeof retry, "%d", (int)cronq_attempt_retry_count(attempt));
    snprintf(max_retry, sizeof max_retry, "%d", (int)cronq_attempt_max_retry(attempt));
    memcpy(env, command->env, count * sizeof *env);
    for (size_t i = 0; i < OWN_VARIABLES; i++)
        if (own[i].value && !(env[count++] = variable(arena, own[i].name, own[i].value)))
            return NULL;
    return env;
}

/* The work is done: a result that can not be kept is no reason to do it again. */
static cronq_status succeed(cronq_attempt *attempt, const cq_process_result *result)
{
    cronq_bytes output = { result->output.data, result->output.len };
    cronq_error err = { 0 };

    if (result->output_is_cut)
        cronq_attempt_log(attempt, CRONQ_LOG_WARN,
                          "the command wrote more than %zu bytes: its result is cut",
                          CQ_PROCESS_OUTPUT_BYTES);
    if (output.len > 0 && cronq_attempt_write_result(attempt, output, &err) != CRONQ_OK)
        cronq_attempt_log(attempt, CRONQ_LOG_WARN, "the result could not be kept: %s",
                          err.text);
    return CRONQ_OK;
}

static cronq_status fail_exit(cronq_attempt *attempt, const cq_process_result *result)
{
    const char *line = result->error_line;
    char standard[40];

    if (!*line) {
        snprintf(standard, sizeof standard, "exit status %d", result->code);
        line = standard;
    }
    if (result->code == CRONQ_COMMAND_SKIP_RETRY)
        return cronq_attempt_skip_retry(attempt, "%s", line);
    if (result->code == CRONQ_COMMAND_RETRY_LATER)
        return cronq_attempt_retry_in(attempt, CRONQ_OWN_DELAY, false, "%s", line);
    return cronq_attempt_fail(attempt, "%s", line);
}

static cronq_status outcome(cronq_attempt *attempt, const cronq_command *command,
                            const cq_process_result *result)
{
    const char *name = result->signal ? sigabbrev_np(result->signal) : NULL;

    if (result->end == CQ_PROCESS_EXITED && result->code == 0)
        return succeed(attempt, result);
    if (result->stop == CQ_PROCESS_CANCELLED) {
        cronq_status why = cronq_attempt_cancel_reason(attempt);

        return why ? why : CRONQ_ECANCELED;
    }
    if (result->stop == CQ_PROCESS_TIMED_OUT)
        return cronq_attempt_fail(attempt, "stopped: it took longer than %lld ms",
                                  (long long)command->timeout_ms);
    if (result->end == CQ_PROCESS_LOST)
        return cronq_attempt_fail(attempt, "its exit status was taken by this process: "
                                           "SIGCHLD must not be ignored");
    if (result->end == CQ_PROCESS_SIGNALED && name)
        return cronq_attempt_fail(attempt, "signal: SIG%s", name);
    if (result->end == CQ_PROCESS_SIGNALED)
        return cronq_attempt_fail(attempt, "signal: %d", result->signal);
    return fail_exit(attempt, result);
}

static bool ask_cancelled(void *arg)
{
    return cronq_attempt_cancelled(arg);
}

static cronq_status run_attempt(cronq_attempt *attempt, const cronq_command *command,
                                cq_arena *arena)
{
    char path[PATH_MAX];
    cq_process_request request = { .path = path,
                                   .argv = command->argv,
                                   .env = attempt_env(command, attempt, arena),
                                   .dir = command->dir,
                                   .input = cronq_attempt_payload(attempt),
                                   .cancel_fd = cronq_attempt_cancel_fd(attempt),
                                   .is_cancelled = ask_cancelled,
                                   .arg = attempt,
                                   .timeout_ms = command->timeout_ms,
                                   .grace_ms = command->grace_ms };
    cq_process_result result;
    cronq_error err = { 0 };
    cronq_status status;

    if (!request.env)
        return cronq_attempt_fail(attempt, "out of memory");
    if (cq_process_find(command->argv[0], command->search_path, path, sizeof path,
                        &err) ||
        cq_process_run(&request, &result, &err))
        return cronq_attempt_fail(attempt, "%s", err.text);
    status = outcome(attempt, command, &result);
    cq_process_result_release(&result);
    return status;
}

cronq_status cronq_command_handle(cronq_attempt *attempt, void *command)
{
    cq_arena arena;
    cronq_status status;

    cq_arena_init(&arena, ARENA_LIMIT_BYTES);
    status = run_attempt(attempt, command, &arena);
    cq_arena_release(&arena);
    return status;
}
