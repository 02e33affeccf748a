/* SPDX-License-Identifier: MIT */
/* bench/gear.h - what watches a server while it is measured: metrics, traces, logs, and a
 * receiver of the traces. */
#ifndef CQ_BENCH_GEAR_H
#define CQ_BENCH_GEAR_H

#include <cronq/log.h>
#include <cronq/metrics.h>
#include <cronq/otlp.h>
#include <cronq/trace.h>

#define CQ_BENCH_SAMPLE_RATIO 0.01

typedef struct cq_bench_receiver cq_bench_receiver;

typedef struct cq_bench_gear {
    cronq_metrics *metrics;
    cronq_log_file *log;
    cronq_logger logger;
    cronq_otlp *otlp;
    cronq_tracer *tracer;
    cq_bench_receiver *receiver;
} cq_bench_gear;

/* What the flags of cq_bench_process ask for. Close it in either case. */
cronq_status cq_bench_gear_open(cq_bench_gear *gear, int flags, cronq_error *err);
void cq_bench_gear_close(cq_bench_gear *gear);

/* ---- receiver.c: of OTLP over HTTP; it counts nothing and keeps nothing ---- */

/* One that is silent takes requests and never answers. */
cronq_status cq_bench_receiver_start(bool is_silent, cq_bench_receiver **out,
                                     cronq_error *err);
uint16_t cq_bench_receiver_port(const cq_bench_receiver *receiver);
void cq_bench_receiver_stop(cq_bench_receiver *receiver); /* NULL is fine */

#endif
