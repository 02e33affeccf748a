/* SPDX-License-Identifier: MIT */
/* dash/screen.c - cells of the terminal, by ncurses. The only file that includes it, but
 * for the keys. */
#include "dash/view.h"

#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <string.h>

#define ESCAPE_DELAY_MS 25

static const struct {
    attr_t attributes;
    short color; /* 0: the terminal's own */
} styles[] = {
    [CQ_DASH_PLAIN] = { A_NORMAL, 0 },
    [CQ_DASH_TITLE] = { A_BOLD, COLOR_CYAN },
    [CQ_DASH_SELECTED] = { A_REVERSE, 0 },
    [CQ_DASH_WARNING] = { A_BOLD, COLOR_YELLOW },
    [CQ_DASH_ALARM] = { A_BOLD | A_REVERSE, COLOR_RED },
    [CQ_DASH_FAINT] = { A_DIM, 0 },
};

bool cq_dash_screen_begin(cq_dash_view *view)
{
    static const short colors[] = { COLOR_CYAN, COLOR_YELLOW, COLOR_RED };

    setlocale(LC_ALL, "");
    view->is_unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (!newterm(NULL, stdout, stdin))
        return false;
    set_escdelay(ESCAPE_DELAY_MS);
    raw();
    noecho();
    nodelay(stdscr, TRUE);
    keypad(stdscr, TRUE);
    curs_set(0);
    view->has_color = view->has_color && has_colors();
    if (view->has_color) {
        start_color();
        use_default_colors();
        for (size_t i = 0; i < sizeof colors / sizeof colors[0]; i++)
            init_pair(colors[i], colors[i], -1);
    }
    return true;
}

void cq_dash_screen_end(void)
{
    endwin();
}

static void put(const cq_dash_view *view, int y, int x, int width, cq_dash_style style,
                cq_str text, bool right)
{
    short color = view->has_color ? styles[style].color : 0;
    cq_buf out;
    int used;

    if (x >= view->cols || y >= view->rows || width <= 0)
        return;
    if (width > view->cols - x)
        width = view->cols - x;
    cq_buf_init(&out, CQ_DASH_TEXT_LIMIT);
    used = (int)cq_dash_fit(&out, text, (size_t)width, view->is_unicode);
    attr_set(styles[style].attributes, color, NULL);
    mvhline(y, x, ' ' | (chtype)(styles[style].attributes | (attr_t)COLOR_PAIR(color)),
            width);
    if (cq_buf_text(&out))
        mvaddstr(y, right ? x + width - used : x, cq_buf_text(&out));
    attr_set(A_NORMAL, 0, NULL);
    cq_buf_release(&out);
}

void cq_dash_put(const cq_dash_view *view, int y, int x, int width, cq_dash_style style,
                 cq_str text)
{
    put(view, y, x, width, style, text, false);
}

void cq_dash_put_right(const cq_dash_view *view, int y, int x, int width,
                       cq_dash_style style, cq_str text)
{
    put(view, y, x, width, style, text, true);
}
