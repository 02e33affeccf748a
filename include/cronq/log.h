/* SPDX-License-Identifier: MIT */
/* cronq/log.h - a place for log lines: standard error or files, as JSON or as text.
 *
 * Part of libcronq-service. A JSON line has go-zero's shape, one object with sorted keys:
 * @timestamp, caller, content, duration, level, span, trace, and task_id, queue and type
 * when the line is about a task. Any bytes give a valid line. */
#ifndef CRONQ_LOG_H
#define CRONQ_LOG_H

#include "base.h"

CRONQ_BEGIN

typedef enum cronq_log_mode {
    CRONQ_LOG_MODE_CONSOLE = 0, /* to fd */
    CRONQ_LOG_MODE_FILE = 1,    /* PATH/cronq.log; error lines also in PATH/error.log */
    CRONQ_LOG_MODE_VOLUME = 2   /* the same in PATH/SERVICE_NAME/HOSTNAME */
} cronq_log_mode;

typedef enum cronq_log_encoding {
    CRONQ_LOG_ENCODING_DEFAULT = 0, /* plain on a terminal, else JSON */
    CRONQ_LOG_ENCODING_JSON = 1,
    CRONQ_LOG_ENCODING_PLAIN = 2
} cronq_log_encoding;

typedef struct cronq_log_file_options {
    size_t struct_size; /* set by CRONQ_LOG_FILE_OPTIONS() */
    cronq_log_mode mode;
    cronq_log_encoding encoding;
    cronq_log_level level;    /* default info */
    int fd;                   /* of the console; 0: standard error. Duplicated. */
    const char *path;         /* of the files' directory, made if missing; default logs */
    const char *service_name; /* mode volume needs it */
    uint32_t max_content_bytes; /* longer texts are cut; 0: 16 KiB, at most 1 MiB */
    uint32_t reserved;          /* 0 */
    uint32_t repeat_limit; /* warnings and errors of one place within 10 s, others are
                              counted and told later; 0: 100; UINT32_MAX: all */
    bool level_prefix;     /* "<3>" before a line, as journald wants it */
} cronq_log_file_options;

#define CRONQ_LOG_FILE_OPTIONS(...)                                                  \
    (&(const cronq_log_file_options){ .struct_size = sizeof(cronq_log_file_options), \
                                      __VA_ARGS__ })

/* Writes each line by one write(2), from any thread. A line that can not be written (full
 * disk, closed pipe, reader that does not read) is dropped and counted; the next line
 * that gets through is preceded by one that says how many were lost. Never raises
 * SIGPIPE. A pipe that is full is waited for once, 50 ms; after that it costs nothing
 * until it takes a line again. */
typedef struct cronq_log_file cronq_log_file;

/* Opens the files. options may be NULL and are borrowed for the call. *out is the
 * caller's. EINVAL for options that are wrong, EIO when a file can not be opened. */
cronq_status cronq_log_file_new(const cronq_log_file_options *options,
                                cronq_log_file **out, cronq_error *err) CRONQ_CHECKED;
/* NULL is fine. No logger of it may be in use any more. */
void cronq_log_file_free(cronq_log_file *log);

/* What to put into the options of a client, a server or a scheduler; valid until the
 * free. */
cronq_logger cronq_log_file_logger(cronq_log_file *log);

/* Open the files anew, after something moved them away. EIO: nothing has changed. Any
 * thread, not a signal handler. */
cronq_status cronq_log_file_reopen(cronq_log_file *log, cronq_error *err) CRONQ_CHECKED;

/* Lines lost so far. Any thread. */
uint64_t cronq_log_file_dropped_count(const cronq_log_file *log);

CRONQ_END
#endif /* CRONQ_LOG_H */
