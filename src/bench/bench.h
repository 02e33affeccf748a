/* SPDX-License-Identifier: MIT */
/* bench/bench.h - measurements, each beside a reference in the same run.
 *
 * A section is a table of series that take turns in each round: so what disturbs the
 * machine disturbs all of them. Its rows hold the medians of the rounds, and of the
 * ratios that were formed round by round. Everything happens in queues of its own,
 * "cronq-bench-PID…", which are emptied. */
#ifndef CQ_BENCH_BENCH_H
#define CQ_BENCH_BENCH_H

#include "base/buf.h"
#include "net/conn.h"

#include <cronq/server.h>

struct sqlite3;

typedef struct cq_bench_options {
    const char *uri;
    const char *only;     /* the sections and rows whose keys start so; NULL: all */
    uint32_t rounds;      /* interleaved; medians are of these */
    uint32_t task_count;  /* a round */
    uint32_t concurrency; /* workers */
    uint32_t payload_bytes;
    uint32_t most; /* of the greatest size of a section; 0: its own */
} cq_bench_options;

/* What one run of a series gave. Costs are a task's, CPU time of user and system. */
typedef struct cq_bench_sample {
    double value;            /* 0: it can not be measured here, and there is no row */
    double own_us, store_us; /* negative: not known */
    double allocations;      /* negative: not counted */
} cq_bench_sample;

typedef struct cq_bench_series cq_bench_series;
typedef cronq_status cq_bench_fn(const cq_bench_options *options,
                                 const cq_bench_series *series, cq_bench_sample *out,
                                 cronq_error *err);

/* A row to be. Of a ratio at least `wanted` is wanted, or without one of the value; of a
 * value at most, when that is what is better. */
struct cq_bench_series {
    const char *key, *name, *unit;
    cq_bench_fn *run;
    int64_t arg;        /* for run to interpret */
    const char *beside; /* key of the series that its ratio is to, or NULL */
    double wanted;      /* 0: nothing is */
    bool at_most;
};

typedef struct cq_bench_spread {
    double lowest, median, highest;
} cq_bench_spread;

typedef struct cq_bench_row {
    const char *section, *key, *name, *unit, *beside;
    cq_bench_spread value, ratio;
    double wanted;
    bool at_most;
    double own_us, store_us, allocations; /* medians; negative: not known */
} cq_bench_row;

#define CQ_BENCH_ROWS 128
typedef struct cq_bench_report {
    cq_bench_row rows[CQ_BENCH_ROWS];
    size_t count;
} cq_bench_report;

/* ---- suite.c ---- */

/* Run the series of a section in turns and append its rows. */
cronq_status cq_bench_rounds(const cq_bench_options *options, const char *section,
                             const cq_bench_series *series, size_t count,
                             cq_bench_report *report, cronq_error *err);
/* Is anything of that section, or that row of it, asked for? key may be NULL. */
bool cq_bench_wanted(const cq_bench_options *options, const char *section,
                     const char *key);
/* Append a row of one value without rounds. */
void cq_bench_add(cq_bench_report *report, const char *section,
                  const cq_bench_series *series, double value);
cq_bench_spread cq_bench_spread_of(double *values, size_t count); /* sorts values */

/* CPU time and allocations between two moments. */
typedef struct cq_bench_meter {
    int64_t begun_ns;
    double own_us, store_us, allocations;
} cq_bench_meter;

void cq_bench_meter_start(cq_bench_meter *meter, const char *uri);
/* *out gets the rate since the start, and the costs of one of count tasks. */
void cq_bench_meter_stop(const cq_bench_meter *meter, const char *uri, double count,
                         cq_bench_sample *out);
/* The costs only. */
void cq_bench_meter_costs(const cq_bench_meter *meter, const char *uri, double count,
                          cq_bench_sample *out);
double cq_bench_own_cpu_us(void);

/* ---- report.c ---- */

void cq_bench_put_table(const cq_bench_report *report, cq_buf *out);
void cq_bench_put_json(const cq_bench_report *report, cq_buf *out);
void cq_bench_put_svg(const cq_bench_report *report, const char *title, cq_buf *out);

/* ---- the sections ---- */

cronq_status cq_bench_throughput(const cq_bench_options *options, cq_bench_report *report,
                                 cronq_error *err);
cronq_status cq_bench_latency(const cq_bench_options *options, uint32_t pick_up_count,
                              uint32_t due_count, cq_bench_report *report,
                              cronq_error *err);

/* witness.c: redis-benchmark -P 16; a value of 0 where it can not run. */
cq_bench_fn cq_bench_witness;
/* idlers.c, Redis only: so many idle workers. */
cronq_status cq_bench_idlers(const cq_bench_options *options, uint32_t many,
                             uint32_t pushes, cq_bench_report *report, cronq_error *err);
/* ticks.c: so many seconds. */
cronq_status cq_bench_ticks(const cq_bench_options *options, uint32_t count,
                            cq_bench_report *report, cronq_error *err);
cronq_status cq_bench_push_run(const cq_bench_options *options, cq_bench_report *report,
                               cronq_error *err);

/* How the rate depends on how much there is of something. */
cronq_status cq_bench_scale(const cq_bench_options *options, cq_bench_report *report,
                            cronq_error *err);
extern const cq_bench_series cq_bench_held_series[2];

/* push.c: push task_count tasks with so many threads, one by one or in batches of 100. */
cronq_status cq_bench_push(const cq_bench_options *options, const char *queue,
                           uint32_t threads, bool in_batches, cronq_error *err);

/* process.c: work a queue off with cronq; PUSHING: which is filled meanwhile; CHILDREN:
 * handlers are called in child processes. */
enum {
    CQ_BENCH_AHEAD = 1,
    CQ_BENCH_METRICS = 2,
    CQ_BENCH_PUSHING = 4,
    CQ_BENCH_OBSERVED = 8,         /* metrics, one trace in 100 exported, logs at info */
    CQ_BENCH_RECEIVER_SILENT = 16, /* of the traces: takes them, and never answers */
    CQ_BENCH_RECEIVER_GONE = 32,
    CQ_BENCH_CHILDREN = 64,
};
cronq_status cq_bench_process(const cq_bench_options *options, const char *queue,
                              int flags, cq_bench_sample *out, cronq_error *err);

cronq_status cq_bench_process_queues(const cq_bench_options *options,
                                     const cronq_queue *queues, size_t count, int flags,
                                     cq_bench_sample *out, cronq_error *err);

/* The bare loop, the least that a worker of this format must do: one connection, batches
 * of 128, two in flight, minimal scripts. Works off task_count pending tasks of the
 * queue; *rate is tasks a second. */
cronq_status cq_bare_redis(const char *uri, const char *queue, uint32_t task_count,
                           double *rate, cronq_error *err);

/* The same on a SQLite file, a transaction a batch. */
cronq_status cq_bare_sqlite(const char *uri, const char *queue, uint32_t task_count,
                            double *rate, cronq_error *err);

/* bare_push.c */
cronq_status cq_bare_push_redis(const cq_bench_options *options, const char *queue,
                                double *rate, cronq_error *err);
cronq_status cq_bare_push_sqlite(const cq_bench_options *options, const char *queue,
                                 double *rate, cronq_error *err);

/* ---- sqlite.c. open: as the store does, for reading and writing its tables. ---- */

bool cq_bench_is_sqlite(const char *uri);
cronq_status cq_bench_sqlite_open(const char *uri, struct sqlite3 **out,
                                  cronq_error *err);
cronq_status cq_bench_sqlite_empty(const char *uri, const char *queue, cronq_error *err);

/* ---- common.c ---- */

const char *cq_bench_queue(char name[64]);
/* A connection to the node of a Redis store that holds the queue. */
cronq_status cq_bench_connect(const char *uri, const char *queue, cq_conn **out,
                              cronq_error *err);
/* A server of one queue that runs tasks of type "bench" by handler, started. */
cronq_status cq_bench_serve(const cq_bench_options *options, const char *queue,
                            cronq_handler *handler, void *arg, cronq_server **out,
                            cronq_error *err);
/* Delete all that is of the queue. */
cronq_status cq_bench_empty(const char *uri, const char *queue, cronq_error *err);

#endif
