/* SPDX-License-Identifier: MIT */
/* cli/task.c - cronq task ls and inspect. */
#include "cli/task.h"

#include "base/duration.h"
#include "base/json.h"
#include "base/utf8.h"

#include <stdio.h>

#define OUTPUT_LIMIT_BYTES ((size_t)1 << 30)

enum { PAGE_MAX = 10000, EXCERPT_BYTES = 512 };

/* ---- ls ---- */

static const cq_cli_column columns[] = {
    { .title = "ID" },
    { .title = "TYPE", .cut_to = 12, .drop_nth = 1 },
    { .title = "STATE" },
    { .title = "TRIES", .right = true, .drop_nth = 3 },
    { .title = "WHEN" },
    { .title = "AT", .drop_nth = 5 },
    { .title = "ABOUT", .cut_to = 16, .drop_nth = 4 },
};

/* What an operator asks of a task in its state. */
static int64_t when(const cronq_task_info *info)
{
    switch (cronq_task_info_state(info)) {
    case CRONQ_STATE_PENDING:
        return cronq_task_info_pending_since_ms(info);
    case CRONQ_STATE_ARCHIVED:
        return cronq_task_info_archived_at_ms(info);
    case CRONQ_STATE_COMPLETED:
        return cronq_task_info_completed_at_ms(info);
    default:
        return cronq_task_info_next_at_ms(info);
    }
}

/* Marks, else the error, else the beginning of the payload. */
static void about_cell(cq_cli_table *table, const cronq_task_info *info)
{
    cronq_bytes payload = cronq_task_info_payload(info);
    const char *error = cronq_task_info_error(info);

    if (cronq_task_info_is_orphaned(info))
        cq_cli_table_cell(table, CQ_STR("orphaned: no worker holds it"), CQ_CLI_RED);
    else if (cronq_task_info_is_cancelled(info))
        cq_cli_table_cell(table, CQ_STR("cancelled"), CQ_CLI_YELLOW);
    else if (error[0])
        cq_cli_table_cell(table, cq_str_of(error), CQ_CLI_PLAIN);
    else
        cq_cli_table_cell(table,
                          (cq_str){ payload.data, payload.len < EXCERPT_BYTES
                                                      ? payload.len
                                                      : EXCERPT_BYTES },
                          CQ_CLI_FAINT);
}

static void task_row(cq_cli_table *table, const cronq_task_info *info, int64_t now_ms)
{
    cronq_state state = cronq_task_info_state(info);
    char tries[32];

    snprintf(tries, sizeof tries, "%d/%d", (int)cronq_task_info_retry_count(info),
             (int)cronq_task_info_max_retry(info));
    cq_cli_table_text(table, cronq_task_info_id(info));
    cq_cli_table_text(table, cronq_task_info_type(info));
    cq_cli_table_cell(table, cq_str_of(cronq_state_name(state)),
                      cq_cli_state_paint(state));
    cq_cli_table_text(table, tries);
    cq_cli_table_time(table, when(info), now_ms);
    about_cell(table, info);
}

/* What is printed of one or of all states. */
typedef struct page {
    cq_cli *cli;
    const char *queue;
    cronq_filter filter;
    size_t offset, size, count;
    cq_cli_table table;
    cq_buf json;
} page;

static cronq_status read_state(page *p, cronq_inspector *inspector, cronq_state state,
                               cronq_error *err)
{
    cronq_task_info **infos = NULL;
    int64_t now_ms = cq_cli_now_ms();
    size_t count = 0;
    cronq_status status = cronq_inspector_list(inspector, p->queue, state, &p->filter,
                                               p->offset, p->size, &infos, &count, err);

    if (status)
        return status;
    for (size_t i = 0; i < count; i++) {
        if (p->cli->json)
            cq_cli_task_json(&p->json, infos[i], false);
        else
            task_row(&p->table, infos[i], now_ms);
    }
    p->count += count;
    cronq_task_infos_free(infos, count);
    return CRONQ_OK;
}

static int print_page(page *p, cronq_state state)
{
    if (p->cli->json) {
        cq_json_close(&p->json, ']');
        cq_json_close(&p->json, '}');
        return cq_cli_print(p->cli, &p->json);
    }
    if (p->count == 0) {
        printf("no %s%stasks%s\n", state ? cronq_state_name(state) : "", state ? " " : "",
               p->offset ? " on this page" : "");
        return CQ_CLI_OK;
    }
    return cq_cli_table_print(p->cli, &p->table);
}

static int read_page(page *p, cronq_inspector *inspector, cronq_state state)
{
    cronq_status status = CRONQ_OK;
    cronq_error err;

    if (p->cli->json) {
        cq_json_open(&p->json, '{');
        cq_json_key_text(&p->json, "queue", p->queue);
        cq_json_key(&p->json, "tasks");
        cq_json_open(&p->json, '[');
    }
    for (int s = CRONQ_STATE_ACTIVE; s <= CRONQ_STATE_AGGREGATING && !status; s++)
        if (!state || s == (int)state)
            status = read_state(p, inspector, (cronq_state)s, &err);
    return status ? cq_cli_report(p->cli, &err) : print_page(p, state);
}

static int list(cq_cli *cli, cronq_inspector *inspector)
{
    size_t size = (size_t)cq_cli_number(cli, "size", 30);
    page p = { .cli = cli,
               .queue = cq_cli_text(cli, "queue"),
               .filter = cq_cli_filter(cli),
               .offset = ((size_t)cq_cli_number(cli, "page", 1) - 1) * size,
               .size = size };
    cronq_state state = cq_cli_state(cli);
    int code;

    if (!state && p.filter.group)
        state = CRONQ_STATE_AGGREGATING;
    if (!state && cq_cli_has(cli, "page"))
        return cq_cli_misuse(cli, "--page needs --state");
    cq_cli_table_init(&p.table, columns, sizeof columns / sizeof columns[0]);
    cq_buf_init(&p.json, OUTPUT_LIMIT_BYTES);
    code = read_page(&p, inspector, state);
    cq_cli_table_release(&p.table);
    cq_buf_release(&p.json);
    return code;
}

/* ---- inspect ---- */

static void text_line(cq_buf *out, const char *name, cq_str text)
{
    if (text.len == 0)
        return;
    cq_buf_printf(out, "%-14s ", name);
    cq_cli_clean(out, text);
    cq_buf_append_char(out, '\n');
}

static void time_line(cq_buf *out, const char *name, int64_t at_ms, int64_t now_ms)
{
    if (!at_ms)
        return;
    cq_buf_printf(out, "%-14s ", name);
    cq_cli_instant(out, at_ms, now_ms);
    cq_buf_append_char(out, '\n');
}

static void duration_line(cq_buf *out, const char *name, int64_t ms)
{
    if (!ms)
        return;
    cq_buf_printf(out, "%-14s ", name);
    cq_duration_print(out, ms * 1000000);
    cq_buf_append_char(out, '\n');
}

static void times(cq_buf *out, const cronq_task_info *info)
{
    static const struct {
        const char *name;
        int64_t (*get)(const cronq_task_info *info);
    } rows[] = {
        { "pending since", cronq_task_info_pending_since_ms },
        { "due", cronq_task_info_next_at_ms },
        { "deadline", cronq_task_info_deadline_at_ms },
        { "failed", cronq_task_info_last_failed_at_ms },
        { "archived", cronq_task_info_archived_at_ms },
        { "completed", cronq_task_info_completed_at_ms },
        { "kept until", cronq_task_info_kept_until_ms },
    };
    int64_t now_ms = cq_cli_now_ms();

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        time_line(out, rows[i].name, rows[i].get(info), now_ms);
    duration_line(out, "timeout", cronq_task_info_timeout_ms(info));
    duration_line(out, "retention", cronq_task_info_retain_for_ms(info));
}

/* Whole, and as it is but for what a terminal would obey. A line feed at its end ends
 * the line here. */
static void bytes_line(cq_buf *out, const char *name, cronq_bytes bytes)
{
    if (!bytes.data)
        return;
    cq_buf_printf(out, "%-14s %zu byte%s", name, bytes.len, bytes.len == 1 ? "" : "s");
    if (!cq_utf8_valid(bytes.data, bytes.len))
        cq_buf_append_text(out, ", not text");
    cq_buf_append_char(out, '\n');
    if (bytes.len == 0)
        return;
    if (((const char *)bytes.data)[bytes.len - 1] == '\n')
        bytes.len--;
    cq_cli_clean(out, (cq_str){ bytes.data, bytes.len });
    cq_buf_append_char(out, '\n');
}

static void marks(cq_buf *out, const cronq_task_info *info)
{
    if (cronq_task_info_is_orphaned(info))
        text_line(out, "orphaned", CQ_STR("no worker holds it: it will be put back"));
    if (cronq_task_info_is_cancelled(info))
        text_line(out, "cancelled", CQ_STR("its worker was asked to stop it"));
    if (cronq_task_info_is_merging(info))
        text_line(out, "merging", CQ_STR("its group is being merged"));
    if (cronq_task_info_is_unique(info))
        text_line(out, "unique", CQ_STR("yes"));
}

/* The newest first; the first is the error again, with where and when. */
static void failures(cq_buf *out, const cronq_task_info *info)
{
    int64_t now_ms = cq_cli_now_ms();

    for (size_t i = 0; i < cronq_task_info_failure_count(info); i++) {
        cronq_failure failure = cronq_task_info_failure_at(info, i);

        cq_buf_printf(out, "attempt %-6d ", (int)failure.attempt);
        cq_cli_instant(out, failure.at_ms, now_ms);
        cq_buf_append_text(out, " on ");
        cq_cli_clean(out, cq_str_of(failure.host));
        cq_buf_append_text(out, ": ");
        cq_cli_clean(out, cq_str_of(failure.text));
        cq_buf_append_char(out, '\n');
    }
}

static void details(cq_buf *out, const cronq_task_info *info)
{
    text_line(out, "id", cq_str_of(cronq_task_info_id(info)));
    text_line(out, "type", cq_str_of(cronq_task_info_type(info)));
    text_line(out, "queue", cq_str_of(cronq_task_info_queue(info)));
    text_line(out, "state", cq_str_of(cronq_state_name(cronq_task_info_state(info))));
    text_line(out, "group", cq_str_of(cronq_task_info_group(info)));
    cq_buf_printf(out, "%-14s %d of %d\n", "retries",
                  (int)cronq_task_info_retry_count(info),
                  (int)cronq_task_info_max_retry(info));
    marks(out, info);
    times(out, info);
    text_line(out, "error", cq_str_of(cronq_task_info_error(info)));
    failures(out, info);
    for (size_t i = 0; i < cronq_task_info_header_count(info); i++) {
        cronq_header header = cronq_task_info_header_at(info, i);

        cq_buf_printf(out, "%-14s ", "header");
        cq_cli_clean(out, cq_str_of(header.key));
        cq_buf_append_text(out, ": ");
        cq_cli_clean(out, cq_str_of(header.value));
        cq_buf_append_char(out, '\n');
    }
    bytes_line(out, "payload", cronq_task_info_payload(info));
    bytes_line(out, "result", cronq_task_info_result(info));
}

static int inspect(cq_cli *cli, cronq_inspector *inspector)
{
    const char *queue = cq_cli_text(cli, "queue");
    int code = CQ_CLI_OK, printed;
    cronq_error err;
    cq_buf out;

    cq_buf_init(&out, OUTPUT_LIMIT_BYTES);
    if (cli->json)
        cq_json_open(&out, '[');
    for (int i = 0; i < cli->arg_count; i++) {
        cronq_task_info *info = NULL;

        if (cronq_inspector_task(inspector, queue, cli->args[i], &info, &err)) {
            code = cq_cli_report(cli, &err);
            continue;
        }
        if (!cli->json && out.len)
            cq_buf_append_char(&out, '\n');
        if (cli->json)
            cq_cli_task_json(&out, info, true);
        else
            details(&out, info);
        cronq_task_info_free(info);
    }
    if (cli->json)
        cq_json_close(&out, ']');
    printed = out.len ? cq_cli_print(cli, &out) : CQ_CLI_OK;
    cq_buf_release(&out);
    return code ? code : printed;
}

/* ---- verbs ---- */

static int run_list(cq_cli *cli)
{
    return cq_cli_look(cli, list);
}

static int run_inspect(cq_cli *cli)
{
    return cq_cli_look(cli, inspect);
}

/* clang-format off */
static const cq_cli_option list_options[] = {
    CQ_CLI_FILTER_ROWS,
    { "page", 0, "N", CQ_CLI_INT, .min = 1, .max = 1000000000, .help = "which page of the state (default: 1)" },
    { "size", 'n', "N", CQ_CLI_INT, .min = 1, .max = PAGE_MAX, .preset = "30", .help = "tasks a page" },
    { 0 },
};
static const cq_cli_option inspect_options[] = {
    CQ_CLI_QUEUE_ROW,
    { 0 },
};
/* clang-format on */

static const cq_cli_command list_verb = {
    .name = "ls",
    .summary = "List tasks",
    .details = "Pending and active ones oldest first, others by their time. Without "
               "--state: the\nfirst of each state. WHEN is since when it is pending, "
               "when it is due, was archived\nor completed.",
    .options = list_options,
    .run = run_list,
};
static const cq_cli_command inspect_verb = {
    .name = "inspect",
    .summary = "Show all that is stored of tasks",
    .args = "ID...",
    .min_args = 1,
    .max_args = -1,
    .options = inspect_options,
    .run = run_inspect,
};
static const cq_cli_command *const verbs[] = {
    &list_verb,
    &inspect_verb,
    &cq_cli_task_run,
    &cq_cli_task_reschedule,
    &cq_cli_task_update,
    &cq_cli_task_archive,
    &cq_cli_task_cancel,
    &cq_cli_task_delete,
    NULL,
};

const cq_cli_command cq_cli_task = {
    .name = "task",
    .summary = "List, inspect, run, reschedule, archive, cancel and delete tasks",
    .verbs = verbs,
};
