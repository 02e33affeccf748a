/* SPDX-License-Identifier: MIT */
/* cronq/metrics.h - counters, gauges and histograms, and their text for Prometheus.
 *
 * A program makes one registry and gives it to the options of its servers, clients and
 * schedulers; without one nothing is recorded. docs/metrics.md lists what they record. */
#ifndef CRONQ_METRICS_H
#define CRONQ_METRICS_H

#include "base.h"

CRONQ_BEGIN

/* Safe to share between threads; recording takes no lock. Series are bounded: at most 200
 * task types are told apart, later ones are counted as "other". */
typedef struct cronq_metrics cronq_metrics;

cronq_status cronq_metrics_new(cronq_metrics **out, cronq_error *err) CRONQ_CHECKED;
/* NULL is fine. Whoever was given it must be freed before. */
void cronq_metrics_free(cronq_metrics *metrics);

typedef enum cronq_metrics_format {
    CRONQ_METRICS_TEXT = 0,       /* text/plain; version=0.0.4 */
    CRONQ_METRICS_OPENMETRICS = 1 /* application/openmetrics-text; version=1.0.0 */
} cronq_metrics_format;

/* The value of Content-Type. Never NULL. */
const char *cronq_metrics_content_type(cronq_metrics_format format);

/* All metrics as text: *text is NUL-terminated, freed with free(). Asks the store for the
 * sizes of the queues that are served, unless it did so within the last second, and so
 * may take as long as the store's read timeout; without a store they are left out. */
cronq_status cronq_metrics_render(cronq_metrics *metrics, cronq_metrics_format format,
                                  char **text, size_t *len, cronq_error *err)
    CRONQ_CHECKED;

typedef enum cronq_metric_kind {
    CRONQ_METRIC_COUNTER = 0,
    CRONQ_METRIC_GAUGE = 1,
    CRONQ_METRIC_HISTOGRAM = 2
} cronq_metric_kind;

typedef struct cronq_metric_label {
    const char *name, *value; /* the value is valid UTF-8 */
} cronq_metric_label;

/* One value. Everything is borrowed for the call. */
typedef struct cronq_metric_sample {
    size_t struct_size;
    const char *name, *help;
    cronq_metric_kind kind;
    const char *suffix; /* "", or of histograms "_bucket", "_sum", "_count" */
    const cronq_metric_label *labels;
    size_t label_count;
    double value;
} cronq_metric_sample;

typedef void cronq_metric_fn(void *arg, const cronq_metric_sample *sample);

/* What the text is made of: calls visit for each value, those of a name together. It must
 * not call back into the registry. Blocks as cronq_metrics_render does. */
cronq_status cronq_metrics_each(cronq_metrics *metrics, cronq_metric_fn *visit, void *arg,
                                cronq_error *err) CRONQ_CHECKED;

/* A metric of the program's own: read is called each time, from any thread. A counter's
 * name ends with _total; histograms are refused. Copies the texts. EINVAL, EEXIST; at
 * most 1,000. */
typedef double cronq_metric_read_fn(void *arg);
cronq_status cronq_metrics_watch(cronq_metrics *metrics, const char *name,
                                 const char *help, cronq_metric_kind kind,
                                 cronq_metric_read_fn *read, void *arg, cronq_error *err)
    CRONQ_CHECKED;
/* read is not called any more when this returns. An unknown name is fine. */
void cronq_metrics_unwatch(cronq_metrics *metrics, const char *name);

CRONQ_END
#endif /* CRONQ_METRICS_H */
