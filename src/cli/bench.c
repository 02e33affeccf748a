/* SPDX-License-Identifier: MIT */
/* cli/bench.c - cronq bench throughput, cronq bench latency. */
#include "bench/bench.h"
#include "base/json.h"
#include "cli/cli.h"

#define OUT_LIMIT (1 << 20)
#define BAR_WIDTH 50

static const cq_cli_option throughput_options[] = {
    { "rounds", 'r', "N", CQ_CLI_INT, 1, 99, "5", "rounds; medians are of these", false },
    { "tasks", 'n', "N", CQ_CLI_INT, 1000, 10000000, "60000", "tasks a round", false },
    { "workers", 'w', "N", CQ_CLI_INT, 1, 10000, "10", "handlers at once", false },
    { "payload", 'p', "BYTES", CQ_CLI_INT, 0, 1048576, "100", "bytes of each task",
      false },
    { 0 },
};

static const cq_cli_option latency_options[] = {
    { "count", 'n', "N", CQ_CLI_INT, 1, 100000, "500", "tasks pushed to an idle worker",
      false },
    { "due", 'd', "N", CQ_CLI_INT, 0, 100000, "40", "tasks that fall due, four a second",
      false },
    { "workers", 'w', "N", CQ_CLI_INT, 1, 10000, "10", "handlers at once", false },
    { 0 },
};

static void put_spread(cq_buf *out, bool json, const char *name,
                       const cq_bench_spread *spread, const char *format)
{
    if (!json) {
        cq_buf_printf(out, "%-28s", name);
        cq_buf_printf(out, format, spread->lowest, spread->median, spread->highest);
        return;
    }
    cq_json_key(out, name);
    cq_json_open(out, '{');
    cq_json_key(out, "min");
    cq_json_double(out, spread->lowest);
    cq_json_key(out, "median");
    cq_json_double(out, spread->median);
    cq_json_key(out, "max");
    cq_json_double(out, spread->highest);
    cq_json_close(out, '}');
}

static void put_throughput(cq_buf *out, bool json, const cq_bench_throughput *result)
{
    static const char rates[] = "%11.0f %11.0f %11.0f\n",
                      ratios[] = "%11.2f %11.2f %11.2f\n";
    const struct {
        const char *name, *key;
        const cq_bench_spread *spread;
        bool ratio;
    } rows[] = {
        { "bare loop", "bare", &result->bare, false },
        { "cronq", "cronq", &result->ours, false },
        { "cronq, with metrics", "cronq_metrics", &result->measured, false },
        { "cronq, nothing taken ahead", "cronq_not_ahead", &result->not_ahead, false },
        { "ratio", "ratio", &result->ratio, true },
        { "ratio, nothing taken ahead", "ratio_not_ahead", &result->not_ahead_ratio,
          true },
        { "ratio of metrics to none", "ratio_metrics", &result->measured_ratio, true },
    };

    if (json)
        cq_json_open(out, '{');
    else
        cq_buf_printf(out, "%-28s%11s %11s %11s\n", "tasks a second", "min", "median",
                      "max");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        put_spread(out, json, json ? rows[i].key : rows[i].name, rows[i].spread,
                   rows[i].ratio ? ratios : rates);
    if (json)
        cq_json_close(out, '}');
}

static int run_throughput(cq_cli *cli)
{
    cq_bench_options options = {
        .uri = cq_cli_need_uri(cli),
        .rounds = (uint32_t)cq_cli_number(cli, "rounds", 0),
        .task_count = (uint32_t)cq_cli_number(cli, "tasks", 0),
        .concurrency = (uint32_t)cq_cli_number(cli, "workers", 0),
        .payload_bytes = (uint32_t)cq_cli_number(cli, "payload", 0),
    };
    cq_bench_throughput result;
    cronq_error err;
    cq_buf out;

    if (!options.uri)
        return CQ_CLI_USAGE;
    if (cq_bench_throughput_run(&options, &result, &err))
        return cq_cli_report(cli, &err);
    cq_buf_init(&out, OUT_LIMIT);
    put_throughput(&out, cli->json, &result);
    return cq_cli_print(cli, &out);
}

static void put_histogram(cq_buf *out, const cq_bench_latency *latency)
{
    for (uint32_t i = 0; i < CQ_BENCH_BUCKETS; i++) {
        uint32_t width = latency->histogram[i] * BAR_WIDTH / latency->count;

        if (latency->histogram[i] == 0)
            continue;
        cq_buf_printf(out, "  %s %8.3f ms %6u ", i < CQ_BENCH_BUCKETS - 1 ? "< " : ">=",
                      (double)(1u << (i < CQ_BENCH_BUCKETS - 1 ? i + 4 : i + 3)) / 1000.0,
                      latency->histogram[i]);
        for (uint32_t bar = 0; bar < width; bar++)
            cq_buf_append_char(out, '#');
        cq_buf_append_char(out, '\n');
    }
}

static void put_latency(cq_buf *out, bool json, const char *name, const char *key,
                        const cq_bench_latency *latency)
{
    const struct {
        const char *name;
        double us;
    } values[] = { { "p50_us", latency->p50_us },
                   { "p90_us", latency->p90_us },
                   { "p99_us", latency->p99_us },
                   { "max_us", latency->max_us } };

    if (latency->count == 0)
        return;
    if (!json) {
        cq_buf_printf(
            out, "%s, %u tasks: p50 %.3f ms, p90 %.3f ms, p99 %.3f ms, max %.3f ms\n",
            name, latency->count, latency->p50_us / 1000, latency->p90_us / 1000,
            latency->p99_us / 1000, latency->max_us / 1000);
        put_histogram(out, latency);
        return;
    }
    cq_json_key(out, key);
    cq_json_open(out, '{');
    cq_json_key_int(out, "count", latency->count);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        cq_json_key(out, values[i].name);
        cq_json_double(out, values[i].us);
    }
    cq_json_close(out, '}');
}

static void put_latencies(cq_buf *out, bool json, const cq_bench_latencies *result)
{
    if (json)
        cq_json_open(out, '{');
    put_latency(out, json, "pick-up by an idle worker", "pick_up", &result->pick_up);
    put_latency(out, json, "start of due tasks after their second", "lateness",
                &result->lateness);
    if (!json) {
        cq_buf_printf(out, "idle: %.2f %% of a core, %.1f MiB private dirty memory",
                      result->idle_cpu_percent, result->idle_private_dirty_mib);
        return;
    }
    cq_json_key(out, "idle_cpu_percent");
    cq_json_double(out, result->idle_cpu_percent);
    cq_json_key(out, "idle_private_dirty_mib");
    cq_json_double(out, result->idle_private_dirty_mib);
    cq_json_close(out, '}');
}

static int run_latency(cq_cli *cli)
{
    cq_bench_options options = {
        .uri = cq_cli_need_uri(cli),
        .concurrency = (uint32_t)cq_cli_number(cli, "workers", 0),
    };
    cq_bench_latencies result;
    cronq_error err;
    cq_buf out;

    if (!options.uri)
        return CQ_CLI_USAGE;
    if (cq_bench_latency_run(&options, (uint32_t)cq_cli_number(cli, "count", 0),
                             (uint32_t)cq_cli_number(cli, "due", 0), &result, &err))
        return cq_cli_report(cli, &err);
    cq_buf_init(&out, OUT_LIMIT);
    put_latencies(&out, cli->json, &result);
    return cq_cli_print(cli, &out);
}

static const cq_cli_command throughput = {
    .name = "throughput",
    .summary = "No-op tasks a second from a full queue, beside a bare loop",
    .details =
        "The bare loop is the least work that moves tasks through a queue of this\n"
        "format: one connection, batches of 128, two in flight, no checks. All three\n"
        "take their turn in each round, in a queue of their own that is removed.",
    .options = throughput_options,
    .run = run_throughput,
};

static const cq_cli_command latency = {
    .name = "latency",
    .summary = "How soon an idle worker runs what is pushed or falls due",
    .options = latency_options,
    .run = run_latency,
};

const cq_cli_command cq_cli_bench = {
    .name = "bench",
    .summary = "Measure this store and this machine",
    .verbs = (const cq_cli_command *const[]){ &throughput, &latency, NULL },
};
