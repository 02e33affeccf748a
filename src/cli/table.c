/* SPDX-License-Identifier: MIT */
/* cli/table.c - tables that fit the terminal. */
#include "cli/table.h"

#include "base/quote.h"
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define TEXTS_LIMIT_BYTES ((size_t)1 << 29)
#define COLUMNS_MAX       32
#define GAP               2

static const char replacement[] = "\xef\xbf\xbd", ellipsis[] = "\xe2\x80\xa6";

/* ---- cells ---- */

void cq_cli_table_init(cq_cli_table *table, const cq_cli_column *columns,
                       size_t column_count)
{
    *table = (cq_cli_table){ .columns = columns, .column_count = column_count };
    cq_buf_init(&table->texts, TEXTS_LIMIT_BYTES);
    cq_buf_init(&table->cells, TEXTS_LIMIT_BYTES);
}

void cq_cli_table_release(cq_cli_table *table)
{
    cq_buf_release(&table->texts);
    cq_buf_release(&table->cells);
}

static size_t rune_width(cq_str sequence)
{
    int width = wcwidth((wchar_t)cq_utf8_rune(sequence.data, sequence.len));

    return width > 0 ? (size_t)width : 0;
}

/* The sequence at the start of a text; the replacement for what is not to be printed.
 * *used: how long it is there. */
static cq_str next_rune(cq_str text, size_t *used)
{
    size_t len = cq_utf8_sequence(text.data, text.len);

    *used = len ? len : 1;
    if (len && cq_is_printable(cq_utf8_rune(text.data, len)))
        return (cq_str){ text.data, len };
    return (cq_str){ replacement, sizeof replacement - 1 };
}

void cq_cli_clean(cq_buf *out, cq_str text)
{
    for (size_t at = 0, used; at < text.len; at += used)
        cq_buf_append_str(out,
                          next_rune((cq_str){ text.data + at, text.len - at }, &used));
}

static size_t width_of(cq_str text)
{
    size_t width = 0;

    for (size_t at = 0, used; at < text.len; at += used)
        width += rune_width(next_rune((cq_str){ text.data + at, text.len - at }, &used));
    return width;
}

void cq_cli_table_cell(cq_cli_table *table, cq_str text, cq_cli_paint paint)
{
    cq_cli_cell cell = { .at = table->texts.len, .paint = paint };

    cq_cli_clean(&table->texts, text);
    if (table->texts.status)
        return;
    cell.len = table->texts.len - cell.at;
    cell.width = width_of((cq_str){ table->texts.data + cell.at, cell.len });
    cq_buf_append(&table->cells, &cell, sizeof cell);
}

void cq_cli_table_text(cq_cli_table *table, const char *text)
{
    cq_cli_table_cell(table, cq_str_of(text), CQ_CLI_PLAIN);
}

void cq_cli_table_count(cq_cli_table *table, uint64_t number)
{
    char room[24];
    size_t at = sizeof room;

    do
        room[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    cq_cli_table_cell(table, (cq_str){ room + at, sizeof room - at }, CQ_CLI_PLAIN);
}

void cq_cli_table_time(cq_cli_table *table, int64_t at_ms, int64_t now_ms)
{
    cq_buf text;

    if (!at_ms) {
        cq_cli_table_text(table, "-");
        cq_cli_table_text(table, "");
        return;
    }
    cq_buf_init(&text, 256);
    cq_cli_relative(&text, at_ms, now_ms);
    cq_cli_table_cell(table, cq_buf_str(&text), CQ_CLI_PLAIN);
    cq_buf_reset(&text);
    cq_cli_absolute(&text, at_ms);
    cq_cli_table_cell(table, cq_buf_str(&text), CQ_CLI_FAINT);
    cq_buf_release(&text);
}

/* ---- colours ---- */

static const char *const paints[] = { [CQ_CLI_GREEN] = "\033[32m",
                                      [CQ_CLI_YELLOW] = "\033[33m",
                                      [CQ_CLI_RED] = "\033[31m",
                                      [CQ_CLI_FAINT] = "\033[2m" };

void cq_cli_paint_on(const cq_cli *cli, cq_cli_paint paint, cq_buf *out)
{
    if (cli->color && paint)
        cq_buf_append_text(out, paints[paint]);
}

void cq_cli_paint_off(const cq_cli *cli, cq_cli_paint paint, cq_buf *out)
{
    if (cli->color && paint)
        cq_buf_append_text(out, "\033[0m");
}

cq_cli_paint cq_cli_state_paint(cronq_state state)
{
    static const cq_cli_paint by_state[] = { [CRONQ_STATE_ACTIVE] = CQ_CLI_GREEN,
                                             [CRONQ_STATE_RETRY] = CQ_CLI_YELLOW,
                                             [CRONQ_STATE_ARCHIVED] = CQ_CLI_RED,
                                             [CRONQ_STATE_AGGREGATING] = CQ_CLI_PLAIN };

    return (size_t)state < sizeof by_state / sizeof by_state[0] ? by_state[state]
                                                                : CQ_CLI_PLAIN;
}

/* ---- layout ---- */

size_t cq_cli_width(int fd)
{
    struct winsize size;

    if (!isatty(fd) || ioctl(fd, TIOCGWINSZ, &size) || size.ws_col == 0)
        return SIZE_MAX;
    return size.ws_col;
}

typedef struct layout {
    const cq_cli *cli;
    const cq_cli_table *table;
    size_t widths[COLUMNS_MAX];
    bool shown[COLUMNS_MAX];
    cq_buf *out;
} layout;

static const cq_cli_cell *cell_at(const cq_cli_table *table, size_t row, size_t column)
{
    const cq_cli_cell *cells = (const cq_cli_cell *)(const void *)table->cells.data;

    return &cells[row * table->column_count + column];
}

static size_t row_count(const cq_cli_table *table)
{
    return table->cells.len / sizeof(cq_cli_cell) / table->column_count;
}

static void measure(layout *l)
{
    const cq_cli_table *table = l->table;

    for (size_t c = 0; c < table->column_count; c++) {
        l->shown[c] = true;
        l->widths[c] = width_of(cq_str_of(table->columns[c].title));
        for (size_t r = 0; r < row_count(table); r++)
            if (cell_at(table, r, c)->width > l->widths[c])
                l->widths[c] = cell_at(table, r, c)->width;
    }
}

static size_t total_width(const layout *l)
{
    size_t total = 0;

    for (size_t c = 0; c < l->table->column_count; c++)
        if (l->shown[c])
            total += l->widths[c] + (total ? GAP : 0);
    return total;
}

/* The widest of those that may be cut gives first. */
static bool cut_one(layout *l)
{
    size_t widest = SIZE_MAX;

    for (size_t c = 0; c < l->table->column_count; c++) {
        size_t least = l->table->columns[c].cut_to;

        if (!l->shown[c] || !least || l->widths[c] <= least)
            continue;
        if (widest == SIZE_MAX || l->widths[c] > l->widths[widest])
            widest = c;
    }
    if (widest == SIZE_MAX)
        return false;
    l->widths[widest]--;
    return true;
}

static bool drop_one(layout *l)
{
    size_t last = SIZE_MAX;

    for (size_t c = 0; c < l->table->column_count; c++)
        if (l->shown[c] && l->table->columns[c].drop_nth &&
            (last == SIZE_MAX ||
             l->table->columns[c].drop_nth > l->table->columns[last].drop_nth))
            last = c;
    if (last == SIZE_MAX)
        return false;
    l->shown[last] = false;
    return true;
}

/* Is there room for it as a table? */
static bool fit(layout *l, size_t width)
{
    size_t full[COLUMNS_MAX];

    memcpy(full, l->widths, sizeof full);
    while (total_width(l) > width) {
        if (cut_one(l))
            continue;
        if (!drop_one(l))
            return false;
        memcpy(l->widths, full, sizeof full);
    }
    return true;
}

/* ---- printing ---- */

static void spaces(cq_buf *out, size_t count)
{
    while (count-- > 0)
        cq_buf_append_char(out, ' ');
}

size_t cq_cli_cut(cq_buf *out, cq_str text, size_t room)
{
    size_t width = width_of(text), done = 0;

    if (width <= room) {
        cq_buf_append_str(out, text);
        return width;
    }
    for (size_t at = 0, used; at < text.len; at += used) {
        cq_str rune = next_rune((cq_str){ text.data + at, text.len - at }, &used);

        if (done + rune_width(rune) + 1 > room)
            break;
        done += rune_width(rune);
        cq_buf_append_str(out, rune);
    }
    cq_buf_append_text(out, ellipsis);
    return done + 1;
}

/* Nothing is padded behind the last column. */
static void put_cell(const layout *l, size_t column, cq_str text, size_t width,
                     cq_cli_paint paint, bool last)
{
    size_t room = l->widths[column];
    bool right = l->table->columns[column].right;

    if (right && width < room)
        spaces(l->out, room - width);
    cq_cli_paint_on(l->cli, paint, l->out);
    width = cq_cli_cut(l->out, text, room);
    cq_cli_paint_off(l->cli, paint, l->out);
    if (!right && !last && width < room)
        spaces(l->out, room - width);
    if (!last)
        spaces(l->out, GAP);
}

static size_t last_shown(const layout *l)
{
    size_t last = 0;

    for (size_t c = 0; c < l->table->column_count; c++)
        last = l->shown[c] ? c : last;
    return last;
}

static cq_str text_of(const cq_cli_table *table, const cq_cli_cell *cell)
{
    return (cq_str){ table->texts.data + cell->at, cell->len };
}

static void put_rows(const layout *l)
{
    const cq_cli_table *table = l->table;
    size_t last = last_shown(l);

    for (size_t c = 0; c < table->column_count; c++)
        if (l->shown[c])
            put_cell(l, c, cq_str_of(table->columns[c].title),
                     width_of(cq_str_of(table->columns[c].title)), CQ_CLI_PLAIN,
                     c == last);
    cq_buf_append_char(l->out, '\n');
    for (size_t r = 0; r < row_count(table); r++) {
        for (size_t c = 0; c < table->column_count; c++)
            if (l->shown[c])
                put_cell(l, c, text_of(table, cell_at(table, r, c)),
                         cell_at(table, r, c)->width, cell_at(table, r, c)->paint,
                         c == last);
        cq_buf_append_char(l->out, '\n');
    }
}

static void put_title(cq_buf *out, const char *title)
{
    for (; *title; title++)
        cq_buf_append_char(out,
                           (char)(*title >= 'A' && *title <= 'Z' ? *title + 32 : *title));
}

static void put_blocks(const layout *l)
{
    const cq_cli_table *table = l->table;

    for (size_t r = 0; r < row_count(table); r++)
        for (size_t c = 0; c < table->column_count; c++) {
            const cq_cli_cell *cell = cell_at(table, r, c);

            if (c > 0 && cell->len == 0)
                continue;
            if (c > 0) {
                cq_buf_append_char(l->out, ' ');
                put_title(l->out, table->columns[c].title);
                cq_buf_append_char(l->out, ' ');
            }
            cq_cli_paint_on(l->cli, cell->paint, l->out);
            cq_buf_append_str(l->out, text_of(table, cell));
            cq_cli_paint_off(l->cli, cell->paint, l->out);
            cq_buf_append_char(l->out, '\n');
        }
}

void cq_cli_table_render(const cq_cli *cli, cq_cli_table *table, cq_buf *out)
{
    layout l = { .cli = cli, .table = table, .out = out };

    if (table->texts.status || table->cells.status) {
        out->status = table->texts.status ? table->texts.status : table->cells.status;
        return;
    }
    measure(&l);
    if (fit(&l, cq_cli_width(STDOUT_FILENO)))
        put_rows(&l);
    else
        put_blocks(&l);
}

int cq_cli_table_print(const cq_cli *cli, cq_cli_table *table)
{
    cq_buf out;

    cq_buf_init(&out, TEXTS_LIMIT_BYTES);
    cq_cli_table_render(cli, table, &out);
    cq_cli_table_release(table);
    return cq_cli_print(cli, &out);
}
