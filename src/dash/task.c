/* SPDX-License-Identifier: MIT */
/* dash/task.c - the page of one task: what is known of it, its payload, its result. */
#include "dash/view.h"

#include "base/clock.h"

#define LABEL_CELLS 12

static void line(cq_buf *out, const char *label, const char *text)
{
    if (text && *text)
        cq_buf_printf(out, "%-*s%s\n", LABEL_CELLS, label, text);
}

static void line_at(cq_buf *out, const char *label, int64_t at_ms, int64_t now_ms)
{
    if (at_ms == 0)
        return;
    cq_buf_printf(out, "%-*s", LABEL_CELLS, label);
    cq_dash_instant(out, at_ms);
    cq_buf_append_text(out, " (");
    cq_dash_relative(out, at_ms, now_ms);
    cq_buf_append_text(out, ")\n");
}

static void line_for(cq_buf *out, const char *label, int64_t span_ms)
{
    if (span_ms == 0)
        return;
    cq_buf_printf(out, "%-*s", LABEL_CELLS, label);
    cq_dash_span(out, span_ms);
    cq_buf_append_char(out, '\n');
}

static void append_marks(const cronq_task_info *task, cq_buf *out)
{
    if (cronq_task_info_is_unique(task))
        line(out, "unique", "yes");
    if (cronq_task_info_is_orphaned(task))
        line(out, "orphaned", "its worker is gone; it will be put back");
    if (cronq_task_info_is_cancelled(task))
        line(out, "cancelled", "it was asked to stop");
    if (cronq_task_info_is_merging(task))
        line(out, "merging", "its group is under way");
}

static void append_times(const cronq_task_info *task, int64_t now_ms, cq_buf *out)
{
    line_at(out, "due", cronq_task_info_next_at_ms(task), now_ms);
    line_at(out, "pending", cronq_task_info_pending_since_ms(task), now_ms);
    line_for(out, "timeout", cronq_task_info_timeout_ms(task));
    line_at(out, "deadline", cronq_task_info_deadline_at_ms(task), now_ms);
    line_at(out, "failed", cronq_task_info_last_failed_at_ms(task), now_ms);
    line_at(out, "archived", cronq_task_info_archived_at_ms(task), now_ms);
    line_at(out, "completed", cronq_task_info_completed_at_ms(task), now_ms);
    line_at(out, "kept until", cronq_task_info_kept_until_ms(task), now_ms);
}

static void append_headers(const cronq_task_info *task, cq_buf *out)
{
    for (size_t i = 0; i < cronq_task_info_header_count(task); i++) {
        cronq_header header = cronq_task_info_header_at(task, i);

        cq_buf_printf(out, "%-*s%s: %s\n", LABEL_CELLS, i ? "" : "headers", header.key,
                      header.value);
    }
}

/* The last ten, the newest first, whose text is the error. */
static void append_failures(const cronq_task_info *task, int64_t now_ms, cq_buf *out)
{
    size_t count = cronq_task_info_failure_count(task);

    if (count == 0)
        line(out, "error", cronq_task_info_error(task));
    for (size_t i = 0; i < count; i++) {
        cronq_failure failure = cronq_task_info_failure_at(task, i);

        cq_buf_printf(out, "%-*sattempt %d, ", LABEL_CELLS, i ? "" : "errors",
                      (int)failure.attempt);
        cq_dash_relative(out, failure.at_ms, now_ms);
        cq_buf_printf(out, " on %s: %s\n", failure.host, failure.text);
    }
}

static void append_bytes(const cq_dash_view *view, const char *label, cronq_bytes bytes,
                         cq_buf *out)
{
    static const char *const names[] = { "", "text", "JSON", "hex" };
    cq_dash_form form;
    cq_buf body;

    cq_buf_init(&body, CQ_DASH_TEXT_LIMIT);
    form = cq_dash_format(&body, bytes, view->form, (size_t)view->cols);
    cq_buf_printf(out, "\n%s, %zu bytes, %s%s\n", label, bytes.len, names[form],
                  bytes.len > CQ_DASH_SHOWN_BYTES ? ", its beginning" : "");
    cq_buf_append_str(out, cq_buf_str(&body));
    if (out->len && out->data[out->len - 1] != '\n')
        cq_buf_append_char(out, '\n');
    cq_buf_release(&body);
}

static void describe(const cq_dash_view *view, cq_buf *out)
{
    const cronq_task_info *task = view->picture->task;

    line(out, "id", cronq_task_info_id(task));
    line(out, "type", cronq_task_info_type(task));
    line(out, "queue", cronq_task_info_queue(task));
    line(out, "state", cronq_state_name(cronq_task_info_state(task)));
    line(out, "group", cronq_task_info_group(task));
    cq_buf_printf(out, "%-*s%d of %d\n", LABEL_CELLS, "retries",
                  (int)cronq_task_info_retry_count(task),
                  (int)cronq_task_info_max_retry(task));
    append_marks(task, out);
    append_times(task, view->picture->at_ms, out);
    append_failures(task, view->picture->at_ms, out);
    append_headers(task, out);
    append_bytes(view, "payload", cronq_task_info_payload(task), out);
    if (cronq_task_info_result(task).data)
        append_bytes(view, "result", cronq_task_info_result(task), out);
}

void cq_dash_draw_task(cq_dash_view *view, int top, int height)
{
    cq_buf out;
    cq_str rest, text;
    size_t at = 0;

    if (!cq_dash_is_answered(view) || !view->picture->task)
        return;
    cq_buf_init(&out, CQ_DASH_TEXT_LIMIT);
    describe(view, &out);
    rest = cq_buf_str(&out);
    while (cq_dash_next_line(&rest, (size_t)view->cols, view->is_unicode, &text)) {
        if (at >= view->selected && at - view->selected < (size_t)height)
            cq_dash_put(view, top + (int)(at - view->selected), 0, view->cols,
                        CQ_DASH_PLAIN, text);
        at++;
    }
    view->line_count = at;
    cq_buf_release(&out);
}
