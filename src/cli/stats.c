/* SPDX-License-Identifier: MIT */
/* cli/stats.c - cronq stats: how much is in each queue.
 *
 * One table of columns makes the JSON, the table, and, where the terminal is too narrow
 * for the table, a block of lines a queue. */
#include "base/duration.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/cli.h"

#include <cronq/inspector.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FIELD(name) offsetof(cronq_queue_info, name)

/* title NULL: only in JSON. */
static const struct {
    const char *key, *title;
    size_t offset; /* of a uint64_t */
} columns[] = {
    { "pending", "PENDING", FIELD(pending_count) },
    { "active", "ACTIVE", FIELD(active_count) },
    { "scheduled", "SCHEDULED", FIELD(scheduled_count) },
    { "retry", "RETRY", FIELD(retry_count) },
    { "archived", "ARCHIVED", FIELD(archived_count) },
    { "completed", "COMPLETED", FIELD(completed_count) },
    { "aggregating", NULL, FIELD(aggregating_count) },
    { "groups", NULL, FIELD(group_count) },
    { "processed_today", "TODAY", FIELD(processed_today_count) },
    { "failed_today", "FAILED", FIELD(failed_today_count) },
    { "processed", NULL, FIELD(processed_count) },
    { "failed", NULL, FIELD(failed_count) },
};
#define COLUMN_COUNT (sizeof columns / sizeof columns[0])

typedef struct listing {
    cronq_queue_info *queues;
    size_t count;
} listing;

static uint64_t value_of(const cronq_queue_info *queue, size_t column)
{
    uint64_t value;

    memcpy(&value, (const char *)queue + columns[column].offset, sizeof value);
    return value;
}

static int print_json(const cq_cli *cli, const listing *list)
{
    cq_buf out;

    cq_buf_init(&out, (size_t)1 << 28);
    cq_json_open(&out, '{');
    cq_json_key(&out, "queues");
    cq_json_open(&out, '[');
    for (size_t i = 0; i < list->count; i++) {
        cq_json_open(&out, '{');
        cq_json_key_text(&out, "queue", list->queues[i].name);
        cq_json_key_bool(&out, "paused", list->queues[i].paused);
        for (size_t c = 0; c < COLUMN_COUNT; c++)
            cq_json_key_int(&out, columns[c].key, (int64_t)value_of(&list->queues[i], c));
        cq_json_key_int(&out, "latency_ms", list->queues[i].latency_ms);
        cq_json_close(&out, '}');
    }
    cq_json_close(&out, ']');
    cq_json_close(&out, '}');
    return cq_cli_print(cli, &out);
}

/* Columns of the terminal; any number when it is none. */
static size_t terminal_width(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_col == 0)
        return SIZE_MAX;
    return size.ws_col;
}

static size_t column_width(const listing *list, size_t column)
{
    size_t width = strlen(columns[column].title);

    for (size_t i = 0; i < list->count; i++) {
        int digits = snprintf(NULL, 0, "%llu",
                              (unsigned long long)value_of(&list->queues[i], column));

        if ((size_t)digits > width)
            width = (size_t)digits;
    }
    return width;
}

static size_t name_width(const listing *list)
{
    size_t width = strlen("QUEUE");

    for (size_t i = 0; i < list->count; i++)
        if (strlen(list->queues[i].name) > width)
            width = strlen(list->queues[i].name);
    return width;
}

/* Milliseconds matter only while there are few. */
static void append_wait(const cronq_queue_info *queue, cq_buf *out)
{
    int64_t wait_ms = queue->latency_ms;

    if (wait_ms >= 10000)
        wait_ms -= wait_ms % 1000;
    if (wait_ms > 0)
        cq_duration_print(out, wait_ms * 1000000);
    else
        cq_buf_append_char(out, '-');
}

static void append_paused(const cq_cli *cli, const cronq_queue_info *queue, cq_buf *out)
{
    if (queue->paused)
        cq_buf_append_text(out, cli->color ? "  \033[33mpaused\033[0m" : "  paused");
}

static void print_table(const cq_cli *cli, const listing *list, cq_buf *out)
{
    int name = (int)name_width(list);

    cq_buf_printf(out, "%-*s", name, "QUEUE");
    for (size_t c = 0; c < COLUMN_COUNT; c++)
        if (columns[c].title)
            cq_buf_printf(out, "  %*s", (int)column_width(list, c), columns[c].title);
    cq_buf_append_text(out, "  OLDEST\n");
    for (size_t i = 0; i < list->count; i++) {
        cq_buf_printf(out, "%-*s", name, list->queues[i].name);
        for (size_t c = 0; c < COLUMN_COUNT; c++)
            if (columns[c].title)
                cq_buf_printf(out, "  %*llu", (int)column_width(list, c),
                              (unsigned long long)value_of(&list->queues[i], c));
        cq_buf_append_text(out, "  ");
        append_wait(&list->queues[i], out);
        append_paused(cli, &list->queues[i], out);
        cq_buf_append_char(out, '\n');
    }
}

static void print_blocks(const cq_cli *cli, const listing *list, cq_buf *out)
{
    for (size_t i = 0; i < list->count; i++) {
        cq_buf_append_text(out, list->queues[i].name);
        append_paused(cli, &list->queues[i], out);
        cq_buf_append_char(out, '\n');
        for (size_t c = 0; c < COLUMN_COUNT; c++)
            if (columns[c].title)
                cq_buf_printf(out, " %s %llu\n", columns[c].key,
                              (unsigned long long)value_of(&list->queues[i], c));
        cq_buf_append_text(out, " oldest ");
        append_wait(&list->queues[i], out);
        cq_buf_append_char(out, '\n');
    }
}

static size_t table_width(const listing *list)
{
    /* The last column, and "paused". */
    size_t width = name_width(list) + 2 + 10 + 8;

    for (size_t c = 0; c < COLUMN_COUNT; c++)
        if (columns[c].title)
            width += 2 + column_width(list, c);
    return width;
}

static int print_text(const cq_cli *cli, const listing *list)
{
    cq_buf out;

    if (list->count == 0) {
        printf("no queues\n");
        return CQ_CLI_OK;
    }
    cq_buf_init(&out, (size_t)1 << 28);
    if (table_width(list) <= terminal_width())
        print_table(cli, list, &out);
    else
        print_blocks(cli, list, &out);
    return cq_cli_print(cli, &out);
}

static cronq_status look(cronq_inspector *inspector, const char *const *names,
                         size_t count, listing *list, cronq_error *err)
{
    list->queues = calloc(count + 1, sizeof *list->queues);
    if (!list->queues)
        return cq_fail_nomem(err);
    for (; list->count < count; list->count++) {
        cronq_queue_info *queue = &list->queues[list->count];
        cronq_status status;

        queue->struct_size = sizeof *queue;
        status = cronq_inspector_queue_info(inspector, names[list->count], queue, err);
        if (status)
            return status;
    }
    return CRONQ_OK;
}

/* The queues that were named, else all. */
static cronq_status look_at(const cq_cli *cli, cronq_inspector *inspector, listing *list,
                            cronq_error *err)
{
    char **names = NULL;
    size_t count = 0;
    cronq_status status;

    if (cli->arg_count > 0)
        return look(inspector, cli->args, (size_t)cli->arg_count, list, err);
    status = cronq_inspector_queues(inspector, &names, &count, err);
    if (!status)
        status = look(inspector, (const char *const *)names, count, list, err);
    free(names);
    return status;
}

static int run(cq_cli *cli)
{
    const char *uri = cq_cli_need_uri(cli);
    cronq_inspector *inspector = NULL;
    listing list = { 0 };
    cronq_error err;
    int code;

    if (!uri)
        return CQ_CLI_USAGE;
    if (cronq_inspector_new(uri, NULL, &inspector, &err) ||
        look_at(cli, inspector, &list, &err))
        code = cq_cli_report(cli, &err);
    else
        code = cli->json ? print_json(cli, &list) : print_text(cli, &list);
    free(list.queues);
    cronq_inspector_free(inspector);
    return code;
}

const cq_cli_command cq_cli_stats = {
    .name = "stats",
    .summary = "Show how much is in each queue",
    .args = "[QUEUE]...",
    .max_args = -1,
    .details = "TODAY and FAILED count the attempts since midnight UTC. OLDEST is how "
               "long the\noldest pending task has waited.",
    .run = run,
};
