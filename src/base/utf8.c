/* SPDX-License-Identifier: MIT */
/* utf8.c - well-formed UTF-8, by table 3-7 of The Unicode Standard. */
#include "base/utf8.h"

#define REPLACEMENT     "\xEF\xBF\xBD"
#define REPLACEMENT_LEN 3

/* The second byte of a sequence has a range of its own; all later ones are 80..BF. */
static const struct lead {
    unsigned char first, last, low, high;
    size_t len;
} leads[] = {
    { 0x00, 0x7F, 0x00, 0x00, 1 }, { 0xC2, 0xDF, 0x80, 0xBF, 2 },
    { 0xE0, 0xE0, 0xA0, 0xBF, 3 }, { 0xE1, 0xEC, 0x80, 0xBF, 3 },
    { 0xED, 0xED, 0x80, 0x9F, 3 }, { 0xEE, 0xEF, 0x80, 0xBF, 3 },
    { 0xF0, 0xF0, 0x90, 0xBF, 4 }, { 0xF1, 0xF3, 0x80, 0xBF, 4 },
    { 0xF4, 0xF4, 0x80, 0x8F, 4 },
};

static const struct lead *lead_of(unsigned char byte)
{
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++)
        if (byte >= leads[i].first && byte <= leads[i].last)
            return &leads[i];
    return NULL;
}

size_t cq_utf8_sequence(const void *data, size_t len)
{
    const unsigned char *p = data;
    const struct lead *lead = len ? lead_of(p[0]) : NULL;

    if (!lead || lead->len > len)
        return 0;
    if (lead->len > 1 && (p[1] < lead->low || p[1] > lead->high))
        return 0;
    for (size_t i = 2; i < lead->len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return lead->len;
}

uint32_t cq_utf8_rune(const void *sequence, size_t len)
{
    static const unsigned char lead_bits[] = { 0, 0x7F, 0x1F, 0x0F, 0x07 };
    const unsigned char *p = sequence;
    uint32_t rune = p[0] & lead_bits[len];

    for (size_t i = 1; i < len; i++)
        rune = rune << 6 | (p[i] & 0x3F);
    return rune;
}

bool cq_utf8_valid(const void *data, size_t len)
{
    const unsigned char *p = data;

    for (size_t i = 0, step; i < len; i += step) {
        step = p[i] < 0x80 ? 1 : cq_utf8_sequence(p + i, len - i);
        if (step == 0)
            return false;
    }
    return true;
}

void cq_utf8_repair(cq_buf *out, const void *data, size_t len, size_t limit_bytes)
{
    const char *p = data;
    size_t written = 0;

    for (size_t i = 0; i < len;) {
        size_t step = cq_utf8_sequence(p + i, len - i);
        size_t size = step ? step : REPLACEMENT_LEN;

        if (size > limit_bytes - written)
            return;
        cq_buf_append(out, step ? p + i : REPLACEMENT, size);
        written += size;
        i += step ? step : 1;
    }
}

void cq_utf8_copy(char *out, size_t size, const void *data, size_t len)
{
    const char *p = data;
    size_t at = 0;

    for (size_t i = 0; i < len;) {
        size_t step = cq_utf8_sequence(p + i, len - i);
        size_t need = step ? step : REPLACEMENT_LEN;

        if (need >= size - at)
            break;
        memcpy(out + at, step ? p + i : REPLACEMENT, need);
        at += need;
        i += step ? step : 1;
    }
    out[at] = '\0';
}
