/* SPDX-License-Identifier: MIT */
/* base/log.h - calling the log hook. Lines below its level cost one comparison. */
#ifndef CQ_BASE_LOG_H
#define CQ_BASE_LOG_H

#include <cronq/base.h>

/* What a line is about, when it is about something. */
typedef struct cq_log_about {
    const char *task_id, *task_type, *queue;
    const char *trace_id, *span_id;
    int64_t duration_ms; /* negative: unknown */
} cq_log_about;

bool cq_log_enabled(const cronq_logger *logger, cronq_log_level level);

/* Use the macros: they fill in the caller. about may be NULL. */
void cq_log_write(const cronq_logger *logger, cronq_log_level level, const char *file,
                  int line, const cq_log_about *about, const char *format, ...)
    CRONQ_PRINTF(6, 7);

#define CQ_LOG_ABOUT(logger, level, about, ...)                                  \
    do {                                                                         \
        if (cq_log_enabled(logger, level))                                       \
            cq_log_write(logger, level, __FILE__, __LINE__, about, __VA_ARGS__); \
    } while (0)

#define CQ_DEBUG(logger, ...) CQ_LOG_ABOUT(logger, CRONQ_LOG_DEBUG, NULL, __VA_ARGS__)
#define CQ_INFO(logger, ...)  CQ_LOG_ABOUT(logger, CRONQ_LOG_INFO, NULL, __VA_ARGS__)
#define CQ_WARN(logger, ...)  CQ_LOG_ABOUT(logger, CRONQ_LOG_WARN, NULL, __VA_ARGS__)
#define CQ_ERROR(logger, ...) CQ_LOG_ABOUT(logger, CRONQ_LOG_ERROR, NULL, __VA_ARGS__)

#endif
