/* SPDX-License-Identifier: MIT */
/* cli/told.c - cronq group ls, server ls, cron ls and cron history. */
#include "cli/told.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_LIMIT_BYTES ((size_t)1 << 29)
#define CELL_LIMIT_BYTES   ((size_t)1 << 20)

enum { EVENTS_MAX = 1000 };

/* The JSON, or the table, or a sentence when the table has no rows. */
static int print(const cq_cli *cli, cq_cli_table *table, cq_buf *json, const char *none)
{
    int code = CQ_CLI_OK;

    if (cli->json)
        code = cq_cli_print(cli, json);
    else if (table->cells.len)
        code = cq_cli_table_print(cli, table);
    else
        printf("%s\n", none);
    cq_cli_table_release(table);
    cq_buf_release(json);
    return code;
}

/* ---- group ls ---- */

static int list_groups(cq_cli *cli, cronq_inspector *inspector)
{
    static const cq_cli_column columns[] = { { .title = "GROUP", .cut_to = 12 },
                                             { .title = "TASKS", .right = true } };
    cronq_group_info *groups = NULL;
    cq_cli_table table;
    cronq_error err;
    size_t count;
    cq_buf json;

    if (cronq_inspector_groups(inspector, cq_cli_text(cli, "queue"), &groups, &count,
                               &err))
        return cq_cli_report(cli, &err);
    cq_cli_table_init(&table, columns, 2);
    cq_buf_init(&json, OUTPUT_LIMIT_BYTES);
    cq_json_open(&json, '[');
    for (size_t i = 0; i < count; i++) {
        cq_json_open(&json, '{');
        cq_json_key_text(&json, "group", groups[i].name);
        cq_json_key_int(&json, "tasks", (int64_t)groups[i].count);
        cq_json_close(&json, '}');
        cq_cli_table_text(&table, groups[i].name);
        cq_cli_table_count(&table, groups[i].count);
    }
    cq_json_close(&json, ']');
    cronq_list_free(groups);
    return print(cli, &table, &json, "no groups");
}

/* ---- server ls ---- */

typedef struct servers {
    cronq_server_info *list;
    cronq_worker_info *workers;
    size_t count, worker_count;
} servers;

static bool runs(const cronq_server_info *server, const cronq_worker_info *worker)
{
    return strcmp(server->id, worker->server_id) == 0;
}

static void worker_json(cq_buf *out, const cronq_worker_info *worker)
{
    cq_json_open(out, '{');
    cq_json_key_text(out, "id", worker->task_id);
    cq_json_key_text(out, "type", worker->task_type);
    cq_json_key_text(out, "queue", worker->queue);
    cq_json_key_int(out, "started_at_ms", worker->started_at_ms);
    cq_json_key_int(out, "deadline_at_ms", worker->deadline_at_ms);
    cq_json_close(out, '}');
}

static void server_json(cq_buf *out, const servers *all, const cronq_server_info *server)
{
    cq_json_open(out, '{');
    cq_json_key_text(out, "id", server->id);
    cq_json_key_text(out, "host", server->host);
    cq_json_key_int(out, "pid", server->pid);
    cq_json_key_text(out, "status", server->status);
    cq_json_key_int(out, "concurrency", server->concurrency);
    cq_json_key_int(out, "active", server->active_count);
    cq_json_key_bool(out, "strict_priority", server->strict_priority);
    cq_json_key_int(out, "started_at_ms", server->started_at_ms);
    cq_json_key(out, "queues");
    cq_json_open(out, '{');
    for (size_t i = 0; i < server->queue_count; i++)
        cq_json_key_int(out, server->queues[i], server->weights[i]);
    cq_json_close(out, '}');
    cq_json_key(out, "tasks");
    cq_json_open(out, '[');
    for (size_t i = 0; i < all->worker_count; i++)
        if (runs(server, &all->workers[i]))
            worker_json(out, &all->workers[i]);
    cq_json_close(out, ']');
    cq_json_close(out, '}');
}

static void server_row(cq_cli_table *table, const cronq_server_info *server,
                       int64_t now_ms)
{
    bool active = strcmp(server->status, "active") == 0;
    char busy[32];
    cq_buf text;

    snprintf(busy, sizeof busy, "%d/%d", (int)server->active_count,
             (int)server->concurrency);
    cq_buf_init(&text, CELL_LIMIT_BYTES);
    cq_buf_printf(&text, "%s:%d", server->host, (int)server->pid);
    cq_cli_table_cell(table, cq_buf_str(&text), CQ_CLI_PLAIN);
    cq_cli_table_cell(table, cq_str_of(server->status),
                      active ? CQ_CLI_GREEN : CQ_CLI_YELLOW);
    cq_cli_table_text(table, busy);
    cq_cli_table_time(table, server->started_at_ms, now_ms);
    cq_buf_reset(&text);
    for (size_t i = 0; i < server->queue_count; i++)
        cq_buf_printf(&text, "%s%s:%d", i ? " " : "", server->queues[i],
                      (int)server->weights[i]);
    cq_cli_table_cell(table, cq_buf_str(&text), CQ_CLI_PLAIN);
    cq_buf_release(&text);
}

static int print_servers(cq_cli *cli, const servers *all)
{
    static const cq_cli_column columns[] = {
        { .title = "SERVER", .cut_to = 16 }, { .title = "STATUS" },
        { .title = "BUSY", .right = true },  { .title = "STARTED" },
        { .title = "AT", .drop_nth = 2 },    { .title = "QUEUES", .cut_to = 12 },
    };
    int64_t now_ms = cq_cli_now_ms();
    cq_cli_table table;
    cq_buf json;

    cq_cli_table_init(&table, columns, sizeof columns / sizeof columns[0]);
    cq_buf_init(&json, OUTPUT_LIMIT_BYTES);
    cq_json_open(&json, '[');
    for (size_t i = 0; i < all->count; i++) {
        server_json(&json, all, &all->list[i]);
        server_row(&table, &all->list[i], now_ms);
    }
    cq_json_close(&json, ']');
    return print(cli, &table, &json, "no servers");
}

static int list_servers(cq_cli *cli, cronq_inspector *inspector)
{
    servers all = { 0 };
    cronq_error err;
    int code;

    if (cronq_inspector_servers(inspector, &all.list, &all.count, &err) ||
        cronq_inspector_workers(inspector, &all.workers, &all.worker_count, &err))
        code = cq_cli_report(cli, &err);
    else
        code = print_servers(cli, &all);
    cronq_list_free(all.list);
    cronq_list_free(all.workers);
    return code;
}

/* ---- cron ls ---- */

static void entry_json(cq_buf *out, const cronq_entry_info *entry)
{
    cq_json_open(out, '{');
    cq_json_key_text(out, "id", entry->id);
    cq_json_key_text(out, "spec", entry->spec);
    cq_json_key_text(out, "type", entry->task_type);
    cq_json_key_int(out, "next_at_ms", entry->next_at_ms);
    cq_json_key_int(out, "previous_at_ms", entry->previous_at_ms);
    cq_json_key(out, "options");
    cq_json_open(out, '[');
    for (size_t i = 0; i < entry->option_count; i++)
        cq_json_string(out, cq_str_of(entry->options[i]));
    cq_json_close(out, ']');
    cq_cli_bytes_json(out, "payload", entry->payload);
    cq_json_close(out, '}');
}

static void entry_row(cq_cli_table *table, const cronq_entry_info *entry, int64_t now_ms)
{
    cq_buf text;

    cq_cli_table_text(table, entry->id);
    cq_cli_table_text(table, entry->spec);
    cq_cli_table_text(table, entry->task_type);
    cq_cli_table_time(table, entry->next_at_ms, now_ms);
    cq_buf_init(&text, CELL_LIMIT_BYTES);
    if (entry->previous_at_ms)
        cq_cli_relative(&text, entry->previous_at_ms, now_ms);
    else
        cq_buf_append_char(&text, '-');
    cq_cli_table_cell(table, cq_buf_str(&text), CQ_CLI_PLAIN);
    cq_buf_reset(&text);
    for (size_t i = 0; i < entry->option_count; i++)
        cq_buf_printf(&text, "%s%s", i ? " " : "", entry->options[i]);
    cq_cli_table_cell(table, cq_buf_str(&text), CQ_CLI_FAINT);
    cq_buf_release(&text);
}

static int list_entries(cq_cli *cli, cronq_inspector *inspector)
{
    static const cq_cli_column columns[] = {
        { .title = "ENTRY", .cut_to = 16 },
        { .title = "SPEC", .cut_to = 12 },
        { .title = "TYPE", .cut_to = 12 },
        { .title = "NEXT" },
        { .title = "AT", .drop_nth = 3 },
        { .title = "LAST", .drop_nth = 1 },
        { .title = "OPTIONS", .cut_to = 12, .drop_nth = 2 },
    };
    int64_t now_ms = cq_cli_now_ms();
    cronq_entry_info *entries = NULL;
    cq_cli_table table;
    cronq_error err;
    size_t count;
    cq_buf json;

    if (cronq_inspector_entries(inspector, &entries, &count, &err))
        return cq_cli_report(cli, &err);
    cq_cli_table_init(&table, columns, sizeof columns / sizeof columns[0]);
    cq_buf_init(&json, OUTPUT_LIMIT_BYTES);
    cq_json_open(&json, '[');
    for (size_t i = 0; i < count; i++) {
        entry_json(&json, &entries[i]);
        entry_row(&table, &entries[i], now_ms);
    }
    cq_json_close(&json, ']');
    cronq_list_free(entries);
    return print(cli, &table, &json, "no entries: no scheduler runs");
}

/* ---- cron history ---- */

/* An entry that no scheduler has, and that never pushed, is none. */
static bool is_known(cronq_inspector *inspector, const char *id)
{
    cronq_entry_info *entries = NULL;
    bool known = false;
    size_t count = 0;
    cronq_error err;

    if (cronq_inspector_entries(inspector, &entries, &count, &err))
        return false;
    for (size_t i = 0; i < count; i++)
        known = known || strcmp(entries[i].id, id) == 0;
    cronq_list_free(entries);
    return known;
}

static void event_rows(cq_cli_table *table, cq_buf *json, const char *entry,
                       const cronq_event_info *events, size_t count, int64_t now_ms)
{
    for (size_t i = 0; i < count; i++) {
        cq_json_open(json, '{');
        cq_json_key_text(json, "entry", entry);
        cq_json_key_text(json, "task_id", events[i].task_id);
        cq_json_key_int(json, "pushed_at_ms", events[i].pushed_at_ms);
        cq_json_close(json, '}');
        cq_cli_table_text(table, entry);
        cq_cli_table_text(table, events[i].task_id);
        cq_cli_table_time(table, events[i].pushed_at_ms, now_ms);
    }
}

static int one_history(cq_cli *cli, cronq_inspector *inspector, const char *entry,
                       cq_cli_table *table, cq_buf *json)
{
    size_t size = (size_t)cq_cli_number(cli, "size", 30);
    size_t offset = ((size_t)cq_cli_number(cli, "page", 1) - 1) * size;
    cronq_event_info *events = NULL;
    cronq_error err;
    size_t count;

    if (cronq_inspector_events(inspector, entry, offset, size, &events, &count, &err))
        return cq_cli_report(cli, &err);
    event_rows(table, json, entry, events, count, cq_cli_now_ms());
    cronq_list_free(events);
    if (count == 0 && offset == 0 && !is_known(inspector, entry))
        return cq_cli_fail(cli, CQ_CLI_NOT_FOUND, "there is no entry %.200s", entry);
    return CQ_CLI_OK;
}

static int list_events(cq_cli *cli, cronq_inspector *inspector)
{
    static const cq_cli_column columns[] = {
        { .title = "ENTRY", .cut_to = 12, .drop_nth = 1 },
        { .title = "TASK" },
        { .title = "PUSHED" },
        { .title = "AT", .drop_nth = 2 },
    };
    int code = CQ_CLI_OK, failed, printed = CQ_CLI_OK;
    cq_cli_table table;
    cq_buf json;

    cq_cli_table_init(&table, columns, sizeof columns / sizeof columns[0]);
    cq_buf_init(&json, OUTPUT_LIMIT_BYTES);
    cq_json_open(&json, '[');
    for (int i = 0; i < cli->arg_count; i++) {
        failed = one_history(cli, inspector, cli->args[i], &table, &json);
        code = failed ? failed : code;
    }
    cq_json_close(&json, ']');
    if (code && !cli->json && !table.cells.len)
        cq_cli_table_release(&table), cq_buf_release(&json);
    else
        printed = print(cli, &table, &json, "no pushes");
    return code ? code : printed;
}

/* ---- verbs ---- */

static int run_groups(cq_cli *cli)
{
    return cq_cli_look(cli, list_groups);
}

static int run_servers(cq_cli *cli)
{
    return cq_cli_look(cli, list_servers);
}

static int run_entries(cq_cli *cli)
{
    return cq_cli_look(cli, list_entries);
}

static int run_events(cq_cli *cli)
{
    return cq_cli_look(cli, list_events);
}

/* clang-format off */
static const cq_cli_option group_options[] = {
    CQ_CLI_QUEUE_ROW,
    { 0 },
};
static const cq_cli_option history_options[] = {
    { "page", 0, "N", CQ_CLI_INT, .min = 1, .max = EVENTS_MAX, .preset = "1", .help = "which page" },
    { "size", 'n', "N", CQ_CLI_INT, .min = 1, .max = EVENTS_MAX, .preset = "30", .help = "pushes a page" },
    { 0 },
};
/* clang-format on */

static const cq_cli_command group_list = {
    .name = "ls",
    .summary = "List the groups of a queue",
    .options = group_options,
    .run = run_groups,
};
static const cq_cli_command *const group_verbs[] = { &group_list, NULL };

const cq_cli_command cq_cli_group = {
    .name = "group",
    .summary = "Look at groups",
    .verbs = group_verbs,
};

const cq_cli_command cq_cli_server_list = {
    .name = "ls",
    .summary = "List the servers that are alive, and what they run",
    .run = run_servers,
};
const cq_cli_command cq_cli_cron_list = {
    .name = "ls",
    .summary = "List the entries of the schedulers that are alive",
    .run = run_entries,
};
const cq_cli_command cq_cli_cron_history = {
    .name = "history",
    .summary = "List the pushes of entries, newest first",
    .args = "ENTRY...",
    .min_args = 1,
    .max_args = -1,
    .options = history_options,
    .run = run_events,
};
