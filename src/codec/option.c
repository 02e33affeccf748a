/* SPDX-License-Identifier: MIT */
/* option.c - options of a scheduler's entry as text. */
#include "codec/option.h"

#include "base/civil.h"
#include "base/duration.h"
#include "base/utf8.h"
#include "codec/text.h"

static void quoted_option(cq_buf *out, const char *name, cq_str text)
{
    cq_buf_append_text(out, name);
    cq_buf_append_char(out, '(');
    cq_go_quote(out, text);
    cq_buf_append_char(out, ')');
}

static void duration_option(cq_buf *out, const char *name, int64_t ns)
{
    cq_buf_append_text(out, name);
    cq_buf_append_char(out, '(');
    cq_duration_print(out, ns);
    cq_buf_append_char(out, ')');
}

/* Mon Jan  2 15:04:05 UTC 2006 */
static void date_option(cq_buf *out, const char *name, int64_t unix_s)
{
    static const char weekdays[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    cq_civil at = cq_civil_of(unix_s);

    cq_buf_printf(out, "%s(%s %s %2d %02d:%02d:%02d UTC ", name, weekdays[at.weekday],
                  months[at.month - 1], at.day, at.hour, at.minute, at.second);
    cq_append_padded(out, at.year, 4);
    cq_buf_append_char(out, ')');
}

void cq_option_max_retry(cq_buf *out, int64_t count)
{
    cq_buf_append_text(out, "MaxRetry(");
    cq_buf_append_int(out, count < 0 ? 0 : count);
    cq_buf_append_char(out, ')');
}

void cq_option_queue(cq_buf *out, cq_str queue)
{
    quoted_option(out, "Queue", queue);
}

void cq_option_task_id(cq_buf *out, cq_str id)
{
    quoted_option(out, "TaskID", id);
}

void cq_option_group(cq_buf *out, cq_str group)
{
    quoted_option(out, "Group", group);
}

void cq_option_timeout(cq_buf *out, int64_t ns)
{
    duration_option(out, "Timeout", ns);
}

void cq_option_unique(cq_buf *out, int64_t ttl_ns)
{
    duration_option(out, "Unique", ttl_ns);
}

void cq_option_process_in(cq_buf *out, int64_t ns)
{
    duration_option(out, "ProcessIn", ns);
}

void cq_option_retention(cq_buf *out, int64_t ns)
{
    duration_option(out, "Retention", ns);
}

void cq_option_deadline(cq_buf *out, int64_t unix_s)
{
    date_option(out, "Deadline", unix_s);
}

void cq_option_process_at(cq_buf *out, int64_t unix_s)
{
    date_option(out, "ProcessAt", unix_s);
}

/* One character within a string of Go's JSON, which is safe inside HTML: returns how many
 * bytes of text it took. */
static size_t json_char(cq_buf *out, const char *text, size_t len)
{
    static const char from[] = "\b\f\n\r\t\"\\", to[] = "bfnrt\"\\";
    unsigned char c = (unsigned char)text[0];
    const char *escape = c ? strchr(from, c) : NULL;
    size_t step = cq_utf8_sequence(text, len);

    if (step == 0)
        cq_buf_append_text(out, "\\ufffd");
    else if (escape)
        cq_buf_printf(out, "\\%c", to[escape - from]);
    else if (c < 0x20 || c == '<' || c == '>' || c == '&')
        cq_buf_printf(out, "\\u%04x", c);
    else if (step == 3 && memcmp(text, "\xE2\x80\xA8", 3) == 0)
        cq_buf_append_text(out, "\\u2028");
    else if (step == 3 && memcmp(text, "\xE2\x80\xA9", 3) == 0)
        cq_buf_append_text(out, "\\u2029");
    else
        cq_buf_append(out, text, step);
    return step ? step : 1;
}

static void json_string(cq_buf *out, cq_str text)
{
    cq_buf_append_char(out, '"');
    for (size_t i = 0; i < text.len;)
        i += json_char(out, text.data + i, text.len - i);
    cq_buf_append_char(out, '"');
}

void cq_option_header(cq_buf *out, cq_str key, cq_str value)
{
    cq_buf_append_text(out, "Header([");
    json_string(out, key);
    cq_buf_append_char(out, ',');
    json_string(out, value);
    cq_buf_append_text(out, "])");
}
