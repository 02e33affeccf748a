/* SPDX-License-Identifier: MIT */
/* json.c - writing JSON text. */
#include "base/json.h"

#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void separate(cq_buf *out)
{
    char last = out->len ? out->data[out->len - 1] : '\n';

    if (last != '{' && last != '[' && last != ':' && last != ',' && last != '\n')
        cq_buf_append_char(out, ',');
}

static void append_escaped(cq_buf *out, unsigned char c)
{
    static const char shorthand[] = "\"\"\\\\\bb\ff\nn\rr\tt";

    for (const char *p = shorthand; *p; p += 2)
        if ((unsigned char)p[0] == c) {
            cq_buf_append_char(out, '\\');
            cq_buf_append_char(out, p[1]);
            return;
        }
    cq_buf_printf(out, "\\u%04x", c);
}

void cq_json_string(cq_buf *out, cq_str text)
{
    separate(out);
    cq_buf_append_char(out, '"');
    for (size_t i = 0, step; i < text.len; i += step) {
        unsigned char c = (unsigned char)text.data[i];

        step = cq_utf8_sequence(text.data + i, text.len - i);
        if (step == 0)
            cq_buf_append_text(out, "\xEF\xBF\xBD");
        else if (c < 0x20 || c == '"' || c == '\\' || c == 0x7F)
            append_escaped(out, c);
        else
            cq_buf_append(out, text.data + i, step);
        step = step ? step : 1;
    }
    cq_buf_append_char(out, '"');
}

void cq_json_open(cq_buf *out, char bracket)
{
    separate(out);
    cq_buf_append_char(out, bracket);
}

void cq_json_close(cq_buf *out, char bracket)
{
    cq_buf_append_char(out, bracket);
}

void cq_json_key(cq_buf *out, const char *key)
{
    cq_json_string(out, cq_str_of(key));
    cq_buf_append_char(out, ':');
}

void cq_json_int(cq_buf *out, int64_t value)
{
    separate(out);
    cq_buf_append_int(out, value);
}

void cq_json_bool(cq_buf *out, bool value)
{
    separate(out);
    cq_buf_append_text(out, value ? "true" : "false");
}

void cq_json_null(cq_buf *out)
{
    separate(out);
    cq_buf_append_text(out, "null");
}

void cq_json_double(cq_buf *out, double value)
{
    char text[32];

    if (!isfinite(value)) {
        cq_json_null(out);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    separate(out);
    cq_buf_append_text(out, text);
}

void cq_json_key_text(cq_buf *out, const char *key, const char *text)
{
    cq_json_key(out, key);
    if (text)
        cq_json_string(out, cq_str_of(text));
    else
        cq_json_null(out);
}

void cq_json_key_int(cq_buf *out, const char *key, int64_t value)
{
    cq_json_key(out, key);
    cq_json_int(out, value);
}

void cq_json_key_bool(cq_buf *out, const char *key, bool value)
{
    cq_json_key(out, key);
    cq_json_bool(out, value);
}
