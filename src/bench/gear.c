/* SPDX-License-Identifier: MIT */
/* gear.c - what watches a server while it is measured. */
#include "bench/gear.h"
#include "base/error.h"
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DELAY_MS   500 /* batches of spans, more often than by default */
#define STOP_MS    50
#define CLOSED_URL "http://127.0.0.1:1/v1/traces"

/* Lines go into a file that has no name any more. */
static cronq_status open_log(cq_bench_gear *gear, cronq_error *err)
{
    char path[] = "/tmp/cronq-bench-XXXXXX";
    int fd = mkstemp(path);
    cronq_status status;

    if (fd < 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "cannot make %s", path);
    unlink(path);
    status = cronq_log_file_new(CRONQ_LOG_FILE_OPTIONS(.fd = fd), &gear->log, err);
    close(fd);
    if (!status)
        gear->logger = cronq_log_file_logger(gear->log);
    return status;
}

static cronq_status open_traces(cq_bench_gear *gear, int flags, cronq_error *err)
{
    char url[64] = CLOSED_URL;
    cronq_status status = CRONQ_OK;

    if (!(flags & CQ_BENCH_RECEIVER_GONE))
        status = cq_bench_receiver_start(flags & CQ_BENCH_RECEIVER_SILENT,
                                         &gear->receiver, err);
    if (status)
        return status;
    if (gear->receiver)
        snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/traces",
                 (unsigned)cq_bench_receiver_port(gear->receiver));
    status = cronq_otlp_new(CRONQ_OTLP_OPTIONS(.service_name = "bench", .url = url,
                                               .delay_ms = DELAY_MS,
                                               .stop_timeout_ms = STOP_MS),
                            &gear->otlp, err);
    if (status)
        return status;
    return cronq_tracer_new(CRONQ_TRACER_OPTIONS(.write = cronq_otlp_write,
                                                 .write_arg = gear->otlp,
                                                 .sample_ratio = CQ_BENCH_SAMPLE_RATIO),
                            &gear->tracer, err);
}

cronq_status cq_bench_gear_open(cq_bench_gear *gear, int flags, cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    *gear = (cq_bench_gear){ 0 };
    if (flags & (CQ_BENCH_METRICS | CQ_BENCH_OBSERVED))
        status = cronq_metrics_new(&gear->metrics, err);
    if (!status && (flags & CQ_BENCH_OBSERVED))
        status = open_log(gear, err);
    if (!status && (flags & CQ_BENCH_OBSERVED))
        status = open_traces(gear, flags, err);
    return status;
}

void cq_bench_gear_close(cq_bench_gear *gear)
{
    cronq_tracer_free(gear->tracer);
    cronq_otlp_free(gear->otlp);
    cq_bench_receiver_stop(gear->receiver);
    cronq_log_file_free(gear->log);
    cronq_metrics_free(gear->metrics);
}
