/* SPDX-License-Identifier: MIT */
/* render.c - metrics as text: Prometheus's 0.0.4 and OpenMetrics 1.0.
 *
 * They differ in what a counter is called in its description, in how bounds are written,
 * and in the last line. */
#include "base/buf.h"
#include "base/error.h"
#include "obs/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_LIMIT_BYTES ((size_t)64 << 20)

typedef struct page {
    cq_buf text;
    bool open_metrics;
    const char *name; /* of the sample before; borrowed: compared as a pointer first */
} page;

/* help: in HELP lines quotes stay. */
static void append_escaped(cq_buf *out, const char *text, bool quotes)
{
    for (; *text; text++) {
        if (*text == '\n')
            cq_buf_append_text(out, "\\n");
        else if (*text == '\\' || (quotes && *text == '"'))
            cq_buf_printf(out, "\\%c", *text);
        else
            cq_buf_append_char(out, *text);
    }
}

/* The shortest of two forms that reads back. */
static void append_fraction(cq_buf *out, double value)
{
    char text[32];

    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, "%.17g", value);
    cq_buf_append_text(out, text);
}

static void append_value(cq_buf *out, double value)
{
    if (isnan(value))
        cq_buf_append_text(out, "NaN");
    else if (isinf(value))
        cq_buf_append_text(out, value > 0 ? "+Inf" : "-Inf");
    else if (fabs(value) < 9007199254740992.0 && value == floor(value))
        cq_buf_append_int(out, (int64_t)value);
    else
        append_fraction(out, value);
}

static void describe(page *p, const cronq_metric_sample *sample)
{
    static const char *const kinds[] = { "counter", "gauge", "histogram" };
    int len = (int)strlen(sample->name);

    if (p->open_metrics && sample->kind == CRONQ_METRIC_COUNTER)
        len -= (int)strlen("_total");
    cq_buf_printf(&p->text, "# HELP %.*s ", len, sample->name);
    append_escaped(&p->text, sample->help, p->open_metrics);
    cq_buf_printf(&p->text, "\n# TYPE %.*s %s\n", len, sample->name, kinds[sample->kind]);
}

static void append_label(page *p, const cronq_metric_label *label)
{
    cq_buf_append_text(&p->text, label->name);
    cq_buf_append_text(&p->text, "=\"");
    append_escaped(&p->text, label->value, true);
    if (p->open_metrics && strcmp(label->name, "le") == 0 &&
        !strpbrk(label->value, ".eI"))
        cq_buf_append_text(&p->text, ".0");
    cq_buf_append_char(&p->text, '"');
}

static void append_sample(void *arg, const cronq_metric_sample *sample)
{
    page *p = arg;

    if (sample->name != p->name)
        describe(p, sample);
    p->name = sample->name;
    cq_buf_append_text(&p->text, sample->name);
    cq_buf_append_text(&p->text, sample->suffix);
    for (size_t i = 0; i < sample->label_count; i++) {
        cq_buf_append_char(&p->text, i ? ',' : '{');
        append_label(p, &sample->labels[i]);
    }
    cq_buf_append_text(&p->text, sample->label_count ? "} " : " ");
    append_value(&p->text, sample->value);
    cq_buf_append_char(&p->text, '\n');
}

const char *cronq_metrics_content_type(cronq_metrics_format format)
{
    if (format == CRONQ_METRICS_OPENMETRICS)
        return "application/openmetrics-text; version=1.0.0; charset=utf-8";
    return "text/plain; version=0.0.4; charset=utf-8";
}

cronq_status cronq_metrics_render(cronq_metrics *metrics, cronq_metrics_format format,
                                  char **text, size_t *len, cronq_error *err)
{
    page p = { .open_metrics = format == CRONQ_METRICS_OPENMETRICS };
    cronq_status status;

    if (!text || !len)
        return cq_fail(err, CRONQ_EINVAL, "%s is NULL", text ? "len" : "text");
    if ((unsigned)format > CRONQ_METRICS_OPENMETRICS)
        return cq_fail(err, CRONQ_EINVAL, "format: %d is none", (int)format);
    cq_buf_init(&p.text, TEXT_LIMIT_BYTES);
    status = cronq_metrics_each(metrics, append_sample, &p, err);
    if (!status && p.open_metrics)
        cq_buf_append_text(&p.text, "# EOF\n");
    if (!status && !cq_buf_text(&p.text))
        status = cq_fail(err, p.text.status, "metrics: no memory for their text");
    if (status) {
        cq_buf_release(&p.text);
        return status;
    }
    *len = p.text.len;
    *text = p.text.data; /* buffers are malloc's */
    return CRONQ_OK;
}
