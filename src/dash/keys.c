/* SPDX-License-Identifier: MIT */
/* dash/keys.c - what keys and news change about the view. */
#include "dash/view.h"

#include "base/clock.h"

#include <ncurses.h>
#include <stdio.h>

#define KEY_CTRL(c) ((c)&0x1f)
#define KEY_ESCAPE  27
#define KEY_NEWLINE '\n'
#define KEY_DELETE  127

static const cronq_state states[] = {
    CRONQ_STATE_PENDING,     CRONQ_STATE_ACTIVE,   CRONQ_STATE_SCHEDULED,
    CRONQ_STATE_RETRY,       CRONQ_STATE_ARCHIVED, CRONQ_STATE_COMPLETED,
    CRONQ_STATE_AGGREGATING,
};
#define STATE_COUNT (sizeof states / sizeof states[0])

/* ---- rows ---- */

/* Is it of the same queues, tasks, …, if perhaps of another page of them? */
static bool is_same_list(const cq_dash_ask *a, const cq_dash_ask *b)
{
    if (a->page != b->page)
        return false;
    if (a->page == CQ_DASH_TASK)
        return strcmp(a->queue, b->queue) == 0 && strcmp(a->id, b->id) == 0;
    return a->page != CQ_DASH_TASKS ||
           (a->state == b->state && strcmp(a->queue, b->queue) == 0);
}

bool cq_dash_is_answered(const cq_dash_view *view)
{
    const cq_dash_picture *picture = view->picture;

    return picture && is_same_list(&picture->ask, &view->ask) &&
           picture->ask.offset == view->ask.offset;
}

size_t cq_dash_row_count(const cq_dash_view *view)
{
    if (!cq_dash_is_answered(view))
        return 0;
    switch (view->ask.page) {
    case CQ_DASH_QUEUES:
        return view->picture->queue_count;
    case CQ_DASH_TASKS:
        return view->picture->task_count;
    case CQ_DASH_SERVERS:
        return view->picture->server_row_count;
    case CQ_DASH_CRON:
        return view->picture->entry_count;
    case CQ_DASH_TASK:
        break;
    }
    return 0;
}

const char *cq_dash_row_id(const cq_dash_view *view, size_t row)
{
    const cq_dash_picture *picture = view->picture;

    if (row >= cq_dash_row_count(view))
        return "";
    switch (view->ask.page) {
    case CQ_DASH_QUEUES:
        return picture->queues[row].info.name;
    case CQ_DASH_TASKS:
        return cronq_task_info_id(picture->tasks[row]);
    case CQ_DASH_SERVERS:
        if (picture->server_rows[row].worker)
            return picture->server_rows[row].worker->task_id;
        return picture->server_rows[row].server->id;
    case CQ_DASH_CRON:
        return picture->entries[row].id;
    case CQ_DASH_TASK:
        break;
    }
    return "";
}

static void select_row(cq_dash_view *view, size_t row)
{
    size_t count = cq_dash_row_count(view);

    if (row >= count)
        row = count ? count - 1 : 0;
    view->selected = row;
    snprintf(view->selected_id, sizeof view->selected_id, "%s",
             cq_dash_row_id(view, row));
}

/* The same task may be on another row now. */
static void select_again(cq_dash_view *view)
{
    size_t count = cq_dash_row_count(view);

    if (view->ask.page == CQ_DASH_TASK || !cq_dash_is_answered(view))
        return;
    for (size_t row = 0; row < count && *view->selected_id; row++)
        if (strcmp(cq_dash_row_id(view, row), view->selected_id) == 0) {
            view->selected = row;
            return;
        }
    select_row(view, view->selected);
}

/* ---- news ---- */

static void note_outcome(cq_dash_view *view, const cq_dash_news *news)
{
    const cq_dash_action *action = &news->action;
    const char *what = *action->id ? action->id : action->queue;
    const char *verb = cq_dash_verb_name(action->verb);

    view->is_bad_note = news->outcome.code != CRONQ_OK;
    if (view->is_bad_note)
        snprintf(view->note, sizeof view->note, "%s %.200s: %s", verb, what,
                 news->outcome.text);
    else
        snprintf(view->note, sizeof view->note, "%s %.200s: done", verb, what);
}

void cq_dash_take_news(cq_dash_view *view)
{
    cq_dash_news news;

    cq_dash_store_news(view->store, &news);
    view->failing_since_ms = news.failing_since_ms;
    view->failure = news.failure;
    if (news.is_action_over)
        note_outcome(view, &news);
    if (!news.picture)
        return;
    cq_dash_picture_free(view->picture);
    view->picture = news.picture;
    select_again(view);
}

/* ---- going around ---- */

static void ask(cq_dash_view *view)
{
    int rows = view->rows - CQ_DASH_FRAME - 1;

    view->ask.limit = rows < 1 ? 1 : (size_t)rows;
    if (view->ask.limit > CQ_DASH_ROWS_LIMIT)
        view->ask.limit = CQ_DASH_ROWS_LIMIT;
    cq_dash_store_ask(view->store, &view->ask);
}

void cq_dash_resized(cq_dash_view *view)
{
    getmaxyx(stdscr, view->rows, view->cols);
    if (view->selected && view->ask.page <= CQ_DASH_TASKS &&
        view->selected >= (size_t)view->rows)
        select_row(view, 0);
    ask(view);
}

void cq_dash_open(cq_dash_view *view, cq_dash_page page)
{
    if (view->ask.page == CQ_DASH_QUEUES) {
        view->queues_offset = view->ask.offset;
        view->selected_row = view->selected;
    }
    if (page == CQ_DASH_TASK)
        view->back = view->ask.page;
    view->ask.page = page;
    view->ask.offset = page == CQ_DASH_QUEUES ? view->queues_offset : 0;
    view->selected = page == CQ_DASH_QUEUES ? view->selected_row : 0;
    view->selected_id[0] = '\0';
    view->note[0] = '\0';
    view->is_help = false;
    ask(view);
}

static void go_to(cq_dash_view *view, size_t offset)
{
    view->ask.offset = offset;
    view->selected_id[0] = '\0';
    ask(view);
}

/* Also while the next page is under way: keys come faster than answers. */
static size_t total(const cq_dash_view *view)
{
    const cq_dash_picture *picture = view->picture;

    return picture && is_same_list(&picture->ask, &view->ask) ? picture->total : 0;
}

/* QUEUES and TASKS come from the store a page at a time. */
static void next_page(cq_dash_view *view)
{
    size_t next = view->ask.offset + view->ask.limit;

    if (view->ask.page <= CQ_DASH_TASKS && next < total(view)) {
        view->selected = 0;
        go_to(view, next);
    } else {
        select_row(view, view->ask.page <= CQ_DASH_TASKS
                             ? SIZE_MAX
                             : view->selected + view->ask.limit);
    }
}

static void previous_page(cq_dash_view *view)
{
    size_t limit = view->ask.limit;

    if (view->ask.page <= CQ_DASH_TASKS && view->ask.offset > 0) {
        view->selected = limit - 1;
        go_to(view, view->ask.offset > limit ? view->ask.offset - limit : 0);
    } else {
        select_row(view, view->selected > limit ? view->selected - limit : 0);
    }
}

static void down(cq_dash_view *view)
{
    if (view->selected + 1 < cq_dash_row_count(view))
        select_row(view, view->selected + 1);
    else if (view->ask.page <= CQ_DASH_TASKS &&
             view->ask.offset + view->ask.limit < total(view))
        next_page(view);
}

static void up(cq_dash_view *view)
{
    if (view->selected > 0)
        select_row(view, view->selected - 1);
    else if (view->ask.page <= CQ_DASH_TASKS && view->ask.offset > 0)
        previous_page(view);
}

/* Of the page of one task, where selected is the first line shown. */
static void scroll_lines(cq_dash_view *view, int lines)
{
    size_t shown = (size_t)(view->rows - CQ_DASH_FRAME);
    size_t last = view->line_count > shown ? view->line_count - shown : 0;

    if (lines < 0)
        view->selected -=
            view->selected < (size_t)-lines ? view->selected : (size_t)-lines;
    else
        view->selected += (size_t)lines;
    if (view->selected > last)
        view->selected = last;
}

static void change_state(cq_dash_view *view, size_t step)
{
    size_t at = 0;

    while (at < STATE_COUNT - 1 && states[at] != view->ask.state)
        at++;
    view->ask.state = states[(at + step) % STATE_COUNT];
    view->selected = 0;
    go_to(view, 0);
}

static void open_task(cq_dash_view *view, const char *queue, const char *id)
{
    if (queue != view->ask.queue)
        snprintf(view->ask.queue, sizeof view->ask.queue, "%s", queue);
    snprintf(view->ask.id, sizeof view->ask.id, "%s", id);
    cq_dash_open(view, CQ_DASH_TASK);
}

static void enter(cq_dash_view *view)
{
    if (view->selected >= cq_dash_row_count(view))
        return;
    if (view->ask.page == CQ_DASH_QUEUES) {
        snprintf(view->ask.queue, sizeof view->ask.queue, "%s",
                 cq_dash_row_id(view, view->selected));
        view->ask.state = CRONQ_STATE_PENDING;
        cq_dash_open(view, CQ_DASH_TASKS);
    } else if (view->ask.page == CQ_DASH_TASKS) {
        open_task(view, view->ask.queue, cq_dash_row_id(view, view->selected));
    } else if (view->ask.page == CQ_DASH_SERVERS) {
        const cq_dash_server_row *row = &view->picture->server_rows[view->selected];

        if (row->worker)
            open_task(view, row->worker->queue, row->worker->task_id);
    }
}

static void leave(cq_dash_view *view)
{
    if (view->is_help)
        view->is_help = false;
    else if (view->ask.page == CQ_DASH_TASK)
        cq_dash_open(view, view->back);
    else if (view->ask.page != CQ_DASH_QUEUES)
        cq_dash_open(view, CQ_DASH_QUEUES);
}

/* ---- actions ---- */

static void act(cq_dash_view *view, const cq_dash_action *action)
{
    bool is_taken = cq_dash_store_act(view->store, action);

    view->is_bad_note = !is_taken;
    snprintf(view->note, sizeof view->note, "%s",
             is_taken ? "..." : "the last action is not over yet");
}

static void toggle_pause(cq_dash_view *view)
{
    cq_dash_action action = { .verb = CQ_DASH_PAUSE };
    const cronq_queue_info *info;

    if (view->ask.page == CQ_DASH_QUEUES && view->selected < cq_dash_row_count(view))
        info = &view->picture->queues[view->selected].info;
    else if (view->ask.page == CQ_DASH_TASKS && cq_dash_is_answered(view))
        info = &view->picture->queue;
    else
        return;
    if (info->paused)
        action.verb = CQ_DASH_RESUME;
    memcpy(action.queue, info->name, sizeof action.queue);
    act(view, &action);
}

/* The task that is selected, or shown. */
static bool name_task(const cq_dash_view *view, cq_dash_action *action)
{
    const char *queue = view->ask.queue, *id = view->ask.id;

    if (view->ask.page == CQ_DASH_TASKS) {
        id = cq_dash_row_id(view, view->selected);
    } else if (view->ask.page == CQ_DASH_SERVERS &&
               view->selected < cq_dash_row_count(view)) {
        const cq_dash_server_row *row = &view->picture->server_rows[view->selected];

        if (!row->worker)
            return false;
        queue = row->worker->queue;
        id = row->worker->task_id;
    } else if (view->ask.page != CQ_DASH_TASK) {
        return false;
    }
    snprintf(action->queue, sizeof action->queue, "%s", queue);
    snprintf(action->id, sizeof action->id, "%s", id);
    return *id != '\0';
}

static void task_action(cq_dash_view *view, cq_dash_verb verb)
{
    cq_dash_action action = { .verb = verb };

    if (!name_task(view, &action))
        return;
    if (verb == CQ_DASH_RUN)
        act(view, &action);
    else
        view->asked_about = action;
}

static void answer(cq_dash_view *view, int key)
{
    if (key == 'y' || key == 'Y')
        act(view, &view->asked_about);
    view->asked_about.verb = CQ_DASH_NOTHING;
}

/* ---- keys ---- */

static void key_of_task(cq_dash_view *view, int key)
{
    int page = view->rows - CQ_DASH_FRAME;

    switch (key) {
    case KEY_DOWN:
    case 'j':
        scroll_lines(view, 1);
        return;
    case KEY_UP:
    case 'k':
        scroll_lines(view, -1);
        return;
    case KEY_NPAGE:
    case ' ':
        scroll_lines(view, page);
        return;
    case KEY_PPAGE:
        scroll_lines(view, -page);
        return;
    case 'v':
        view->form = (cq_dash_form)((view->form + 1) % CQ_DASH_FORM_COUNT);
        return;
    default:
        return;
    }
}

static void key_of_table(cq_dash_view *view, int key)
{
    bool is_tasks = view->ask.page == CQ_DASH_TASKS;

    switch (key) {
    case KEY_DOWN:
    case 'j':
        down(view);
        return;
    case KEY_UP:
    case 'k':
        up(view);
        return;
    case KEY_NPAGE:
    case ' ':
        next_page(view);
        return;
    case KEY_PPAGE:
        previous_page(view);
        return;
    case KEY_RIGHT:
    case 'l':
        if (is_tasks)
            change_state(view, 1);
        return;
    case KEY_LEFT:
    case 'h':
        if (is_tasks)
            change_state(view, STATE_COUNT - 1);
        return;
    case KEY_ENTER:
    case KEY_NEWLINE:
    case '\r':
        enter(view);
        return;
    case 'p':
        toggle_pause(view);
        return;
    default:
        return;
    }
}

static void key_of_page(cq_dash_view *view, int key)
{
    switch (key) {
    case 'r':
        task_action(view, CQ_DASH_RUN);
        return;
    case 'a':
        task_action(view, CQ_DASH_ARCHIVE);
        return;
    case 'c':
        task_action(view, CQ_DASH_CANCEL);
        return;
    case 'd':
        task_action(view, CQ_DASH_DELETE);
        return;
    default:
        (view->ask.page == CQ_DASH_TASK ? key_of_task : key_of_table)(view, key);
    }
}

void cq_dash_key(cq_dash_view *view, int key)
{
    if (key == KEY_RESIZE) {
        cq_dash_resized(view);
        return;
    }
    if (view->asked_about.verb) {
        answer(view, key);
        return;
    }
    switch (key) {
    case 'q':
    case KEY_CTRL('c'):
        view->is_over = true;
        return;
    case '?':
        view->is_help = !view->is_help;
        return;
    case KEY_ESCAPE:
    case KEY_BACKSPACE:
    case KEY_DELETE:
        leave(view);
        return;
    case '1':
        cq_dash_open(view, CQ_DASH_QUEUES);
        return;
    case '2':
        cq_dash_open(view, CQ_DASH_SERVERS);
        return;
    case '3':
        cq_dash_open(view, CQ_DASH_CRON);
        return;
    case KEY_CTRL('l'):
        clearok(curscr, TRUE);
        return;
    default:
        if (!view->is_help)
            key_of_page(view, key);
    }
}
