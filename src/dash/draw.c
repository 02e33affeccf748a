/* SPDX-License-Identifier: MIT */
/* dash/draw.c - the frame around a page: what it is, what happened, which keys there are.
 */
#include "dash/view.h"

#include "base/clock.h"

#include <ncurses.h>

#define HEAD_LIMIT 8192

static const char *const keys[] = {
    [CQ_DASH_QUEUES] =
        "1 queues  2 servers  3 cron  enter tasks  p pause/resume  ? help  q quit",
    [CQ_DASH_TASKS] = ("<- -> state  enter task  r run  a archive  c cancel  d delete  p "
                       "pause  esc back"),
    [CQ_DASH_TASK] =
        "v payload as  r run  a archive  c cancel  d delete  esc back  q quit",
    [CQ_DASH_SERVERS] = "1 queues  3 cron  enter task  c cancel  ? help  q quit",
    [CQ_DASH_CRON] = "1 queues  2 servers  ? help  q quit",
};

static const char *const help[] = {
    "1 2 3            queues, servers, cron entries",
    "up down j k      select; on a task: scroll",
    "PgUp PgDn space  a page back or on",
    "enter            the tasks of a queue, a task",
    "left right h l   tasks of another state",
    "esc backspace    back",
    "v                payload as text, JSON, hex",
    "p                pause or resume the queue",
    "r                run the task now",
    "a c d            archive, cancel, delete the task; y confirms",
    "^L               draw anew",
    "q ^C             quit",
};

static void head_of_tasks(const cq_dash_view *view, cq_buf *out)
{
    const cronq_queue_info *info = &view->picture->queue;
    const struct {
        cronq_state state;
        uint64_t count;
    } tabs[] = {
        { CRONQ_STATE_PENDING, info->pending_count },
        { CRONQ_STATE_ACTIVE, info->active_count },
        { CRONQ_STATE_SCHEDULED, info->scheduled_count },
        { CRONQ_STATE_RETRY, info->retry_count },
        { CRONQ_STATE_ARCHIVED, info->archived_count },
        { CRONQ_STATE_COMPLETED, info->completed_count },
        { CRONQ_STATE_AGGREGATING, info->aggregating_count },
    };

    for (size_t i = 0; i < sizeof tabs / sizeof tabs[0]; i++) {
        bool is_open = tabs[i].state == view->ask.state;

        cq_buf_printf(out, "%s%s ", is_open ? "[" : " ", cronq_state_name(tabs[i].state));
        cq_dash_count(out, tabs[i].count);
        cq_buf_append_text(out, is_open ? "]" : " ");
    }
}

/* "11-20 of 300" */
static void append_window(const cq_dash_view *view, cq_buf *out)
{
    size_t count = cq_dash_row_count(view), first = view->ask.offset;

    if (count == 0 || view->picture->total <= count)
        return;
    cq_buf_printf(out, ", %zu-%zu of %zu", first + 1, first + count,
                  view->picture->total);
}

static void append_place(const cq_dash_view *view, cq_buf *out)
{
    switch (view->ask.page) {
    case CQ_DASH_QUEUES:
        cq_buf_append_text(out, "queues");
        append_window(view, out);
        return;
    case CQ_DASH_TASKS:
        cq_buf_printf(out, "queue %s, %s", view->ask.queue,
                      cronq_state_name(view->ask.state));
        append_window(view, out);
        if (cq_dash_is_answered(view) && view->picture->queue.paused)
            cq_buf_append_text(out, " (paused)");
        return;
    case CQ_DASH_TASK:
        cq_buf_printf(out, "queue %s, task %s", view->ask.queue, view->ask.id);
        return;
    case CQ_DASH_SERVERS:
        cq_buf_append_text(out, "servers");
        return;
    case CQ_DASH_CRON:
        cq_buf_append_text(out, "cron entries");
        return;
    }
}

static void draw_head(const cq_dash_view *view)
{
    cq_buf out;

    cq_buf_init(&out, HEAD_LIMIT);
    cq_buf_append_text(&out, "cronq  ");
    append_place(view, &out);
    cq_dash_put(view, 0, 0, view->cols, CQ_DASH_TITLE, cq_buf_str(&out));
    cq_buf_reset(&out);
    if (view->picture) {
        cq_dash_instant(&out, view->picture->at_ms);
        cq_dash_put_right(view, 0, view->cols - 20, 20, CQ_DASH_TITLE, cq_buf_str(&out));
    }
    cq_buf_reset(&out);
    if (view->ask.page == CQ_DASH_TASKS && cq_dash_is_answered(view))
        head_of_tasks(view, &out);
    cq_dash_put(view, 1, 0, view->cols, CQ_DASH_PLAIN, cq_buf_str(&out));
    cq_buf_release(&out);
}

/* The question, the lost store, or what the last action did. */
static void draw_note(const cq_dash_view *view, int y)
{
    const cq_dash_action *action = &view->asked_about;
    cq_dash_style style = view->is_bad_note ? CQ_DASH_WARNING : CQ_DASH_PLAIN;
    cq_buf out;

    cq_buf_init(&out, HEAD_LIMIT);
    if (action->verb) {
        style = CQ_DASH_WARNING;
        cq_buf_printf(&out, "%s %s? y/n", cq_dash_verb_name(action->verb), action->id);
    } else if (view->failing_since_ms) {
        style = CQ_DASH_ALARM;
        cq_buf_append_text(&out, "no answer from the store for ");
        cq_dash_span(&out, cq_mono_ms() - view->failing_since_ms);
        cq_buf_printf(&out, ", trying again: %s", view->failure.text);
    } else if (view->failure.code) {
        style = CQ_DASH_WARNING;
        cq_buf_append_text(&out, view->failure.text);
    } else {
        cq_buf_append_text(&out, view->note);
    }
    cq_dash_put(view, y, 0, view->cols, style, cq_buf_str(&out));
    cq_buf_release(&out);
}

static void draw_help(const cq_dash_view *view, int top, int height)
{
    for (int i = 0; i < height && (size_t)i < sizeof help / sizeof help[0]; i++)
        cq_dash_put(view, top + i, 2, view->cols - 2, CQ_DASH_PLAIN, cq_str_of(help[i]));
}

static void draw_page(cq_dash_view *view, int top, int height)
{
    if (view->is_help)
        draw_help(view, top, height);
    else if (view->ask.page == CQ_DASH_TASK)
        cq_dash_draw_task(view, top, height);
    else
        cq_dash_draw_table(view, top, height);
}

void cq_dash_draw(cq_dash_view *view)
{
    erase();
    if (view->rows < CQ_DASH_ROWS_MIN || view->cols < CQ_DASH_COLS_MIN) {
        cq_dash_put(view, 0, 0, view->cols, CQ_DASH_WARNING, CQ_STR("too small"));
    } else {
        draw_head(view);
        draw_page(view, 2, view->rows - CQ_DASH_FRAME);
        draw_note(view, view->rows - 2);
        cq_dash_put(view, view->rows - 1, 0, view->cols, CQ_DASH_FAINT,
                    cq_str_of(keys[view->ask.page]));
    }
    refresh();
}
