/* SPDX-License-Identifier: MIT */
/* join.c - an aggregator that puts payloads one after the other. */
#include <cronq/handlers.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"

#include <string.h>

#define JOINED_LIMIT_BYTES ((size_t)256 << 20)
#define DEPTH_LIMIT        64

/* ---- is it JSON (RFC 8259)? ---- */

typedef struct scan {
    const char *at, *end;
    int depth;
} scan;

static void skip_space(scan *s)
{
    while (s->at < s->end && strchr(" \t\r\n", *s->at) && *s->at)
        s->at++;
}

static bool take(scan *s, char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool take_string(scan *s)
{
    if (!take(s, '"'))
        return false;
    while (s->at < s->end && *s->at != '"') {
        if ((unsigned char)*s->at < 0x20)
            return false;
        if (*s->at == '\\') {
            s->at++;
            if (s->at == s->end || !*s->at || !strchr("\"\\/bfnrtu", *s->at))
                return false;
            for (int i = 0; *s->at == 'u' && i < 4; i++)
                if (s->end - s->at < 5 || !strchr("0123456789abcdefABCDEF", s->at[i + 1]))
                    return false;
        }
        s->at++;
    }
    return take(s, '"');
}

static size_t take_digits(scan *s)
{
    const char *start = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return (size_t)(s->at - start);
}

static bool take_number(scan *s)
{
    const char *start;
    size_t digits;

    if (s->at < s->end && *s->at == '-')
        s->at++;
    start = s->at;
    digits = take_digits(s);
    if (digits == 0 || (digits > 1 && *start == '0'))
        return false;
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!take_digits(s))
            return false;
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '-' || *s->at == '+'))
            s->at++;
        return take_digits(s) > 0;
    }
    return true;
}

static bool take_word(scan *s)
{
    static const char *const words[] = { "true", "false", "null" };

    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(words[i]);

        if ((size_t)(s->end - s->at) >= len && memcmp(s->at, words[i], len) == 0) {
            s->at += len;
            return true;
        }
    }
    return take_number(s);
}

static bool take_value(scan *s);

static bool take_members(scan *s, char close, bool keys)
{
    if (take(s, close))
        return true;
    do {
        if (keys && !(take_string(s) && take(s, ':')))
            return false;
        if (!take_value(s))
            return false;
    } while (take(s, ','));
    return take(s, close);
}

static bool take_value(scan *s)
{
    bool ok;

    skip_space(s);
    if (s->at == s->end || ++s->depth > DEPTH_LIMIT)
        return false;
    if (*s->at == '"')
        ok = take_string(s);
    else if (take(s, '{'))
        ok = take_members(s, '}', true);
    else if (take(s, '['))
        ok = take_members(s, ']', false);
    else
        ok = take_word(s);
    s->depth--;
    return ok;
}

static bool is_json(cronq_bytes payload)
{
    scan s = { payload.data, (const char *)payload.data + payload.len, 0 };

    if (!payload.len || !cq_utf8_valid(payload.data, payload.len) || !take_value(&s))
        return false;
    skip_space(&s);
    return s.at == s.end;
}

/* ---- joining ---- */

static void add_line(cq_buf *out, cronq_bytes payload)
{
    cq_buf_append(out, payload.data, payload.len);
    cq_buf_append_char(out, '\n');
}

static void add_element(cq_buf *out, cronq_bytes payload, bool first)
{
    if (!first)
        cq_buf_append_char(out, ',');
    if (is_json(payload))
        cq_buf_append(out, payload.data, payload.len);
    else
        cq_json_string(out, (cq_str){ payload.data, payload.len });
}

cronq_status cronq_join_payloads(cronq_aggregation *aggregation, void *arg,
                                 cronq_error *err)
{
    const cronq_join *join = arg;
    size_t count = cronq_aggregation_count(aggregation);
    bool is_array = join->kind == CRONQ_JOIN_JSON_ARRAY;
    cronq_status status;
    cq_buf out;

    cq_buf_init(&out, JOINED_LIMIT_BYTES);
    if (is_array)
        cq_buf_append_char(&out, '[');
    for (size_t i = 0; i < count; i++) {
        cronq_bytes payload = cronq_aggregation_payload(aggregation, i);

        if (is_array) {
            cq_buf element;

            cq_buf_init(&element, JOINED_LIMIT_BYTES);
            add_element(&element, payload, i == 0);
            if (element.status)
                out.status = element.status;
            cq_buf_append(&out, element.data, element.len);
            cq_buf_release(&element);
        } else {
            add_line(&out, payload);
        }
    }
    if (is_array)
        cq_buf_append_char(&out, ']');
    status =
        out.status
            ? cq_fail(err, out.status, "the joined payloads: %s",
                      cronq_status_text(out.status))
            : cronq_aggregation_merge(
                  aggregation,
                  CRONQ_TASK(.type = join->type, .payload = { out.data, out.len }), err);
    cq_buf_release(&out);
    return status;
}
