/* SPDX-License-Identifier: MIT */
/* command_run.c - one attempt of a task that runs a command. */
#include "base/error.h"
#include "handlers/command.h"
#include "handlers/template.h"

#include <limits.h>
#include <stdio.h>

#define ARENA_LIMIT_BYTES ((size_t)4 << 20)
#define OWN_VARIABLES     6
#define TRACE_BYTES       128

/* Without a tracer it is a header, anybody's text: only what can be a traceparent is
 * passed on. */
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
    const char *trace = cronq_attempt_traceparent(attempt);
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
        if (own[i].value &&
            !(env[count++] = cq_command_variable(arena, own[i].name, own[i].value)))
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
                          result->output.limit);
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
        return cronq_attempt_fail(attempt, "the process that kept it was killed");
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

/* Nothing of it runs any more, so its group can go. */
static void remove_cgroup(cronq_attempt *attempt, const char *path)
{
    if (!cq_cgroup_remove(path))
        cronq_attempt_log(attempt, CRONQ_LOG_WARN, "the cgroup %s is left behind", path);
}

static cronq_status run_prepared(cronq_attempt *attempt, const cronq_command *command,
                                 cq_process_request *request)
{
    char cgroup[CQ_CGROUP_PATH_BYTES] = "";
    cq_process_result result;
    cronq_error err = { 0 };
    cronq_status status = CRONQ_OK;

    if (command->cgroup.base)
        status = cq_cgroup_make(&command->cgroup, command->cgroup_memory_bytes,
                                command->cgroup_processes, cgroup, &err);
    request->cgroup = !status && *cgroup ? cgroup : NULL;
    if (!status)
        status = cq_process_run(request, &result, &err);
    if (request->cgroup)
        remove_cgroup(attempt, cgroup);
    if (status)
        return cronq_attempt_fail(attempt, "%s", err.text);
    if (result.has_survivors)
        cronq_attempt_log(attempt, CRONQ_LOG_ERROR,
                          "something that the command started could not be killed");
    status = outcome(attempt, command, &result);
    cq_process_result_release(&result);
    return status;
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
                                   .limits = command->limits,
                                   .user = command->user,
                                   .output_bytes = command->output_bytes,
                                   .cancel_fd = cronq_attempt_cancel_fd(attempt),
                                   .is_cancelled = ask_cancelled,
                                   .arg = attempt,
                                   .timeout_ms = command->timeout_ms,
                                   .grace_ms = command->grace_ms };
    cronq_error err = { 0 };
    cronq_status status = CRONQ_OK;

    if (!request.env)
        return cronq_attempt_fail(attempt, "out of memory");
    if (command->has_placeholders)
        status = cq_template_fill(command->argv, command->is_shell, attempt, arena,
                                  &request.argv, &err);
    if (status == CRONQ_EINVAL)
        return cronq_attempt_skip_retry(attempt, "%s", err.text);
    if (status)
        return cronq_attempt_fail(attempt, "%s", err.text);
    if (command->is_shell)
        snprintf(path, sizeof path, "/bin/sh");
    else if (cq_process_find(command->argv[0], command->search_path, path, sizeof path,
                             &err))
        return cronq_attempt_fail(attempt, "%s", err.text);
    return run_prepared(attempt, command, &request);
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
