/* SPDX-License-Identifier: MIT */
/* cronq/base.h - version, visibility, status codes, errors, bytes and the log hook.
 *
 * Every other header of cronq includes this one. Nothing here allocates, and everything
 * may be called from any thread. */
#ifndef CRONQ_BASE_H
#define CRONQ_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every declaration sits between BEGIN and END: C linkage, exported. */
#ifdef __cplusplus
#define CRONQ_BEGIN \
    extern "C" {    \
    _Pragma("GCC visibility push(default)")
#define CRONQ_END                 \
    _Pragma("GCC visibility pop") \
    }
#else
#define CRONQ_BEGIN _Pragma("GCC visibility push(default)")
#define CRONQ_END   _Pragma("GCC visibility pop")
#endif
#define CRONQ_CHECKED      __attribute__((warn_unused_result))
#define CRONQ_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define CRONQ_NORETURN     __attribute__((noreturn))

CRONQ_BEGIN

#define CRONQ_VERSION_MAJOR 0
#define CRONQ_VERSION_MINOR 1
#define CRONQ_VERSION_PATCH 0
#define CRONQ_VERSION_NUM \
    ((CRONQ_VERSION_MAJOR << 16) | (CRONQ_VERSION_MINOR << 8) | CRONQ_VERSION_PATCH)

/* The version of the library actually loaded, as CRONQ_VERSION_NUM and as "1.2.3". */
uint32_t cronq_version(void);
const char *cronq_version_string(void);

/* clang-format off */
/* Every status, once: X(name, value, text). Values never change and are never reused. */
#define CRONQ_STATUS_MAP(X)                                           \
    X(OK,            0, "success")                                    \
    X(EINVAL,       -1, "invalid argument")                           \
    X(ENOMEM,       -2, "out of memory")                              \
    X(EIO,          -3, "store unreachable or I/O failure")           \
    X(EPROTO,       -4, "unexpected reply or corrupt record")         \
    X(ENOENT,       -5, "no such task, queue or entry")               \
    X(EEXIST,       -6, "a task with this id already exists")         \
    X(EDUP,         -7, "an identical unique task is already queued") \
    X(ESTATE,       -8, "not allowed in the object's present state")  \
    X(ETIMEDOUT,    -9, "deadline exceeded")                          \
    X(ECANCELED,   -10, "cancelled")                                  \
    X(EFAILED,     -11, "the handler reported failure")               \
    X(ENORETRY,    -12, "the handler failed and asked for no retry")  \
    X(ESIZE,       -13, "options come from a newer header")           \
    X(EREVOKED,    -14, "the handler dropped the task")               \
    X(ETOOBIG,     -15, "too large")                                  \
    X(EFULL,       -16, "the store is full")                          \
    X(EAUTH,       -17, "the store refused the credentials")          \
    X(EUNSUPPORTED,-18, "not supported here")                         \
    X(ERETRYIN,    -19, "the handler chose when to run again")        \
    X(EPANIC,      -20, "panic")                                      \
    X(EREFUSED,    -21, "the store takes no writes at present")
/* clang-format on */

typedef enum cronq_status {
#define CRONQ_STATUS_ENUM(name, value, text) CRONQ_##name = (value),
    CRONQ_STATUS_MAP(CRONQ_STATUS_ENUM)
#undef CRONQ_STATUS_ENUM
} cronq_status;

/* "EDUP", and "an identical unique task is already queued". Never NULL. */
const char *cronq_status_name(cronq_status status);
const char *cronq_status_text(cronq_status status);

/* What went wrong, in a sentence. Owned by the caller and written only on failure.
 * Every function that takes one also accepts NULL. */
typedef struct cronq_error {
    cronq_status code;
    char text[508]; /* always NUL-terminated, always valid UTF-8 */
} cronq_error;

/* A borrowed run of bytes. Not NUL-terminated, never freed by the callee.
 * data == NULL means absent, which some formats tell apart from empty. */
typedef struct cronq_bytes {
    const void *data;
    size_t len;
} cronq_bytes;

/* Initialiser of a cronq_bytes from a string literal, without its NUL. */
#define CRONQ_LIT(s)        \
    {                       \
        "" s, sizeof(s) - 1 \
    }

typedef enum cronq_log_level {
    CRONQ_LOG_DEFAULT = 0, /* in options: info */
    CRONQ_LOG_DEBUG = 1,
    CRONQ_LOG_INFO = 2,
    CRONQ_LOG_WARN = 3,
    CRONQ_LOG_ERROR = 4,
    CRONQ_LOG_OFF = 5,
} cronq_log_level;

/* One log line. Everything is borrowed for the call; NULL or negative means unknown. */
typedef struct cronq_log_record {
    size_t struct_size;
    cronq_log_level level;
    int64_t at_ms;      /* Unix milliseconds */
    const char *caller; /* "worker/fetcher.c:120" */
    const char *text;   /* valid UTF-8, without a newline at its end */
    const char *task_id;
    const char *task_type;
    const char *queue;
    const char *trace_id; /* 32 hex digits */
    const char *span_id;  /* 16 hex digits */
    int64_t duration_ms;
} cronq_log_record;

/* Receives each line at or above the level. Called from any thread, several at once;
 * must not call back into the object that logs. */
typedef void cronq_log_fn(void *arg, const cronq_log_record *record);

/* Where a client or a server logs. All zero: nowhere. Copied, arg is borrowed. */
typedef struct cronq_logger {
    cronq_log_fn *write;
    void *arg;
    cronq_log_level level;
} cronq_logger;

CRONQ_END
#endif /* CRONQ_BASE_H */
