/* SPDX-License-Identifier: MIT */
/* dash/text.c - foreign bytes as cells of a terminal; see text.h. */
#include "dash/text.h"

#include "base/quote.h"
#include "base/utf8.h"

#include <jansson.h>
#include <time.h>
#include <wchar.h>

#define TAB_CELLS        4
#define MARKS_LIMIT      2 /* on one cell: more are dropped */
#define HEX_LINE_CELLS   78
#define HEX_WIDE         16
#define HEX_NARROW       8
#define INDENT           2
#define DEPTH_LIMIT      64
#define REPLACEMENT_TEXT "\xEF\xBF\xBD"

/* What a sequence at the start of a text becomes. */
typedef struct glyph {
    char text[8];
    size_t len, taken, cells;
} glyph;

static glyph glyph_of(const char *text, size_t taken, size_t cells)
{
    glyph g = { .len = strlen(text), .taken = taken, .cells = cells };

    memcpy(g.text, text, g.len);
    return g;
}

static glyph next_glyph(cq_str text, bool unicode)
{
    unsigned char first = (unsigned char)text.data[0];
    size_t len = cq_utf8_sequence(text.data, text.len);
    uint32_t rune;
    int cells;
    glyph g;

    if (first == '\t')
        return glyph_of("    ", 1, TAB_CELLS);
    if (first < 0x20 || first == 0x7f)
        return glyph_of((char[]){ '^', (char)(first ^ 0x40), '\0' }, 1, 2);
    if (len == 0)
        return glyph_of(unicode ? REPLACEMENT_TEXT : "?", 1, 1);
    rune = cq_utf8_rune(text.data, len);
    cells = wcwidth((wchar_t)rune);
    if (len > 1 && (!unicode || cells < 0 || !cq_is_printable(rune)))
        return glyph_of(unicode ? REPLACEMENT_TEXT : "?", len, 1);
    g = (glyph){ .len = len, .taken = len, .cells = len == 1 ? 1 : (size_t)cells };
    memcpy(g.text, text.data, len);
    return g;
}

size_t cq_dash_fit(cq_buf *out, cq_str text, size_t cells, bool unicode)
{
    size_t used = 0, marks = 0;

    while (text.len) {
        glyph g = next_glyph(text, unicode);

        if (used + g.cells > cells)
            break;
        marks = g.cells == 0 ? marks + 1 : 0;
        if (used > 0 || g.cells > 0)
            cq_buf_append(out, g.text, marks > MARKS_LIMIT ? 0 : g.len);
        used += g.cells;
        text.data += g.taken;
        text.len -= g.taken;
    }
    return used;
}

bool cq_dash_next_line(cq_str *rest, size_t cells, bool unicode, cq_str *line)
{
    size_t used = 0, at = 0;

    if (rest->len == 0)
        return false;
    while (at < rest->len && rest->data[at] != '\n') {
        glyph g = next_glyph((cq_str){ rest->data + at, rest->len - at }, unicode);

        if (used + g.cells > cells && at > 0)
            break;
        used += g.cells;
        at += g.taken;
    }
    *line = (cq_str){ rest->data, at };
    if (at < rest->len && rest->data[at] == '\n')
        at++;
    rest->data += at;
    rest->len -= at;
    return true;
}

/* ---- payloads ---- */

static void append_hex(cq_buf *out, const unsigned char *data, size_t len, size_t cells)
{
    size_t step = cells >= HEX_LINE_CELLS ? HEX_WIDE : HEX_NARROW;

    for (size_t at = 0; at < len; at += step) {
        cq_buf_printf(out, "%08zx ", at);
        for (size_t i = at; i < at + step; i++)
            if (i < len)
                cq_buf_printf(out, " %02x", data[i]);
            else
                cq_buf_append_text(out, "   ");
        cq_buf_append_text(out, "  ");
        for (size_t i = at; i < at + step && i < len; i++)
            cq_buf_append_char(out,
                               (char)(data[i] >= 0x20 && data[i] < 0x7f ? data[i] : '.'));
        cq_buf_append_char(out, '\n');
    }
}

static bool is_json(const char *data, size_t len)
{
    json_t *value = json_loadb(data, len, JSON_ALLOW_NUL, NULL);

    json_decref(value);
    return value != NULL;
}

static void new_line(cq_buf *out, size_t depth)
{
    cq_buf_printf(out, "\n%*s",
                  (int)(INDENT * (depth < DEPTH_LIMIT ? depth : DEPTH_LIMIT)), "");
}

/* The length of a string with its quotes, or of anything else up to punctuation. */
static size_t token_length(const char *data, size_t len)
{
    size_t at = 1;

    if (data[0] != '"') {
        while (at < len && !strchr(",:[]{}\" \t\r\n", data[at]))
            at++;
        return at;
    }
    while (at < len && data[at] != '"')
        at += data[at] == '\\' ? 2 : 1;
    return at + 1 < len ? at + 1 : len;
}

/* Only white space changes, so that numbers stay as they were written. */
static void append_json(cq_buf *out, const char *data, size_t len)
{
    size_t depth = 0, at = 0;
    bool is_empty = false; /* nothing since the last bracket was opened */

    while (at < len) {
        char c = data[at];
        size_t token = 1;

        if (strchr(" \t\r\n", c)) {
            at++;
            continue;
        }
        if (c == ']' || c == '}') {
            depth -= depth > 0;
            if (!is_empty)
                new_line(out, depth);
        } else if (is_empty) {
            new_line(out, depth);
        }
        if (!strchr("[]{},:", c))
            token = token_length(data + at, len - at);
        cq_buf_append(out, data + at, token);
        is_empty = c == '[' || c == '{';
        depth += is_empty;
        if (c == ',')
            new_line(out, depth);
        else if (c == ':')
            cq_buf_append_char(out, ' ');
        at += token;
    }
}

/* Nobody reads much of what is full of control characters. */
static bool is_text(const unsigned char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] < 0x20 && !strchr("\t\r\n", data[i]))
            return false;
    return memchr(data, 0, len) == NULL && cq_utf8_valid(data, len);
}

cq_dash_form cq_dash_format(cq_buf *out, cronq_bytes payload, cq_dash_form form,
                            size_t cells)
{
    const char *data = payload.data ? payload.data : "";
    size_t len = payload.len < CQ_DASH_SHOWN_BYTES ? payload.len : CQ_DASH_SHOWN_BYTES;
    bool may_be_json = form == CQ_DASH_AUTO || form == CQ_DASH_JSON;

    if (may_be_json && len == payload.len && is_json(data, len)) {
        append_json(out, data, len);
        return CQ_DASH_JSON;
    }
    if (form == CQ_DASH_AUTO)
        form = is_text((const unsigned char *)data, len) ? CQ_DASH_TEXT : CQ_DASH_HEX;
    if (form == CQ_DASH_HEX) {
        append_hex(out, (const unsigned char *)data, len, cells);
        return CQ_DASH_HEX;
    }
    cq_buf_append(out, data, len);
    return CQ_DASH_TEXT;
}

/* ---- numbers and times ---- */

void cq_dash_spark(cq_buf *out, const double *samples, size_t count, bool unicode)
{
    static const char *const blocks[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
    static const char *const plain[] = { " ", ".", ".", ":", ":", "|", "|", "#", "#" };
    double highest = 0;

    for (size_t i = 0; i < count; i++)
        highest = samples[i] > highest ? samples[i] : highest;
    for (size_t i = 0; i < count; i++) {
        size_t level = 0;

        if (samples[i] > 0)
            level = 1 + (size_t)(samples[i] / highest * 7.0);
        cq_buf_append_text(out, unicode ? blocks[level] : plain[level]);
    }
}

void cq_dash_count(cq_buf *out, uint64_t count)
{
    if (count < 1000000)
        cq_buf_printf(out, "%llu", (unsigned long long)count);
    else if (count < 1000000000)
        cq_buf_printf(out, "%.1fM", (double)count / 1e6);
    else
        cq_buf_printf(out, "%.1fG", (double)count / 1e9);
}

void cq_dash_span(cq_buf *out, int64_t ms)
{
    long long s = ms > 0 ? (long long)(ms / 1000) : 0;

    if (s < 60)
        cq_buf_printf(out, "%llds", s);
    else if (s < 3600)
        cq_buf_printf(out, "%lldm%02llds", s / 60, s % 60);
    else if (s < 172800)
        cq_buf_printf(out, "%lldh%02lldm", s / 3600, s / 60 % 60);
    else
        cq_buf_printf(out, "%lldd", s / 86400);
}

void cq_dash_relative(cq_buf *out, int64_t at_ms, int64_t now_ms)
{
    if (at_ms == 0) {
        cq_buf_append_char(out, '-');
    } else if (at_ms > now_ms) {
        cq_buf_append_text(out, "in ");
        cq_dash_span(out, at_ms - now_ms);
    } else {
        cq_dash_span(out, now_ms - at_ms);
        cq_buf_append_text(out, " ago");
    }
}

void cq_dash_instant(cq_buf *out, int64_t at_ms)
{
    time_t at_s = (time_t)(at_ms / 1000);
    struct tm fields;
    char text[40];

    if (at_ms == 0 || !localtime_r(&at_s, &fields) ||
        !strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &fields))
        cq_buf_append_char(out, '-');
    else
        cq_buf_append_text(out, text);
}
