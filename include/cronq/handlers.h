/* SPDX-License-Identifier: MIT */
/* cronq/handlers.h - handlers that are ready to use: tasks that run a command, and
 * tasks that are an HTTP request.
 *
 * Part of libcronq-service. */
#ifndef CRONQ_HANDLERS_H
#define CRONQ_HANDLERS_H

#include "server.h"

CRONQ_BEGIN

/* Exit codes with a meaning of their own (the numbers of sysexits.h). */
#define CRONQ_COMMAND_SKIP_RETRY  65 /* archive the task at once */
#define CRONQ_COMMAND_RETRY_LATER 75 /* retry, uncounted the first 1,000 times */

typedef struct cronq_command_options {
    size_t struct_size;      /* set by CRONQ_COMMAND_OPTIONS() */
    const char *const *argv; /* required, NULL-terminated. No shell is involved; argv[0]
                                without a slash is looked for in PATH. Others may be
                                placeholders, see cronq_command_handle. */
    const char *dir;         /* where it runs; default: the directory of this process */
    const char *const *env;  /* "NAME=VALUE", NULL-terminated; may be NULL */
    int64_t timeout_ms;      /* stop it after this, whatever the task says; 0: none */
    int64_t kill_grace_ms;   /* between SIGTERM and SIGKILL; 0: 2,000 */
    bool shell;        /* argv[0] is a script of /bin/sh, the others are its $1, $2… */
    const char *user;  /* name or number, who runs it; another one needs root */
    const char *group; /* the same; default: that of user */
    int64_t memory_bytes;    /* limits; 0: those of this process */
    int64_t cpu_time_s;      /* of each process */
    int64_t file_bytes;      /* of each file that is written */
    int64_t process_count;   /* threads are counted too */
    int64_t open_file_count; /* of each process */
    size_t output_bytes;     /* kept as the result; 0: 65,536; at most 1 MiB */
    const char *cgroup;      /* directory of cgroup2 for a group each run; see below */
} cronq_command_options;

#define CRONQ_COMMAND_OPTIONS(...)                                                 \
    (&(const cronq_command_options){ .struct_size = sizeof(cronq_command_options), \
                                     __VA_ARGS__ })

/* A command to run for each attempt of a task. Does not change after its creation: any
 * number of threads may run it at once. */
typedef struct cronq_command cronq_command;

/* options are copied. PATH, HOME, LANG, TZ and LC_ALL of this process's environment are
 * read now. *out is the caller's. EINVAL for options that are wrong; that the program
 * exists is not looked at. */
cronq_status cronq_command_new(const cronq_command_options *options, cronq_command **out,
                               cronq_error *err) CRONQ_CHECKED;
/* NULL is fine. No attempt may be running it. */
void cronq_command_free(cronq_command *command);

/* The cgroup that systemd delegated to this process (Delegate=yes), for the options. This
 * process moves into a group "worker" of its own there. ENOENT: there is none. Once a
 * process. */
cronq_status cronq_command_cgroup(char *path, size_t size, cronq_error *err)
    CRONQ_CHECKED;

/* A cronq_handler; command is the cronq_command:
 *     cronq_server_add(server, "image:resize", cronq_command_handle, command, NULL, err)
 *
 * An argument that is {payload}, {payload.KEY} (a member of a payload that is a JSON
 * object), {task_id}, {queue}, {type}, {retry} or {max_retry} becomes one argument with
 * that text. A task whose text has a NUL, or begins with "-" where no "--" stands before
 * it, fails without further retries.
 *
 * The payload is its standard input. Its environment is PATH, HOME, LANG, TZ, LC_ALL, the
 * options' env, CRONQ_TASK_ID, CRONQ_QUEUE, CRONQ_TYPE, CRONQ_RETRY, CRONQ_MAX_RETRY and,
 * when the task has that header, TRACEPARENT; nothing else (with a user also HOME, USER
 * and LOGNAME of that). It gets a session of its own, no descriptor but 0, 1 and 2, umask
 * 077, no core dumps, and can not gain rights (no_new_privs).
 *
 * A keeper process stands between this one and the command: whatever the command starts,
 * in sessions of its own too, is stopped with it, and is dead before the task's outcome
 * is known, also when this process or thread dies. With a cgroup memory_bytes and
 * process_count are limits of all its processes together, else of each process
 * (RLIMIT_AS) and of all of its user's (RLIMIT_NPROC, which root does not have).
 *
 * Exit code 0: done; the first output_bytes of its standard output are the result, which
 * is kept when the task has a retention (that it could not be kept is logged and is no
 * failure: the work is done). 65 and 75: see above. Any other, and a signal
 * ("signal: SIGSEGV"): failure. The last line that it wrote to standard error is the
 * text. When the attempt is cancelled or its time is over, all its processes get SIGTERM,
 * and SIGKILL after the grace. What is left of them when the command itself has ended is
 * killed. */
cronq_status cronq_command_handle(cronq_attempt *attempt, void *command);

typedef enum cronq_join_kind {
    CRONQ_JOIN_LINES = 0,      /* each payload and a newline */
    CRONQ_JOIN_JSON_ARRAY = 1, /* an array; what is not JSON becomes a string */
} cronq_join_kind;

typedef struct cronq_join {
    const char *type; /* of the merged task */
    cronq_join_kind kind;
} cronq_join;

/* A cronq_aggregator_fn; join is a cronq_join: the payloads one after the other. */
cronq_status cronq_join_payloads(cronq_aggregation *aggregation, void *join,
                                 cronq_error *err);

typedef struct cronq_http_options {
    size_t struct_size; /* set by CRONQ_HTTP_OPTIONS() */
    const char *url;    /* required, http or https */
    const char *method; /* GET, POST, PUT, PATCH, DELETE; default: POST */
    const cronq_header *headers;
    size_t header_count;
    const char *body;        /* template; default: the payload */
    const char *secret_file; /* what requests are signed with; default: they are not */
    const char *ca_file;     /* authorities to trust, PEM; default: the system's */
    bool allow_private;      /* addresses that are not of the public internet */
    int64_t timeout_ms;      /* of the whole request; 0: 30,000 */
    size_t output_bytes;     /* of the answer, kept as the result; 0: 65,536 */
} cronq_http_options;

#define CRONQ_HTTP_OPTIONS(...)                                              \
    (&(const cronq_http_options){ .struct_size = sizeof(cronq_http_options), \
                                  __VA_ARGS__ })

/* A request to send for each attempt of a task. Any number of threads may send it at
 * once; connections are kept and used again. */
typedef struct cronq_http cronq_http;

/* options are copied. EINVAL for options that are wrong; nobody is connected to. */
cronq_status cronq_http_new(const cronq_http_options *options, cronq_http **out,
                            cronq_error *err) CRONQ_CHECKED;
/* NULL is fine. No attempt may be sending it. */
void cronq_http_free(cronq_http *http);

/* A cronq_handler; http is the cronq_http. docs/http.md has headers and signature.
 *
 * 2xx: done, the body is the result. 408, 425, 429, 5xx, 3xx (redirects are not
 * followed), no answer: failure, retried; with Retry-After of 429 and 503 after that
 * time, uncounted the first 1,000 times. Other 4xx: archived at once. */
cronq_status cronq_http_handle(cronq_attempt *attempt, void *http);

/* Tells a program or an address of an archived task. */
typedef struct cronq_notice cronq_notice;

/* A command (which gets the notice on its standard input, and beside the variables of
 * commands CRONQ_ERROR; no placeholders), or a request (a POST; no body of its own): one
 * of the two, the other is NULL. Without a timeout 10 s. docs/configuration.md has what
 * is told. */
cronq_status cronq_notice_new(const cronq_command_options *command,
                              const cronq_http_options *http, cronq_notice **out,
                              cronq_error *err) CRONQ_CHECKED;
void cronq_notice_free(cronq_notice *notice); /* NULL is fine */

/* A cronq_archive_fn; notice is the cronq_notice. */
cronq_status cronq_notice_send(const cronq_task_info *task, void *notice,
                               cronq_error *err);

CRONQ_END
#endif /* CRONQ_HANDLERS_H */
