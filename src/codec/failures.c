/* SPDX-License-Identifier: MIT */
/* failures.c - the last failures of a task as lines of text. */
#include "codec/failures.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

/* ---- writing ---- */

static void append_escaped(cq_buf *out, cq_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (c == '\n' || c == '\\')
            cq_buf_append_char(out, '\\');
        cq_buf_append_char(out, c == '\n' ? 'n' : c ? c : '?');
    }
}

void cq_failure_append(cq_buf *out, const cronq_failure *failure)
{
    const char *host = failure->host && failure->host[0] ? failure->host : "-";
    cq_buf text;

    cq_buf_init(&text, CQ_FAILURE_TEXT_LIMIT_BYTES);
    cq_utf8_repair(&text, failure->text, strlen(failure->text),
                   CQ_FAILURE_TEXT_LIMIT_BYTES);
    cq_buf_printf(out, "%lld %d ", (long long)failure->at_ms, failure->attempt);
    for (; *host; host++)
        cq_buf_append_char(out, (unsigned char)*host <= ' ' ? '_' : *host);
    cq_buf_append_char(out, ' ');
    append_escaped(out, cq_buf_str(&text));
    cq_buf_release(&text);
}

void cq_failures_append(cq_buf *out, cronq_bytes line, cronq_bytes before)
{
    const char *at = before.data, *end = at + before.len;
    size_t kept = 1;

    cq_buf_append(out, line.data, line.len);
    while (at < end && kept++ < CQ_FAILURES_LIMIT) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));

        stop = stop ? stop : end;
        cq_buf_append_char(out, '\n');
        cq_buf_append(out, at, (size_t)(stop - at));
        at = stop < end ? stop + 1 : end;
    }
}

/* ---- reading ---- */

static void unescape(char *text)
{
    char *to = text;

    for (; *text; text++) {
        if (*text == '\\' && text[1]) {
            text++;
            *to++ = *text == 'n' ? '\n' : *text;
        } else {
            *to++ = *text;
        }
    }
    *to = '\0';
}

static bool read_line(char *line, cronq_failure *out)
{
    char *end, *host, *text;

    out->at_ms = strtoll(line, &end, 10);
    if (end == line || *end != ' ')
        return false;
    line = end + 1;
    out->attempt = (int32_t)strtol(line, &end, 10);
    if (end == line || *end != ' ')
        return false;
    host = end + 1;
    text = strchr(host, ' ');
    if (!text || text == host)
        return false;
    *text++ = '\0';
    unescape(text);
    out->host = host;
    out->text = text;
    return true;
}

size_t cq_failures_read(char *lines, size_t len, cronq_failure out[CQ_FAILURES_LIMIT])
{
    char *rest = NULL;
    size_t count = 0;

    lines[len] = '\0';
    for (char *line = strtok_r(lines, "\n", &rest); line && count < CQ_FAILURES_LIMIT;
         line = strtok_r(NULL, "\n", &rest))
        count += read_line(line, &out[count]);
    return count;
}
