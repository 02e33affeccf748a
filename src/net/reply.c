/* SPDX-License-Identifier: MIT */
/* reply.c - looking at replies of Redis. */
#include "net/reply.h"

#define NUMBER_DIGITS_LIMIT 20

bool cq_reply_is_error(const cq_reply *reply, const char *word)
{
    size_t len = strlen(word);

    if (reply->type != CQ_REPLY_ERROR || reply->text.len < len)
        return false;
    if (memcmp(reply->text.data, word, len) != 0)
        return false;
    return reply->text.len == len || reply->text.data[len] == ' ';
}

/* Decimal digits with an optional minus, nothing else, within int64. */
static bool parse(cq_str text, int64_t *out)
{
    bool negative = text.len && text.data[0] == '-';
    int64_t value = 0;

    if (text.len == negative || text.len > NUMBER_DIGITS_LIMIT)
        return false;
    for (size_t i = negative; i < text.len; i++) {
        int digit = text.data[i] - '0';

        if (digit < 0 || digit > 9)
            return false;
        /* Negative throughout, since that side reaches one further. */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return false;
    }
    if (!negative && value == INT64_MIN)
        return false;
    *out = negative ? value : -value;
    return true;
}

int64_t cq_reply_int(const cq_reply *reply, int64_t fallback)
{
    int64_t value;

    if (reply->type == CQ_REPLY_INTEGER)
        return reply->integer;
    if (reply->type == CQ_REPLY_STRING && parse(reply->text, &value))
        return value;
    return fallback;
}
