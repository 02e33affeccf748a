/* SPDX-License-Identifier: MIT */
/* dash/view.h - what the user sees and where he stands.
 *
 * Pages: QUEUES -> TASKS of one -> TASK; SERVERS -> TASK; CRON. What is on the screen is
 * drawn from the newest picture that answers the present question; until there is one,
 * the page is empty. The selected row is found again by its id in each new picture, and
 * an action names its task by id: it hits what the user saw. */
#ifndef CQ_DASH_VIEW_H
#define CQ_DASH_VIEW_H

#include "dash/store.h"
#include "dash/text.h"

typedef struct cq_dash_view {
    cq_dash_store *store;
    cq_dash_ask ask;
    cq_dash_picture
        *picture; /* or NULL; answers(view) says if it is of the present ask */
    int64_t failing_since_ms; /* as in the news */
    cronq_error failure;
    bool is_unicode, has_color;
    int rows, cols;

    size_t selected;        /* row of the page; of TASK: the first line shown */
    char selected_id[1025]; /* what it is about; "" none */
    size_t selected_row;    /* on QUEUES, to come back to */
    size_t queues_offset;
    cq_dash_page back;          /* where TASK was entered from */
    cq_dash_form form;          /* of the payload */
    size_t line_count;          /* of TASK, as drawn last */
    cq_dash_action asked_about; /* waits for y or n */
    char note[800];             /* what the last action did */
    bool is_bad_note, is_help, is_over;
} cq_dash_view;

/* ---- keys.c ---- */

void cq_dash_open(cq_dash_view *view, cq_dash_page page);
void cq_dash_key(cq_dash_view *view, int key);
/* Take in what the store's thread has found. */
void cq_dash_take_news(cq_dash_view *view);
void cq_dash_resized(cq_dash_view *view);

/* Does the picture answer the present ask, so that its rows may be shown? */
bool cq_dash_is_answered(const cq_dash_view *view);
size_t cq_dash_row_count(const cq_dash_view *view);
/* The id (on QUEUES the name) of a row; "" when it has none. */
const char *cq_dash_row_id(const cq_dash_view *view, size_t row);

/* ---- draw.c: everything; pages.c: tables; task.c: one task ---- */

void cq_dash_draw(cq_dash_view *view);
void cq_dash_draw_table(cq_dash_view *view, int top, int height);
void cq_dash_draw_task(cq_dash_view *view, int top, int height);

/* ---- screen.c: cells ---- */

typedef enum cq_dash_style {
    CQ_DASH_PLAIN,
    CQ_DASH_TITLE,
    CQ_DASH_SELECTED,
    CQ_DASH_WARNING,
    CQ_DASH_ALARM,
    CQ_DASH_FAINT,
} cq_dash_style;

bool cq_dash_screen_begin(cq_dash_view *view);
void cq_dash_screen_end(void);
/* Write at most width cells and fill the rest of them with blanks. */
void cq_dash_put(const cq_dash_view *view, int y, int x, int width, cq_dash_style style,
                 cq_str text);
void cq_dash_put_right(const cq_dash_view *view, int y, int x, int width,
                       cq_dash_style style, cq_str text);

#define CQ_DASH_ROWS_MIN   8
#define CQ_DASH_COLS_MIN   40
#define CQ_DASH_FRAME      4 /* lines that are not of the page: head, titles, note, keys */
#define CQ_DASH_TEXT_LIMIT ((size_t)1 << 23)

#endif
