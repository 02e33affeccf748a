/* SPDX-License-Identifier: MIT */
/* quote.c - text within quotes, escaped as Go does it. */
#include "base/quote.h"

#include "base/utf8.h"

#include <stdio.h>

/* Of the longest escape, \U0010ffff, and its NUL. */
#define ESCAPE_ROOM 11
#define ELLIPSIS    "\xE2\x80\xA6"

/* The letter of \a … \v, \" and \\. */
static char short_escape(char c)
{
    static const char from[] = "\a\b\f\n\r\t\v\"\\", to[] = "abfnrtv\"\\";
    const char *found = c ? strchr(from, c) : NULL;

    return found ? to[found - from] : '\0';
}

/* One character, or one byte that is none, as it stands within quotes. Returns how many
 * bytes of text it is for; *chars is the number of characters written. */
static size_t escape(const char *text, size_t len, char out[ESCAPE_ROOM], size_t *chars)
{
    size_t step = cq_utf8_sequence(text, len);
    uint32_t rune = step ? cq_utf8_rune(text, step) : (unsigned char)text[0];
    char letter = short_escape(text[0]);

    if (letter) {
        *chars = (size_t)snprintf(out, ESCAPE_ROOM, "\\%c", letter);
    } else if (step && cq_is_printable(rune)) {
        memcpy(out, text, step);
        out[step] = '\0';
        *chars = 1;
    } else if (!step || rune < 0x80) {
        *chars = (size_t)snprintf(out, ESCAPE_ROOM, "\\x%02x", rune & 0xFF);
    } else if (rune < 0x10000) {
        *chars = (size_t)snprintf(out, ESCAPE_ROOM, "\\u%04x", rune & 0xFFFF);
    } else {
        *chars = (size_t)snprintf(out, ESCAPE_ROOM, "\\U%08x", rune);
    }
    return step ? step : 1;
}

void cq_go_quote(cq_buf *out, cq_str text)
{
    char piece[ESCAPE_ROOM];
    size_t chars;

    cq_buf_append_char(out, '"');
    for (size_t i = 0; i < text.len;) {
        i += escape(text.data + i, text.len - i, piece, &chars);
        cq_buf_append_text(out, piece);
    }
    cq_buf_append_char(out, '"');
}

const char *cq_quoted(cq_str value, char room[CQ_QUOTED_ROOM])
{
    size_t left = CQ_QUOTED_CHARS - 3; /* two quotes, and the dots of a cut */
    char piece[ESCAPE_ROOM], *p = room;
    size_t chars;

    *p++ = '"';
    for (size_t i = 0, step; i < value.len; i += step) {
        step = escape(value.data + i, value.len - i, piece, &chars);
        if (chars > left) {
            p = stpcpy(p, ELLIPSIS);
            break;
        }
        p = stpcpy(p, piece);
        left -= chars;
    }
    stpcpy(p, "\"");
    return room;
}

void cq_quote_value(cq_buf *out, cq_str value)
{
    char room[CQ_QUOTED_ROOM];

    cq_buf_append_text(out, cq_quoted(value, room));
}
