/* SPDX-License-Identifier: MIT */
/* text.c - small texts that keys and options share: numbers, hex digits, escapes. */
#include "codec/text.h"

#include "base/utf8.h"

#include <stdio.h>

void cq_append_hex(cq_buf *out, const unsigned char *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *to = cq_buf_reserve(out, 2 * len);

    if (!to)
        return;
    for (size_t i = 0; i < len; i++) {
        *to++ = digits[bytes[i] >> 4];
        *to++ = digits[bytes[i] & 15];
    }
    out->len += 2 * len;
}

void cq_append_padded(cq_buf *out, int64_t value, int width)
{
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char digits[20], *end = digits + sizeof digits, *p = end;

    do
        *--p = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    while (end - p < width)
        *--p = '0';
    if (value < 0)
        cq_buf_append_char(out, '-');
    cq_buf_append(out, p, (size_t)(end - p));
}

/* The character that a well-formed sequence of step bytes stands for. */
static uint32_t decode(const char *text, size_t step)
{
    static const unsigned char lead_bits[] = { 0, 0x7F, 0x1F, 0x0F, 0x07 };
    uint32_t rune = (unsigned char)text[0] & lead_bits[step];

    for (size_t i = 1; i < step; i++)
        rune = rune << 6 | ((unsigned char)text[i] & 0x3F);
    return rune;
}

/* Property White_Space. */
static bool is_space(uint32_t rune)
{
    return (rune >= 0x09 && rune <= 0x0D) || rune == ' ' || rune == 0x85 ||
           rune == 0xA0 || rune == 0x1680 || (rune >= 0x2000 && rune <= 0x200A) ||
           rune == 0x2028 || rune == 0x2029 || rune == 0x202F || rune == 0x205F ||
           rune == 0x3000;
}

bool cq_is_blank(cq_str text)
{
    for (size_t i = 0, step; i < text.len; i += step) {
        step = cq_utf8_sequence(text.data + i, text.len - i);
        if (step == 0 || !is_space(decode(text.data + i, step)))
            return false;
    }
    return true;
}

/* The letter of \a … \v, \" and \\. */
static char short_escape(char c)
{
    static const char from[] = "\a\b\f\n\r\t\v\"\\", to[] = "abfnrtv\"\\";
    const char *found = c ? strchr(from, c) : NULL;

    return found ? to[found - from] : '\0';
}

size_t cq_go_escape(const char *text, size_t len, char out[CQ_ESCAPE_ROOM], size_t *chars)
{
    size_t step = cq_utf8_sequence(text, len);
    uint32_t rune = step ? decode(text, step) : (unsigned char)text[0];
    char letter = short_escape(text[0]);

    if (letter) {
        *chars = (size_t)snprintf(out, CQ_ESCAPE_ROOM, "\\%c", letter);
    } else if (step && cq_is_printable(rune)) {
        memcpy(out, text, step);
        out[step] = '\0';
        *chars = 1;
    } else if (!step || rune < 0x80) {
        *chars = (size_t)snprintf(out, CQ_ESCAPE_ROOM, "\\x%02x", rune & 0xFF);
    } else if (rune < 0x10000) {
        *chars = (size_t)snprintf(out, CQ_ESCAPE_ROOM, "\\u%04x", rune & 0xFFFF);
    } else {
        *chars = (size_t)snprintf(out, CQ_ESCAPE_ROOM, "\\U%08x", rune);
    }
    return step ? step : 1;
}
