/* SPDX-License-Identifier: MIT */
/* cli/stats.c - cronq stats and cronq queue inspect: how much is in each queue.
 *
 * One table of columns makes the JSON, the table, and the details of a queue. */
#include "base/duration.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(cronq_queue_info, name)

/* title NULL: not in the table. */
static const struct {
    const char *key, *title;
    size_t offset;     /* of a uint64_t */
    unsigned drop_nth; /* so that a terminal of 80 columns has room for the rest */
} columns[] = {
    { "pending", "PENDING", FIELD(pending_count), 0 },
    { "active", "ACTIVE", FIELD(active_count), 0 },
    { "scheduled", "SCHEDULED", FIELD(scheduled_count), 1 },
    { "retry", "RETRY", FIELD(retry_count), 0 },
    { "archived", "ARCHIVED", FIELD(archived_count), 0 },
    { "completed", "COMPLETED", FIELD(completed_count), 4 },
    { "aggregating", NULL, FIELD(aggregating_count), 0 },
    { "groups", NULL, FIELD(group_count), 0 },
    { "processed_today", "TODAY", FIELD(processed_today_count), 3 },
    { "failed_today", "FAILED", FIELD(failed_today_count), 2 },
    { "processed", NULL, FIELD(processed_count), 0 },
    { "failed", NULL, FIELD(failed_count), 0 },
    { "memory_bytes", NULL, FIELD(memory_bytes), 0 },
};
#define COLUMN_COUNT (sizeof columns / sizeof columns[0])

typedef struct listing {
    cronq_inspector *inspector;
    cronq_queue_info *queues;
    size_t count;
} listing;

static uint64_t value_of(const cronq_queue_info *queue, size_t column)
{
    uint64_t value;

    memcpy(&value, (const char *)queue + columns[column].offset, sizeof value);
    return value;
}

/* Where a queue is in a cluster; nothing elsewhere. */
static void append_nodes(cq_buf *out, bool json, cronq_inspector *inspector,
                         const char *queue)
{
    cronq_node_info *nodes;
    uint16_t slot;
    size_t count;

    if (cronq_inspector_nodes(inspector, queue, &slot, &nodes, &count, NULL))
        return;
    if (json) {
        cq_json_key_int(out, "slot", slot);
        cq_json_key(out, "nodes");
        cq_json_open(out, '[');
    } else {
        cq_buf_printf(out, "%-16s %u\n", "slot", slot);
    }
    for (size_t i = 0; i < count; i++) {
        if (!json) {
            cq_buf_printf(out, "%-16s %s %s\n", i ? "replica" : "master",
                          nodes[i].address, nodes[i].id);
            continue;
        }
        cq_json_open(out, '{');
        cq_json_key_text(out, "id", nodes[i].id);
        cq_json_key_text(out, "address", nodes[i].address);
        cq_json_close(out, '}');
    }
    if (json)
        cq_json_close(out, ']');
    cronq_list_free(nodes);
}

static void queue_json(cq_buf *out, cronq_inspector *inspector,
                       const cronq_queue_info *queue)
{
    cq_json_open(out, '{');
    cq_json_key_text(out, "queue", queue->name);
    cq_json_key_bool(out, "paused", queue->paused);
    for (size_t c = 0; c < COLUMN_COUNT; c++)
        cq_json_key_int(out, columns[c].key, (int64_t)value_of(queue, c));
    cq_json_key_int(out, "latency_ms", queue->latency_ms);
    cq_json_key_int(out, "paused_at_ms", queue->paused_at_ms);
    append_nodes(out, true, inspector, queue->name);
    cq_json_close(out, '}');
}

static int print_json(const cq_cli *cli, const listing *list)
{
    cq_buf out;

    cq_buf_init(&out, (size_t)1 << 28);
    cq_json_open(&out, '{');
    cq_json_key(&out, "queues");
    cq_json_open(&out, '[');
    for (size_t i = 0; i < list->count; i++)
        queue_json(&out, list->inspector, &list->queues[i]);
    cq_json_close(&out, ']');
    cq_json_close(&out, '}');
    return cq_cli_print(cli, &out);
}

/* Milliseconds matter only while there are few. */
static void oldest_cell(cq_cli_table *table, const cronq_queue_info *queue)
{
    int64_t wait_ms = queue->latency_ms;
    cq_buf text;

    cq_buf_init(&text, 64);
    if (wait_ms >= 10000)
        wait_ms -= wait_ms % 1000;
    if (wait_ms > 0)
        cq_duration_print(&text, wait_ms * 1000000);
    else
        cq_buf_append_char(&text, '-');
    cq_cli_table_cell(table, cq_buf_str(&text), CQ_CLI_PLAIN);
    cq_buf_release(&text);
}

static int print_text(const cq_cli *cli, const listing *list)
{
    cq_cli_column shown[COLUMN_COUNT + 3] = { { .title = "QUEUE", .cut_to = 16 } };
    size_t count = 1;
    cq_cli_table table;

    if (list->count == 0) {
        printf("no queues\n");
        return CQ_CLI_OK;
    }
    for (size_t c = 0; c < COLUMN_COUNT; c++)
        if (columns[c].title)
            shown[count++] = (cq_cli_column){ .title = columns[c].title,
                                              .right = true,
                                              .drop_nth = columns[c].drop_nth };
    shown[count++] = (cq_cli_column){ .title = "OLDEST" };
    shown[count++] = (cq_cli_column){ .title = "" };
    cq_cli_table_init(&table, shown, count);
    for (size_t i = 0; i < list->count; i++) {
        const cronq_queue_info *queue = &list->queues[i];

        cq_cli_table_text(&table, queue->name);
        for (size_t c = 0; c < COLUMN_COUNT; c++)
            if (columns[c].title)
                cq_cli_table_count(&table, value_of(queue, c));
        oldest_cell(&table, queue);
        cq_cli_table_cell(&table, cq_str_of(queue->paused ? "paused" : ""),
                          CQ_CLI_YELLOW);
    }
    return cq_cli_table_print(cli, &table);
}

/* One that can not be looked at does not hide the others. That a queue was removed since
 * it was listed is nothing to tell. */
static int look(cq_cli *cli, const char *const *names, size_t count, listing *list)
{
    bool listed = cli->arg_count == 0;
    int code = CQ_CLI_OK;
    cronq_error err;

    list->queues = calloc(count + 1, sizeof *list->queues);
    if (!list->queues)
        return cq_cli_fail(cli, CQ_CLI_RUNTIME, "out of memory");
    for (size_t i = 0; i < count && code != CQ_CLI_CONNECTION; i++) {
        cronq_queue_info *queue = &list->queues[list->count];
        cronq_status status;

        queue->struct_size = sizeof *queue;
        status = cronq_inspector_queue_info(list->inspector, names[i], queue, &err);
        if (!status)
            list->count++;
        else if (!listed || status != CRONQ_ENOENT)
            code = cq_cli_report(cli, &err);
    }
    return code;
}

/* The queues that were named, else all. */
static int look_at(cq_cli *cli, listing *list)
{
    char **names = NULL;
    size_t count = 0;
    cronq_error err;
    int code;

    if (cli->arg_count > 0)
        return look(cli, cli->args, (size_t)cli->arg_count, list);
    if (cronq_inspector_queues(list->inspector, &names, &count, &err))
        return cq_cli_report(cli, &err);
    code = look(cli, (const char *const *)names, count, list);
    free(names);
    return code;
}

static int show(cq_cli *cli, cronq_inspector *inspector,
                int (*print)(const cq_cli *cli, const listing *list))
{
    listing list = { .inspector = inspector };
    int code = look_at(cli, &list), printed = CQ_CLI_OK;

    if (!code || list.count)
        printed = cli->json ? print_json(cli, &list) : print(cli, &list);
    free(list.queues);
    return code ? code : printed;
}

static int show_table(cq_cli *cli, cronq_inspector *inspector)
{
    return show(cli, inspector, print_text);
}

static int run(cq_cli *cli)
{
    return cq_cli_look(cli, show_table);
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

/* ---- queue inspect ---- */

static int print_details(const cq_cli *cli, const listing *list)
{
    int64_t now_ms = cq_cli_now_ms();
    cq_buf out;

    cq_buf_init(&out, (size_t)1 << 28);
    for (size_t i = 0; i < list->count; i++) {
        const cronq_queue_info *queue = &list->queues[i];

        cq_buf_printf(&out, "%s%-16s ", i ? "\n" : "", "queue");
        cq_cli_clean(&out, cq_str_of(queue->name));
        cq_buf_append_char(&out, '\n');
        for (size_t c = 0; c < COLUMN_COUNT; c++)
            cq_buf_printf(&out, "%-16s %llu\n", columns[c].key,
                          (unsigned long long)value_of(queue, c));
        cq_buf_printf(&out, "%-16s ", "oldest pending");
        cq_duration_print(&out, queue->latency_ms * 1000000);
        cq_buf_printf(&out, "\n%-16s ", "paused");
        if (queue->paused && queue->paused_at_ms)
            cq_cli_instant(&out, queue->paused_at_ms, now_ms);
        else
            cq_buf_append_text(&out, queue->paused ? "yes" : "no");
        cq_buf_append_char(&out, '\n');
        append_nodes(&out, false, list->inspector, queue->name);
    }
    return cq_cli_print(cli, &out);
}

static int show_details(cq_cli *cli, cronq_inspector *inspector)
{
    return show(cli, inspector, print_details);
}

int cq_cli_inspect_queues(cq_cli *cli)
{
    return cq_cli_look(cli, show_details);
}
