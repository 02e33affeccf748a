/* SPDX-License-Identifier: MIT */
/* dash/pages.c - the pages that are tables.
 *
 * A page is an array of columns. Those of the highest rank are left out where the
 * terminal is too narrow; what room is left goes to the columns without a width. */
#include "dash/view.h"

#include "base/clock.h"

#define FLEXIBLE_MIN 14
#define COLUMN_LIMIT 12
#define SPARK_CELLS  12
#define RATE_CELLS   7
#define PEEK_BYTES   512

typedef struct column {
    const char *title;
    int width; /* 0: flexible */
    int rank;  /* 0: always there */
    bool right;
    void (*cell)(const cq_dash_view *view, size_t row, cq_buf *out);
} column;

/* ---- queues ---- */

#define QUEUE_COUNT_CELL(what)                                                  \
    static void queue_##what(const cq_dash_view *view, size_t row, cq_buf *out) \
    {                                                                           \
        cq_dash_count(out, view->picture->queues[row].info.what##_count);       \
    }
QUEUE_COUNT_CELL(pending)
QUEUE_COUNT_CELL(active)
QUEUE_COUNT_CELL(scheduled)
QUEUE_COUNT_CELL(retry)
QUEUE_COUNT_CELL(archived)
QUEUE_COUNT_CELL(completed)
QUEUE_COUNT_CELL(aggregating)

static void queue_name(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cronq_queue_info *info = &view->picture->queues[row].info;

    cq_buf_printf(out, "%s%s", info->paused ? "|| " : "", info->name);
}

static void queue_oldest(const cq_dash_view *view, size_t row, cq_buf *out)
{
    int64_t latency_ms = view->picture->queues[row].info.latency_ms;

    if (latency_ms > 0)
        cq_dash_span(out, latency_ms);
    else
        cq_buf_append_char(out, '-');
}

static void append_rate(const cq_dash_view *view, const double *samples, size_t count,
                        cq_buf *out)
{
    size_t shown = count < SPARK_CELLS ? count : SPARK_CELLS;
    double last = count ? samples[count - 1] : 0;

    cq_buf_printf(out, "%*.*f ", RATE_CELLS, last > 0 && last < 10 ? 1 : 0, last);
    for (size_t i = shown; i < SPARK_CELLS; i++)
        cq_buf_append_char(out, ' ');
    cq_dash_spark(out, samples + count - shown, shown, view->is_unicode);
}

static void queue_processed(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cq_dash_queue *queue = &view->picture->queues[row];

    append_rate(view, queue->processed, queue->sample_count, out);
}

static void queue_failed(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cq_dash_queue *queue = &view->picture->queues[row];

    append_rate(view, queue->failed, queue->sample_count, out);
}

/* clang-format off */
static const column queue_columns[] = {
    { "QUEUE",     0, 0, false, queue_name },
    { "PENDING",   8, 0, true,  queue_pending },
    { "ACTIVE",    7, 1, true,  queue_active },
    { "DONE/S",    RATE_CELLS + 1 + SPARK_CELLS, 2, false, queue_processed },
    { "FAILED/S",  RATE_CELLS + 1 + SPARK_CELLS, 3, false, queue_failed },
    { "RETRY",     8, 4, true,  queue_retry },
    { "ARCHIVED",  8, 5, true,  queue_archived },
    { "SCHEDULED", 9, 6, true,  queue_scheduled },
    { "OLDEST",    7, 7, true,  queue_oldest },
    { "COMPLETED", 9, 8, true,  queue_completed },
    { "GROUPED",   8, 9, true,  queue_aggregating },
    { 0 },
};
/* clang-format on */

/* ---- tasks ---- */

static void task_id(const cq_dash_view *view, size_t row, cq_buf *out)
{
    cq_buf_append_text(out, cronq_task_info_id(view->picture->tasks[row]));
}

static void task_type(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const char *type = cronq_task_info_type(view->picture->tasks[row]);

    cq_buf_append_text(out, *type ? type : "(can not be read)");
}

static void task_retries(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cronq_task_info *task = view->picture->tasks[row];

    cq_buf_printf(out, "%d/%d", (int)cronq_task_info_retry_count(task),
                  (int)cronq_task_info_max_retry(task));
}

static void task_when(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cronq_task_info *task = view->picture->tasks[row];
    int64_t at_ms = 0;

    switch (cronq_task_info_state(task)) {
    case CRONQ_STATE_PENDING:
        at_ms = cronq_task_info_pending_since_ms(task);
        break;
    case CRONQ_STATE_ARCHIVED:
        at_ms = cronq_task_info_archived_at_ms(task);
        break;
    case CRONQ_STATE_COMPLETED:
        at_ms = cronq_task_info_completed_at_ms(task);
        break;
    case CRONQ_STATE_SCHEDULED:
    case CRONQ_STATE_RETRY:
        at_ms = cronq_task_info_next_at_ms(task);
        break;
    case CRONQ_STATE_ACTIVE:
    case CRONQ_STATE_AGGREGATING:
        break;
    }
    cq_dash_relative(out, at_ms, view->picture->at_ms);
}

static void task_said(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cronq_task_info *task = view->picture->tasks[row];
    const char *error = cronq_task_info_error(task);
    cronq_bytes payload = cronq_task_info_payload(task);

    if (*error)
        cq_buf_append_text(out, error);
    else
        cq_buf_append(out, payload.data,
                      payload.len < PEEK_BYTES ? payload.len : PEEK_BYTES);
}

/* clang-format off */
static const column task_columns[] = {
    { "ID",              0, 0, false, task_id },
    { "TYPE",            0, 1, false, task_type },
    { "RETRIES",         8, 4, true,  task_retries },
    { "WHEN",           11, 2, true,  task_when },
    { "ERROR, PAYLOAD",  0, 3, false, task_said },
    { 0 },
};
/* clang-format on */

/* ---- servers ---- */

static void server_name(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cq_dash_server_row *it = &view->picture->server_rows[row];

    if (it->worker)
        cq_buf_printf(out, "  %s", it->worker->task_type);
    else
        cq_buf_printf(out, "%s:%d", it->server->host, (int)it->server->pid);
}

static void server_what(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cq_dash_server_row *it = &view->picture->server_rows[row];

    if (it->worker) {
        cq_buf_printf(out, "%s %s", it->worker->queue, it->worker->task_id);
        return;
    }
    for (size_t i = 0; i < it->server->queue_count; i++)
        cq_buf_printf(out, "%s%s:%d", i ? " " : "", it->server->queues[i],
                      (int)it->server->weights[i]);
}

static void server_since(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cq_dash_server_row *it = &view->picture->server_rows[row];

    cq_dash_relative(out,
                     it->worker ? it->worker->started_at_ms : it->server->started_at_ms,
                     view->picture->at_ms);
}

static void server_until(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cq_dash_server_row *it = &view->picture->server_rows[row];

    if (it->worker)
        cq_dash_relative(out, it->worker->deadline_at_ms, view->picture->at_ms);
    else
        cq_buf_printf(out, "%d/%d", (int)it->server->active_count,
                      (int)it->server->concurrency);
}

static void server_status(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cq_dash_server_row *it = &view->picture->server_rows[row];

    cq_buf_append_text(out, it->worker ? "runs" : it->server->status);
}

/* clang-format off */
static const column server_columns[] = {
    { "SERVER, TASK",   0, 0, false, server_name },
    { "STATUS",         8, 3, false, server_status },
    { "QUEUES, ID",     0, 1, false, server_what },
    { "SINCE",         11, 2, true,  server_since },
    { "BUSY, TIMEOUT", 13, 4, true,  server_until },
    { 0 },
};
/* clang-format on */

/* ---- cron ---- */

static void entry_spec(const cq_dash_view *view, size_t row, cq_buf *out)
{
    cq_buf_append_text(out, view->picture->entries[row].spec);
}

static void entry_type(const cq_dash_view *view, size_t row, cq_buf *out)
{
    cq_buf_append_text(out, view->picture->entries[row].task_type);
}

static void entry_next(const cq_dash_view *view, size_t row, cq_buf *out)
{
    cq_dash_relative(out, view->picture->entries[row].next_at_ms, view->picture->at_ms);
}

static void entry_previous(const cq_dash_view *view, size_t row, cq_buf *out)
{
    cq_dash_relative(out, view->picture->entries[row].previous_at_ms,
                     view->picture->at_ms);
}

static void entry_id(const cq_dash_view *view, size_t row, cq_buf *out)
{
    cq_buf_append_text(out, view->picture->entries[row].id);
}

static void entry_options(const cq_dash_view *view, size_t row, cq_buf *out)
{
    const cronq_entry_info *entry = &view->picture->entries[row];

    for (size_t i = 0; i < entry->option_count; i++)
        cq_buf_printf(out, "%s%s", i ? " " : "", entry->options[i]);
}

/* clang-format off */
static const column entry_columns[] = {
    { "ENTRY",     0, 0, false, entry_id },
    { "SPEC",      0, 1, false, entry_spec },
    { "TYPE",      0, 4, false, entry_type },
    { "NEXT",     11, 2, true,  entry_next },
    { "PREVIOUS", 11, 3, true,  entry_previous },
    { "OPTIONS",   0, 5, false, entry_options },
    { 0 },
};
/* clang-format on */

/* ---- tables ---- */

static const column *const pages[] = {
    [CQ_DASH_QUEUES] = queue_columns,
    [CQ_DASH_TASKS] = task_columns,
    [CQ_DASH_SERVERS] = server_columns,
    [CQ_DASH_CRON] = entry_columns,
};

/* How wide the columns up to that rank are at least; *flexible counts those that take
 * more. */
static int needed(const column *columns, int rank, int *flexible)
{
    int width = -1;

    *flexible = 0;
    for (size_t i = 0; columns[i].title; i++) {
        if (columns[i].rank > rank)
            continue;
        width += 1 + (columns[i].width ? columns[i].width : FLEXIBLE_MIN);
        *flexible += columns[i].width == 0;
    }
    return width;
}

/* 0 for those that are left out. */
static void lay_out(const column *columns, int room, int widths[COLUMN_LIMIT])
{
    int rank = COLUMN_LIMIT, flexible, extra;

    while (rank > 0 && needed(columns, rank, &flexible) > room)
        rank--;
    extra = room - needed(columns, rank, &flexible);
    for (size_t i = 0; columns[i].title; i++) {
        widths[i] = columns[i].rank > rank ? 0
                    : columns[i].width     ? columns[i].width
                                           : FLEXIBLE_MIN;
        if (widths[i] && columns[i].width == 0) {
            widths[i] += extra / flexible;
            extra -= extra / flexible--;
        }
    }
}

static cq_dash_style style_of(const cq_dash_view *view, size_t row)
{
    if (row == view->selected)
        return CQ_DASH_SELECTED;
    if (view->ask.page == CQ_DASH_QUEUES && view->picture->queues[row].info.paused)
        return CQ_DASH_WARNING;
    if (view->ask.page == CQ_DASH_SERVERS && !view->picture->server_rows[row].worker)
        return CQ_DASH_TITLE;
    return CQ_DASH_PLAIN;
}

static void draw_row(const cq_dash_view *view, int y, size_t row, const int *widths)
{
    const column *columns = pages[view->ask.page];
    cq_dash_style style = style_of(view, row);
    int x = 0;

    cq_dash_put(view, y, 0, view->cols, style, CQ_STR(""));
    for (size_t i = 0; columns[i].title; i++) {
        cq_buf out;

        if (!widths[i])
            continue;
        cq_buf_init(&out, CQ_DASH_TEXT_LIMIT);
        columns[i].cell(view, row, &out);
        (columns[i].right ? cq_dash_put_right : cq_dash_put)(view, y, x, widths[i], style,
                                                             cq_buf_str(&out));
        cq_buf_release(&out);
        x += widths[i] + 1;
    }
}

static void draw_titles(const cq_dash_view *view, int y, const int *widths)
{
    const column *columns = pages[view->ask.page];
    int x = 0;

    cq_dash_put(view, y, 0, view->cols, CQ_DASH_TITLE, CQ_STR(""));
    for (size_t i = 0; columns[i].title; i++) {
        if (!widths[i])
            continue;
        (columns[i].right ? cq_dash_put_right : cq_dash_put)(
            view, y, x, widths[i], CQ_DASH_TITLE, cq_str_of(columns[i].title));
        x += widths[i] + 1;
    }
}

/* The window of rows that holds the selected one. */
static size_t first_row(size_t selected, size_t height)
{
    return height && selected >= height ? selected - height + 1 : 0;
}

void cq_dash_draw_table(cq_dash_view *view, int top, int height)
{
    size_t count = cq_dash_row_count(view), rows = (size_t)height - 1;
    size_t first = first_row(view->selected, rows);
    int widths[COLUMN_LIMIT];

    lay_out(pages[view->ask.page], view->cols, widths);
    draw_titles(view, top, widths);
    for (size_t i = 0; i < rows && first + i < count; i++)
        draw_row(view, top + 1 + (int)i, first + i, widths);
    if (count == 0 && cq_dash_is_answered(view))
        cq_dash_put(view, top + 1, 0, view->cols, CQ_DASH_FAINT, CQ_STR("nothing here"));
}
