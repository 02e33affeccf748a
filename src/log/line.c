/* SPDX-License-Identifier: MIT */
/* line.c - one log record as one line of JSON or of plain text. */
#include "log/line.h"

#include "base/json.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* What else a line carries is cut to this: ids and names are not longer when they are
 * ours, but a peer's may be. */
#define FIELD_BYTES 1024

static const char *level_name(cronq_log_level level)
{
    static const char *const names[] = { "info", "debug", "info", "warn", "error" };

    return (size_t)level < sizeof names / sizeof names[0] ? names[level] : "error";
}

/* As go-zero writes it: 2006-01-02T15:04:05.000+01:00, Z for UTC. */
static void append_time(cq_buf *out, int64_t at_ms)
{
    int64_t ms = ((at_ms % 1000) + 1000) % 1000;
    time_t seconds = (time_t)((at_ms - ms) / 1000);
    struct tm tm = { 0 };
    char text[64];
    size_t len;
    long offset_min;

    if (!localtime_r(&seconds, &tm)) {
        cq_buf_append_text(out, "1970-01-01T00:00:00.000Z");
        return;
    }
    len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    cq_buf_append(out, text, len);
    cq_buf_printf(out, ".%03d", (int)ms);
    offset_min = tm.tm_gmtoff / 60;
    if (offset_min == 0)
        cq_buf_append_char(out, 'Z');
    else
        cq_buf_printf(out, "%c%02ld:%02ld", offset_min < 0 ? '-' : '+',
                      labs(offset_min) / 60, labs(offset_min) % 60);
}

/* The longest prefix of at most limit bytes that does not cut a character in two. */
static cq_str cut(const char *text, size_t limit, bool *truncated)
{
    size_t len = text ? strnlen(text, limit + 1) : 0;

    *truncated = len > limit;
    if (*truncated)
        len = limit;
    for (size_t back = 0; *truncated && back < 3 && len > 0; back++)
        if (((unsigned char)text[len] & 0xC0) == 0x80)
            len--;
    return (cq_str){ text, len };
}

static void json_field(cq_buf *out, const char *key, const char *text)
{
    bool truncated;

    if (!text || !*text)
        return;
    cq_json_key(out, key);
    cq_json_string(out, cut(text, FIELD_BYTES, &truncated));
}

void cq_log_line_json(cq_buf *out, const cronq_log_record *record,
                      size_t max_content_bytes)
{
    bool truncated;
    cq_str content = cut(record->text, max_content_bytes, &truncated);

    cq_json_open(out, '{');
    cq_json_key(out, "@timestamp");
    cq_buf_append_char(out, '"');
    append_time(out, record->at_ms);
    cq_buf_append_char(out, '"');
    json_field(out, "caller", record->caller);
    cq_json_key(out, "content");
    cq_json_string(out, content);
    if (record->duration_ms >= 0) {
        cq_json_key(out, "duration");
        cq_buf_printf(out, "\"%lld.0ms\"", (long long)record->duration_ms);
    }
    json_field(out, "level", level_name(record->level));
    json_field(out, "queue", record->queue);
    json_field(out, "span", record->span_id);
    json_field(out, "task_id", record->task_id);
    json_field(out, "trace", record->trace_id);
    if (truncated)
        cq_json_key_bool(out, "truncated", true);
    json_field(out, "type", record->task_type);
    cq_json_close(out, '}');
    cq_buf_append_char(out, '\n');
}

/* Is it a control character: C0, DEL, or C1 in its two bytes? */
static bool is_control(const unsigned char *at, size_t len)
{
    return (len == 1 && (at[0] < 0x20 || at[0] == 0x7F)) ||
           (len == 2 && at[0] == 0xC2 && at[1] < 0xA0);
}

/* Text for a terminal: a line stays one line, and no byte of a task drives the terminal.
 */
static void plain_text(cq_buf *out, cq_str text)
{
    const unsigned char *at = (const unsigned char *)text.data;
    size_t left = text.len;

    while (left > 0) {
        size_t len = cq_utf8_sequence(at, left);

        if (len == 0)
            cq_buf_append_text(out, "\xEF\xBF\xBD");
        else if (at[0] == '\t')
            cq_buf_append_char(out, '\t');
        else if (at[0] == '\n')
            cq_buf_append_text(out, "\\n");
        else if (is_control(at, len))
            cq_buf_printf(out, "\\x%02x", at[len - 1]);
        else
            cq_buf_append(out, at, len);
        len = len ? len : 1;
        at += len;
        left -= len;
    }
}

static void plain_field(cq_buf *out, const char *key, const char *text)
{
    bool truncated;

    if (!text || !*text)
        return;
    cq_buf_printf(out, " %s=", key);
    plain_text(out, cut(text, FIELD_BYTES, &truncated));
}

void cq_log_line_plain(cq_buf *out, const cronq_log_record *record,
                       size_t max_content_bytes)
{
    bool truncated;

    append_time(out, record->at_ms);
    cq_buf_printf(out, " %-5s ", level_name(record->level));
    plain_text(out, cut(record->text, max_content_bytes, &truncated));
    if (truncated)
        cq_buf_append_text(out, " …");
    plain_field(out, "type", record->task_type);
    plain_field(out, "id", record->task_id);
    plain_field(out, "queue", record->queue);
    if (record->duration_ms >= 0)
        cq_buf_printf(out, " duration=%lldms", (long long)record->duration_ms);
    plain_field(out, "trace", record->trace_id);
    cq_buf_append_char(out, '\n');
}
