/* SPDX-License-Identifier: MIT */
/* bench/bench.h - measurements, each beside a reference in the same run.
 *
 * Everything happens in a queue of its own, "cronq-bench-PID", which is emptied. */
#ifndef CQ_BENCH_BENCH_H
#define CQ_BENCH_BENCH_H

#include <cronq/base.h>

struct sqlite3;

typedef struct cq_bench_options {
    const char *uri;
    uint32_t rounds;      /* interleaved; medians are of these */
    uint32_t task_count;  /* a round */
    uint32_t concurrency; /* workers */
    uint32_t payload_bytes;
} cq_bench_options;

typedef struct cq_bench_spread {
    double lowest, median, highest;
} cq_bench_spread;

/* Tasks a second of a full queue of no-op tasks: the bare loop, cronq, cronq with
 * metrics, and cronq without taking ahead, one after the other in each round. */
typedef struct cq_bench_throughput {
    cq_bench_spread bare, ours, not_ahead, measured;
    cq_bench_spread ratio, not_ahead_ratio; /* to bare, round by round */
    cq_bench_spread measured_ratio;         /* to ours */
} cq_bench_throughput;

cronq_status cq_bench_throughput_run(const cq_bench_options *options,
                                     cq_bench_throughput *out, cronq_error *err);

/* A distribution in microseconds. */
#define CQ_BENCH_BUCKETS 16
typedef struct cq_bench_latency {
    uint32_t count;
    double p50_us, p90_us, p99_us, max_us;
    uint32_t
        histogram[CQ_BENCH_BUCKETS]; /* bucket i: below 2^(i+4) us; the last: the rest */
} cq_bench_latency;

typedef struct cq_bench_latencies {
    cq_bench_latency
        pick_up; /* from before the push until the handler runs, idle worker */
    cq_bench_latency lateness; /* of due tasks, after their whole second */
    double idle_cpu_percent;   /* of a core, of this process while it waits */
    double idle_private_dirty_mib;
} cq_bench_latencies;

cronq_status cq_bench_latency_run(const cq_bench_options *options, uint32_t pick_up_count,
                                  uint32_t due_count, cq_bench_latencies *out,
                                  cronq_error *err);

/* The bare loop, the least that a worker of this format must do: one connection, batches
 * of 128, two in flight, minimal scripts. Works off task_count pending tasks of the
 * queue; *rate is tasks a second. */
cronq_status cq_bare_redis(const char *uri, const char *queue, uint32_t task_count,
                           double *rate, cronq_error *err);

/* The same on a SQLite file, a transaction a batch. */
cronq_status cq_bare_sqlite(const char *uri, const char *queue, uint32_t task_count,
                            double *rate, cronq_error *err);

/* sqlite.c. open: as the store does, for reading and writing its tables. */
bool cq_bench_is_sqlite(const char *uri);
cronq_status cq_bench_sqlite_open(const char *uri, struct sqlite3 **out,
                                  cronq_error *err);
cronq_status cq_bench_sqlite_empty(const char *uri, const char *queue, cronq_error *err);

/* Shared by the measurements. */
cq_bench_spread cq_bench_spread_of(double *values, size_t count); /* sorts values */
const char *cq_bench_queue(char name[64]);
/* Delete all that is of the queue. */
cronq_status cq_bench_empty(const char *uri, const char *queue, cronq_error *err);
cronq_status cq_bench_fill(const cq_bench_options *options, const char *queue,
                           cronq_error *err);

#endif
