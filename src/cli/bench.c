/* SPDX-License-Identifier: MIT */
/* cli/bench.c - cronq bench throughput, cronq bench latency. */
#include "bench/bench.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#define OUT_LIMIT    (1 << 20)
#define IDLER_PUSHES 50

static const cq_cli_option throughput_options[] = {
    { "rounds", 'r', "N", CQ_CLI_INT, 1, 99, "5", "rounds; medians are of these", false },
    { "tasks", 'n', "N", CQ_CLI_INT, 1000, 10000000, "60000", "tasks a round", false },
    { "workers", 'w', "N", CQ_CLI_INT, 1, 10000, "10", "handlers at once", false },
    { "payload", 'p', "BYTES", CQ_CLI_INT, 0, 1048576, "100", "bytes of each task",
      false },
    { "only", 'o', "SECTION[.ROW]", CQ_CLI_TEXT, 0, 0, NULL, "only this part", false },
    { "svg", 0, "FILE", CQ_CLI_FILE, 0, 0, NULL, "draw it, too", false },
    { 0 },
};

static const cq_cli_option scale_options[] = {
    { "rounds", 'r', "N", CQ_CLI_INT, 1, 99, "3", "rounds; medians are of these", false },
    { "tasks", 'n', "N", CQ_CLI_INT, 1000, 10000000, "30000", "tasks a round", false },
    { "workers", 'w', "N", CQ_CLI_INT, 1, 10000, "10", "handlers at once", false },
    { "payload", 'p', "BYTES", CQ_CLI_INT, 0, 1048576, "100", "bytes of each task",
      false },
    { "most", 'm', "N", CQ_CLI_INT, 1000, 10000000, "100000", "the long backlog", false },
    { "only", 'o', "SECTION[.ROW]", CQ_CLI_TEXT, 0, 0, NULL, "only this part", false },
    { "svg", 0, "FILE", CQ_CLI_FILE, 0, 0, NULL, "draw it, too", false },
    { 0 },
};

static const cq_cli_option latency_options[] = {
    { "count", 'n', "N", CQ_CLI_INT, 1, 100000, "500", "tasks pushed to an idle worker",
      false },
    { "due", 'd', "N", CQ_CLI_INT, 0, 100000, "40", "tasks that fall due, four a second",
      false },
    { "ticks", 't', "N", CQ_CLI_INT, 0, 3600, "5", "ticks of a cron entry, one a second",
      false },
    { "idlers", 'i', "N", CQ_CLI_INT, 0, 1000, "0",
      "idle workers at one push, on Redis: what they send", false },
    { "workers", 'w', "N", CQ_CLI_INT, 1, 10000, "10", "handlers at once", false },
    { "svg", 0, "FILE", CQ_CLI_FILE, 0, 0, NULL, "draw it, too", false },
    { 0 },
};

/* The picture that was asked for. */
static int write_svg(cq_cli *cli, const cq_bench_report *report)
{
    const char *path = cq_cli_text(cli, "svg");
    FILE *file;
    cq_buf out;
    bool written;

    if (!path)
        return CQ_CLI_OK;
    cq_buf_init(&out, OUT_LIMIT);
    cq_bench_put_svg(report, cli->path, &out);
    file = fopen(path, "w");
    written = file && cq_buf_text(&out) && fwrite(out.data, 1, out.len, file) == out.len;
    if (file && fclose(file))
        written = false;
    cq_buf_release(&out);
    return written ? CQ_CLI_OK
                   : cq_cli_fail(cli, CQ_CLI_RUNTIME, "%s: cannot be written", path);
}

static int show(cq_cli *cli, const cq_bench_report *report)
{
    int code = write_svg(cli, report);
    cq_buf out;

    if (code)
        return code;
    cq_buf_init(&out, OUT_LIMIT);
    if (cli->json)
        cq_bench_put_json(report, &out);
    else
        cq_bench_put_table(report, &out);
    return cq_cli_print(cli, &out);
}

static cq_bench_options options_of(cq_cli *cli, uint32_t most)
{
    return (cq_bench_options){
        .uri = cq_cli_need_uri(cli),
        .only = cq_cli_text(cli, "only"),
        .rounds = (uint32_t)cq_cli_number(cli, "rounds", 0),
        .task_count = (uint32_t)cq_cli_number(cli, "tasks", 0),
        .concurrency = (uint32_t)cq_cli_number(cli, "workers", 0),
        .payload_bytes = (uint32_t)cq_cli_number(cli, "payload", 0),
        .most = most,
    };
}

typedef cronq_status bench_fn(const cq_bench_options *options, cq_bench_report *report,
                              cronq_error *err);

static int run_suite(cq_cli *cli, bench_fn *suite, uint32_t most)
{
    cq_bench_options options = options_of(cli, most);
    cq_bench_report report = { .count = 0 };
    cronq_error err;

    if (!options.uri)
        return CQ_CLI_USAGE;
    if (suite(&options, &report, &err))
        return cq_cli_report(cli, &err);
    return show(cli, &report);
}

static int run_throughput(cq_cli *cli)
{
    return run_suite(cli, cq_bench_throughput, 0);
}

static int run_scale(cq_cli *cli)
{
    return run_suite(cli, cq_bench_scale, (uint32_t)cq_cli_number(cli, "most", 0));
}

static cronq_status measure_latency(cq_cli *cli, const cq_bench_options *options,
                                    cq_bench_report *report, cronq_error *err)
{
    uint32_t idlers = (uint32_t)cq_cli_number(cli, "idlers", 0);
    cronq_status status =
        cq_bench_latency(options, (uint32_t)cq_cli_number(cli, "count", 0),
                         (uint32_t)cq_cli_number(cli, "due", 0), report, err);

    if (!status)
        status = cq_bench_ticks(options, (uint32_t)cq_cli_number(cli, "ticks", 0), report,
                                err);
    if (!status && idlers && strncmp(options->uri, "redis-cluster", 13) != 0 &&
        !cq_bench_is_sqlite(options->uri)) /* these two are not told: they look */
        status = cq_bench_idlers(options, idlers, IDLER_PUSHES, report, err);
    return status;
}

static int run_latency(cq_cli *cli)
{
    cq_bench_options options = {
        .uri = cq_cli_need_uri(cli),
        .concurrency = (uint32_t)cq_cli_number(cli, "workers", 0),
    };
    cq_bench_report report = { .count = 0 };
    cronq_error err;

    if (!options.uri)
        return CQ_CLI_USAGE;
    if (measure_latency(cli, &options, &report, &err))
        return cq_cli_report(cli, &err);
    return show(cli, &report);
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

static const cq_cli_command scale = {
    .name = "scale",
    .summary = "The same with much: backlog, active tasks, queues, payloads",
    .details = "Each row runs beside the same with little of it, in the same round.",
    .options = scale_options,
    .run = run_scale,
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
    .verbs = (const cq_cli_command *const[]){ &throughput, &latency, &scale, NULL },
};
