/* SPDX-License-Identifier: MIT */
/* log.c - calling the log hook. */
#include "base/log.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 2048

bool cq_log_enabled(const cronq_logger *logger, cronq_log_level level)
{
    cronq_log_level least = logger->level ? logger->level : CRONQ_LOG_INFO;

    return logger->write && level >= least;
}

/* "…/src/worker/fetcher.c" -> "worker/fetcher.c": the build directory is nobody's
 * business. */
static const char *below_src(const char *file)
{
    const char *at = strstr(file, "src/");

    return at ? at + strlen("src/") : file;
}

void cq_log_write(const cronq_logger *logger, cronq_log_level level, const char *file,
                  int line, const cq_log_about *about, const char *format, ...)
{
    char raw[LINE_BYTES], text[LINE_BYTES], caller[128];
    cronq_log_record record = { .struct_size = sizeof record, .duration_ms = -1 };
    va_list args;

    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    cq_utf8_copy(text, sizeof text, raw, strlen(raw));
    snprintf(caller, sizeof caller, "%s:%d", below_src(file), line);
    record.level = level;
    record.at_ms = cq_wall_ns() / CQ_NS_PER_MS;
    record.caller = caller;
    record.text = text;
    if (about) {
        record.task_id = about->task_id;
        record.task_type = about->task_type;
        record.queue = about->queue;
        record.trace_id = about->trace_id;
        record.span_id = about->span_id;
        record.duration_ms = about->duration_ms;
    }
    logger->write(logger->arg, &record);
}
