/* SPDX-License-Identifier: MIT */
/* cli/table.h - tables that fit the terminal, and times for people.
 *
 * A table is filled cell by cell, row after row. Printed to a terminal that is too narrow
 * it cuts the columns that may be cut, then leaves out those that may be left out, and at
 * last becomes a block of lines a row. Elsewhere nothing is cut. Texts come from the
 * store: what is not printable is never printed. */
#ifndef CQ_CLI_TABLE_H
#define CQ_CLI_TABLE_H

#include "cli/cli.h"

#include <cronq/task.h>

typedef struct cq_cli_column {
    const char *title;
    bool right;        /* aligned: numbers */
    size_t cut_to;     /* may be cut down to this width; 0: is never cut */
    unsigned drop_nth; /* may be left out, the highest first; 0: is never left out */
} cq_cli_column;

/* Of a cell: colours of the terminal. */
typedef enum cq_cli_paint {
    CQ_CLI_PLAIN = 0,
    CQ_CLI_GREEN,
    CQ_CLI_YELLOW,
    CQ_CLI_RED,
    CQ_CLI_FAINT,
} cq_cli_paint;

typedef struct cq_cli_cell {
    size_t at, len, width; /* in texts; width: columns of the terminal */
    cq_cli_paint paint;
} cq_cli_cell;

typedef struct cq_cli_table {
    const cq_cli_column *columns; /* borrowed */
    size_t column_count;
    cq_buf texts, cells; /* cells: of cq_cli_cell */
} cq_cli_table;

void cq_cli_table_init(cq_cli_table *table, const cq_cli_column *columns,
                       size_t column_count);
void cq_cli_table_release(cq_cli_table *table);

/* The next cell. */
void cq_cli_table_cell(cq_cli_table *table, cq_str text, cq_cli_paint paint);
void cq_cli_table_text(cq_cli_table *table, const char *text);
void cq_cli_table_count(cq_cli_table *table, uint64_t number);
/* Two cells: "3m ago" and the instant; 0: "-" and "". */
void cq_cli_table_time(cq_cli_table *table, int64_t at_ms, int64_t now_ms);

/* Append the table as the terminal has room for it; fails through out's status. */
void cq_cli_table_render(const cq_cli *cli, cq_cli_table *table, cq_buf *out);
/* The same to stdout, and release it. */
int cq_cli_table_print(const cq_cli *cli, cq_cli_table *table);

/* Columns of the terminal; SIZE_MAX when the descriptor is none. */
size_t cq_cli_width(int fd);
/* Append as much of a printable text as there is room for, with an ellipsis when that is
 * not all; returns its width. */
size_t cq_cli_cut(cq_buf *out, cq_str text, size_t room);

/* Text from the store: what is not printable becomes U+FFFD. */
void cq_cli_clean(cq_buf *out, cq_str text);

/* "in 5m", "3h ago", "now"; and as RFC 3339 in the zone of this machine. */
void cq_cli_relative(cq_buf *out, int64_t at_ms, int64_t now_ms);
void cq_cli_absolute(cq_buf *out, int64_t at_ms);
/* "2026-01-31T09:00:00+01:00 (in 5m)", or "-" for 0. */
void cq_cli_instant(cq_buf *out, int64_t at_ms, int64_t now_ms);
int64_t cq_cli_now_ms(void);

/* That of a state: what fails is red or yellow. */
cq_cli_paint cq_cli_state_paint(cronq_state state);
/* Begin and end a colour, when there are colours. */
void cq_cli_paint_on(const cq_cli *cli, cq_cli_paint paint, cq_buf *out);
void cq_cli_paint_off(const cq_cli *cli, cq_cli_paint paint, cq_buf *out);

#endif
