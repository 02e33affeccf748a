/* SPDX-License-Identifier: MIT */
/* handlers/process.h - run one program to its end: feed it, keep what it says, stop it
 * when asked to, and leave nothing behind.
 *
 * Knows nothing of tasks. Safe in a process with many threads. */
#ifndef CQ_HANDLERS_PROCESS_H
#define CQ_HANDLERS_PROCESS_H

#include "base/buf.h"

#include <sys/types.h>

#define CQ_PROCESS_OUTPUT_BYTES ((size_t)64 << 10) /* kept when nothing else is said */
#define CQ_PROCESS_LINE_BYTES   ((size_t)4 << 10)

/* Of a program and, one by one, of all that it starts; 0: that of this process. No core
 * is ever written. */
typedef struct cq_process_limits {
    int64_t memory_bytes, cpu_s, file_bytes;
    int64_t processes; /* of its user, threads too */
    int64_t open_files;
} cq_process_limits;

/* Whom it runs as. */
typedef struct cq_process_user {
    bool is_set;
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t group_count;
} cq_process_user;

/* Everything is borrowed for the call. */
typedef struct cq_process_request {
    const char *path;        /* of the program */
    const char *const *argv; /* NULL-terminated */
    const char *const *env;  /* NULL-terminated */
    const char *dir;         /* NULL: that of this process */
    cronq_bytes input;
    cq_process_limits limits;
    cq_process_user user;
    const char *cgroup;  /* its own, made already; NULL: none */
    size_t output_bytes; /* kept; 0: CQ_PROCESS_OUTPUT_BYTES */
    int cancel_fd;       /* readable: stop it; -1: ask is_cancelled now and then */
    bool (*is_cancelled)(void *arg); /* may be NULL */
    void *arg;
    int64_t timeout_ms; /* 0: none */
    int64_t grace_ms;   /* from SIGTERM to SIGKILL */
} cq_process_request;

typedef enum cq_process_end {
    CQ_PROCESS_EXITED,   /* code */
    CQ_PROCESS_SIGNALED, /* signal */
    CQ_PROCESS_LOST      /* who kept it was killed, and it with him */
} cq_process_end;

typedef enum cq_process_stop {
    CQ_PROCESS_NOT_STOPPED, /* it ended by itself */
    CQ_PROCESS_CANCELLED,
    CQ_PROCESS_TIMED_OUT
} cq_process_stop;

typedef struct cq_process_result {
    cq_process_end end;
    int code, signal;
    cq_process_stop stop;
    cq_buf output; /* its first output_bytes */
    bool output_is_cut;
    bool has_survivors; /* something that it started could not be killed */
    char error_line[CQ_PROCESS_LINE_BYTES]; /* the last one, of any bytes but NUL */
} cq_process_result;

/* Where name is: itself when it has a slash, else in path, a list like PATH. ENOENT. */
cronq_status cq_process_find(const char *name, const char *path, char *out, size_t size,
                             cronq_error *err);

/* OK: it ran, result has how it ended and is the caller's to release; nothing that it
 * started is left. EIO: it could not be started. */
cronq_status cq_process_run(const cq_process_request *request, cq_process_result *result,
                            cronq_error *err);
void cq_process_result_release(cq_process_result *result);

#endif
