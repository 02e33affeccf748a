/* SPDX-License-Identifier: MIT */
/* text.c - small texts that keys and options share. */
#include "codec/text.h"

#include "base/utf8.h"

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
        if (step == 0 || !is_space(cq_utf8_rune(text.data + i, step)))
            return false;
    }
    return true;
}
