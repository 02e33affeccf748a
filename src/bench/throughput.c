/* SPDX-License-Identifier: MIT */
/* throughput.c - tasks a second: pushed, worked off, and both at once. */
#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"

enum { BARE = -1 };

static cronq_status bare(const cq_bench_options *options, const char *queue,
                         cq_bench_sample *out, cronq_error *err)
{
    cq_bench_meter meter;
    cronq_status status;
    double rate = 0;

    cq_bench_meter_start(&meter, options->uri);
    status = (cq_bench_is_sqlite(options->uri) ? cq_bare_sqlite : cq_bare_redis)(
        options->uri, queue, options->task_count, &rate, err);
    cq_bench_meter_costs(&meter, options->uri, options->task_count, out);
    out->value = rate;
    return status;
}

static cronq_status process(const cq_bench_options *options,
                            const cq_bench_series *series, cq_bench_sample *out,
                            cronq_error *err)
{
    char name[64];
    const char *queue = cq_bench_queue(name);
    cronq_status status = cq_bench_push(options, queue, 1, true, err);

    if (!status && series->arg == BARE)
        status = bare(options, queue, out, err);
    else if (!status)
        status = cq_bench_process(options, queue, (int)series->arg, out, err);
    cq_bench_empty(options->uri, queue, NULL);
    return status;
}

static const cq_bench_series process_series[] = {
    { "witness", "redis-benchmark -P 16, SET", "calls/s", cq_bench_witness, 0, NULL, 0,
      false },
    { "bare", "bare loop", "tasks/s", process, BARE, NULL, 0, false },
    { "cronq", "cronq", "tasks/s", process, CQ_BENCH_AHEAD, "bare", 0.85, false },
    { "metrics", "cronq, with metrics", "tasks/s", process,
      CQ_BENCH_AHEAD | CQ_BENCH_METRICS, "cronq", 0, false },
    { "not_ahead", "cronq, nothing taken ahead", "tasks/s", process, 0, "bare", 0,
      false },
    { "children", "cronq, handlers in processes", "tasks/s", process,
      CQ_BENCH_AHEAD | CQ_BENCH_CHILDREN, "cronq", 0, false },
};

/* Pushed in batches by one thread while ten handlers work. */
static cronq_status flow(const cq_bench_options *options, const cq_bench_series *series,
                         cq_bench_sample *out, cronq_error *err)
{
    char name[64];
    const char *queue = cq_bench_queue(name);
    cronq_status status =
        cq_bench_process(options, queue, CQ_BENCH_AHEAD | CQ_BENCH_PUSHING, out, err);

    (void)series;
    cq_bench_empty(options->uri, queue, NULL);
    return status;
}

static const cq_bench_series flow_series[] = {
    { "cronq", "pushed and worked off at once", "tasks/s", flow, 0, NULL, 60000, false },
};

/* What it costs to be watched, and what it costs when nobody takes the traces. */
static const cq_bench_series observed_series[] = {
    { "off", "nothing watches", "tasks/s", process, CQ_BENCH_AHEAD, NULL, 0, false },
    { "on", "metrics, traces, logs", "tasks/s", process,
      CQ_BENCH_AHEAD | CQ_BENCH_OBSERVED, "off", 0.92, false },
    { "silent", "receiver never answers", "tasks/s", process,
      CQ_BENCH_AHEAD | CQ_BENCH_OBSERVED | CQ_BENCH_RECEIVER_SILENT, "on", 0.97, false },
    { "gone", "receiver is gone", "tasks/s", process,
      CQ_BENCH_AHEAD | CQ_BENCH_OBSERVED | CQ_BENCH_RECEIVER_GONE, "on", 0.97, false },
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

cronq_status cq_bench_throughput(const cq_bench_options *options, cq_bench_report *report,
                                 cronq_error *err)
{
    cronq_status status = cq_bench_push_run(options, report, err);

    if (!status)
        status = cq_bench_rounds(options, "process", process_series,
                                 COUNT(process_series), report, err);
    if (!status)
        status = cq_bench_rounds(options, "flow", flow_series, COUNT(flow_series), report,
                                 err);
    if (!status)
        status = cq_bench_rounds(options, "observed", observed_series,
                                 COUNT(observed_series), report, err);
    return status;
}
