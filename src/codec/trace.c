/* SPDX-License-Identifier: MIT */
/* trace.c - the W3C traceparent header (Trace Context, level 1). */
#include "codec/trace.h"

#include "base/error.h"
#include "base/quote.h"

/* Where the fields begin. */
#define TRACE_ID_AT 3
#define SPAN_ID_AT  36
#define FLAGS_AT    53

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *text, unsigned char *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static void write_hex(char *to, const unsigned char *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < count; i++) {
        *to++ = digits[bytes[i] >> 4];
        *to++ = digits[bytes[i] & 15];
    }
}

static bool is_zero(const unsigned char *bytes, size_t count)
{
    while (count && bytes[count - 1] == 0)
        count--;
    return count == 0;
}

/* Returns what is wrong, or NULL. */
static const char *parse(cq_str text, cq_trace *out)
{
    const char *p = text.data;
    unsigned char version;

    if (text.len < CQ_TRACEPARENT_LEN)
        return "is shorter than 55 characters";
    if (p[TRACE_ID_AT - 1] != '-' || p[SPAN_ID_AT - 1] != '-' || p[FLAGS_AT - 1] != '-')
        return "lacks a dash where one must be";
    if (!read_hex(p, &version, 1) || !read_hex(p + FLAGS_AT, &out->flags, 1) ||
        !read_hex(p + TRACE_ID_AT, out->trace_id, sizeof out->trace_id) ||
        !read_hex(p + SPAN_ID_AT, out->span_id, sizeof out->span_id))
        return "has something else than lower-case hex digits";
    if (version == 0xFF)
        return "has the forbidden version ff";
    if (text.len > CQ_TRACEPARENT_LEN && (version == 0 || p[CQ_TRACEPARENT_LEN] != '-'))
        return "is longer than 55 characters";
    if (is_zero(out->trace_id, sizeof out->trace_id))
        return "has a trace id of zeros";
    return is_zero(out->span_id, sizeof out->span_id) ? "has a span id of zeros" : NULL;
}

cronq_status cq_trace_parse(cq_str text, cq_trace *out, cronq_error *err)
{
    cq_trace trace;
    const char *wrong = parse(text, &trace);
    char shown[CQ_QUOTED_ROOM];

    if (wrong)
        return cq_fail(err, CRONQ_EINVAL, "traceparent %s %s", cq_quoted(text, shown),
                       wrong);
    trace.flags &= CQ_TRACE_FLAG_SAMPLED; /* the others must go out as zero */
    *out = trace;
    return CRONQ_OK;
}

void cq_trace_format(const cq_trace *trace, char out[CQ_TRACEPARENT_LEN + 1])
{
    memcpy(out, "00-", TRACE_ID_AT);
    write_hex(out + TRACE_ID_AT, trace->trace_id, sizeof trace->trace_id);
    out[SPAN_ID_AT - 1] = '-';
    write_hex(out + SPAN_ID_AT, trace->span_id, sizeof trace->span_id);
    out[FLAGS_AT - 1] = '-';
    write_hex(out + FLAGS_AT, &trace->flags, 1);
    out[CQ_TRACEPARENT_LEN] = '\0';
}

void cq_trace_format_ids(const cq_trace *trace, char trace_id[33], char span_id[17])
{
    write_hex(trace_id, trace->trace_id, sizeof trace->trace_id);
    trace_id[32] = '\0';
    write_hex(span_id, trace->span_id, sizeof trace->span_id);
    span_id[16] = '\0';
}
