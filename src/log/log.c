/* SPDX-License-Identifier: MIT */
/* log.c - a place for log lines.
 *
 * Invariants: lock guards all but the options and dropped_count. main takes every line,
 * errors (files only) those of level error too. lost is what main has not taken since it
 * last took a line; dropped_count only grows. */
#include <cronq/log.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/options.h"
#include "log/line.h"
#include "log/repeat.h"
#include "log/sink.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_CONTENT_BYTES ((uint32_t)16 << 10)
#define MAX_CONTENT_BYTES     ((uint32_t)1 << 20)
#define FIELDS_BYTES          ((size_t)64 << 10) /* all of a line but its content */
#define REPEAT_LIMIT          100
#define ESCAPED               6 /* a byte becomes at most \u00XX */

struct cronq_log_file {
    cronq_log_level level;
    bool plain, level_prefix;
    bool files;
    uint32_t max_content_bytes;
    char directory[PATH_MAX];
    pthread_mutex_t lock;
    cq_sink main, errors;
    cq_buf line;
    cq_repeats repeats;
    uint64_t lost;
    atomic_uint_fast64_t dropped_count;
};

/* Before what is in the buffer from start on: the level as syslog counts it. */
static void insert_prefix(cronq_log_file *log, size_t start, cronq_log_level level)
{
    static const char *const prefixes[] = { "<6>", "<7>", "<6>", "<4>", "<3>" };
    size_t len = log->line.len - start;

    if (!cq_buf_reserve(&log->line, 3))
        return;
    memmove(log->line.data + start + 3, log->line.data + start, len);
    memcpy(log->line.data + start,
           prefixes[level <= CRONQ_LOG_ERROR ? level : CRONQ_LOG_ERROR], 3);
    log->line.len += 3;
}

static void append_line(cronq_log_file *log, const cronq_log_record *record)
{
    size_t start = log->line.len;

    if (log->plain)
        cq_log_line_plain(&log->line, record, log->max_content_bytes);
    else
        cq_log_line_json(&log->line, record, log->max_content_bytes);
    if (log->level_prefix)
        insert_prefix(log, start, record->level);
}

static void append_note(cronq_log_file *log, const char *text)
{
    cronq_log_record record = { .struct_size = sizeof record,
                                .level = CRONQ_LOG_WARN,
                                .at_ms = cq_wall_ns() / CQ_NS_PER_MS,
                                .caller = "log/log.c",
                                .text = text,
                                .duration_ms = -1 };

    append_line(log, &record);
}

/* Say how many lines are missing before the one that follows them. */
static void append_lost(cronq_log_file *log)
{
    char text[80];

    snprintf(text, sizeof text, "%llu log lines were lost",
             (unsigned long long)log->lost);
    append_note(log, text);
}

/* The same of lines that were left out because they repeat. */
static void append_left_out(cronq_log_file *log, const cq_repeat_slot *over)
{
    char text[160];

    if (over->left_out == 0)
        return;
    snprintf(text, sizeof text, "%llu more lines like those of %s were left out",
             (unsigned long long)over->left_out, over->place);
    append_note(log, text);
}

static bool send_from(cronq_log_file *log, cq_sink *sink, size_t start)
{
    if (log->line.status != CRONQ_OK)
        return false;
    return cq_sink_write(sink, log->line.data + start, log->line.len - start);
}

/* The buffer is a newline for cq_sink_write, the report of lost lines, the line. The last
 * two go in one write, so that a place with little room does not fill with reports. */
static void write_record(void *arg, const cronq_log_record *record)
{
    cronq_log_file *log = arg;
    cq_repeat_slot over;
    size_t start;

    if (record->level < log->level)
        return;
    pthread_mutex_lock(&log->lock);
    if (!cq_repeats_admit(&log->repeats, record, cq_mono_ms(), &over)) {
        pthread_mutex_unlock(&log->lock);
        return;
    }
    cq_buf_reset(&log->line);
    cq_buf_append_char(&log->line, '\n');
    if (log->lost > 0)
        append_lost(log);
    append_left_out(log, &over);
    start = log->line.len;
    append_line(log, record);
    if (send_from(log, &log->main, 1)) {
        log->lost = 0;
    } else {
        log->lost++;
        atomic_fetch_add_explicit(&log->dropped_count, 1, memory_order_relaxed);
    }
    if (log->errors.fd >= 0 && record->level >= CRONQ_LOG_ERROR)
        send_from(log, &log->errors, start);
    pthread_mutex_unlock(&log->lock);
}

static cronq_status make_directories(char *path, cronq_error *err)
{
    for (char *at = path + 1;; at++) {
        char kept = *at;

        if (kept != '/' && kept != '\0')
            continue;
        *at = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return cq_fail_errno(err, CRONQ_EIO, errno, "log: cannot make directory %s",
                                 path);
        *at = kept;
        if (kept == '\0')
            return CRONQ_OK;
    }
}

static cronq_status open_files(cronq_log_file *log, cq_sink *lines, cq_sink *errors,
                               cronq_error *err)
{
    char path[PATH_MAX + 16];
    cronq_status status = make_directories(log->directory, err);

    if (status != CRONQ_OK)
        return status;
    snprintf(path, sizeof path, "%s/cronq.log", log->directory);
    status = cq_sink_open(lines, path, err);
    if (status != CRONQ_OK)
        return status;
    snprintf(path, sizeof path, "%s/error.log", log->directory);
    status = cq_sink_open(errors, path, err);
    if (status != CRONQ_OK)
        cq_sink_close(lines);
    return status;
}

static cronq_status set_directory(cronq_log_file *log,
                                  const cronq_log_file_options *options, cronq_error *err)
{
    const char *path = options->path && *options->path ? options->path : "logs";
    const char *service = options->service_name;
    char host[256] = "";
    int len;

    if (options->mode == CRONQ_LOG_MODE_FILE) {
        len = snprintf(log->directory, sizeof log->directory, "%s", path);
    } else {
        if (!service || !*service || strchr(service, '/') || service[0] == '.')
            return cq_fail(err, CRONQ_EINVAL,
                           "log: mode volume needs a service_name that can be a "
                           "directory, not \"%.80s\"",
                           service ? service : "");
        gethostname(host, sizeof host - 1);
        len = snprintf(log->directory, sizeof log->directory, "%s/%s/%s", path, service,
                       host);
    }
    if (len < 0 || (size_t)len >= sizeof log->directory)
        return cq_fail(err, CRONQ_EINVAL, "log: path is longer than %zu bytes",
                       sizeof log->directory - 1);
    return CRONQ_OK;
}

static cronq_status check(const cronq_log_file_options *options, cronq_error *err)
{
    if ((unsigned)options->mode > CRONQ_LOG_MODE_VOLUME)
        return cq_fail(err, CRONQ_EINVAL, "log: mode %d is none", (int)options->mode);
    if ((unsigned)options->encoding > CRONQ_LOG_ENCODING_PLAIN)
        return cq_fail(err, CRONQ_EINVAL, "log: encoding %d is none",
                       (int)options->encoding);
    if ((unsigned)options->level > CRONQ_LOG_OFF)
        return cq_fail(err, CRONQ_EINVAL, "log: level %d is none", (int)options->level);
    if (options->fd < 0)
        return cq_fail(err, CRONQ_EINVAL, "log: fd %d is negative", options->fd);
    if (options->max_content_bytes > MAX_CONTENT_BYTES)
        return cq_fail(err, CRONQ_EINVAL, "log: max_content_bytes %u is over %u",
                       options->max_content_bytes, MAX_CONTENT_BYTES);
    return CRONQ_OK;
}

static cronq_status open_log(cronq_log_file *log, const cronq_log_file_options *options,
                             cronq_error *err)
{
    int fd = options->fd ? options->fd : STDERR_FILENO;
    cronq_status status;

    log->plain = options->encoding == CRONQ_LOG_ENCODING_PLAIN;
    if (options->mode == CRONQ_LOG_MODE_CONSOLE) {
        if (options->encoding == CRONQ_LOG_ENCODING_DEFAULT)
            log->plain = isatty(fd);
        return cq_sink_dup(&log->main, fd, err);
    }
    status = set_directory(log, options, err);
    if (status != CRONQ_OK)
        return status;
    log->files = true;
    return open_files(log, &log->main, &log->errors, err);
}

cronq_status cronq_log_file_new(const cronq_log_file_options *options,
                                cronq_log_file **out, cronq_error *err)
{
    cronq_log_file_options own;
    cronq_log_file *log;
    uint32_t content;
    cronq_status status =
        cq_options_copy(&own, sizeof own, options, "cronq_log_file_options", err);

    if (status == CRONQ_OK)
        status = check(&own, err);
    if (status != CRONQ_OK)
        return status;
    log = calloc(1, sizeof *log);
    if (!log)
        return cq_fail_nomem(err);
    content = own.max_content_bytes ? own.max_content_bytes : DEFAULT_CONTENT_BYTES;
    log->max_content_bytes = content;
    log->level = own.level ? own.level : CRONQ_LOG_INFO;
    log->level_prefix = own.level_prefix;
    log->repeats.limit = own.repeat_limit ? own.repeat_limit : REPEAT_LIMIT;
    log->main.fd = log->errors.fd = -1;
    pthread_mutex_init(&log->lock, NULL);
    cq_buf_init(&log->line, content * (size_t)ESCAPED + FIELDS_BYTES);
    status = open_log(log, &own, err);
    if (status != CRONQ_OK) {
        cronq_log_file_free(log);
        return status;
    }
    *out = log;
    return CRONQ_OK;
}

static void tell_left_out(cronq_log_file *log)
{
    for (size_t i = 0; i < CQ_REPEAT_SLOTS; i++) {
        cq_buf_reset(&log->line);
        cq_buf_append_char(&log->line, '\n');
        append_left_out(log, &log->repeats.slots[i]);
        if (log->line.len > 1)
            send_from(log, &log->main, 1);
    }
}

void cronq_log_file_free(cronq_log_file *log)
{
    if (!log)
        return;
    tell_left_out(log);
    cq_sink_close(&log->main);
    cq_sink_close(&log->errors);
    cq_buf_release(&log->line);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

cronq_logger cronq_log_file_logger(cronq_log_file *log)
{
    return (cronq_logger){ .write = write_record, .arg = log, .level = log->level };
}

cronq_status cronq_log_file_reopen(cronq_log_file *log, cronq_error *err)
{
    cq_sink lines, errors;
    cronq_status status;

    if (!log->files)
        return CRONQ_OK;
    pthread_mutex_lock(&log->lock);
    status = open_files(log, &lines, &errors, err);
    if (status == CRONQ_OK) {
        cq_sink_close(&log->main);
        cq_sink_close(&log->errors);
        log->main = lines;
        log->errors = errors;
    }
    pthread_mutex_unlock(&log->lock);
    return status;
}

uint64_t cronq_log_file_dropped_count(const cronq_log_file *log)
{
    return atomic_load_explicit(&log->dropped_count, memory_order_relaxed);
}
