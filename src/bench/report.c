/* SPDX-License-Identifier: MIT */
/* report.c - rows as a table, as JSON and as a picture. */
#include "base/json.h"
#include "bench/bench.h"

#include <string.h>

/* ---- table ---- */

static void put_value(cq_buf *out, double value)
{
    cq_buf_printf(out,
                  value >= 1000 ? " %11.0f"
                  : value >= 10 ? " %11.1f"
                                : " %11.3f",
                  value);
}

static void put_cost(cq_buf *out, double us)
{
    if (us < 0)
        cq_buf_printf(out, " %7s", "");
    else
        cq_buf_printf(out, " %7.2f", us);
}

static bool is_met(const cq_bench_row *row)
{
    double got = row->beside ? row->ratio.median : row->value.median;

    return row->at_most ? got <= row->wanted : got >= row->wanted;
}

static void put_table_row(cq_buf *out, const cq_bench_row *row)
{
    cq_buf_printf(out, "%-34s", row->name);
    put_value(out, row->value.lowest);
    put_value(out, row->value.median);
    put_value(out, row->value.highest);
    cq_buf_printf(out, " %-8s", row->unit);
    if (row->beside)
        cq_buf_printf(out, " %5.2f (%.2f-%.2f)", row->ratio.median, row->ratio.lowest,
                      row->ratio.highest);
    else
        cq_buf_printf(out, " %17s", "");
    put_cost(out, row->own_us);
    put_cost(out, row->store_us);
    put_cost(out, row->allocations);
    if (row->wanted > 0)
        cq_buf_printf(out, "  %s %g: %s", row->at_most ? "<=" : ">=", row->wanted,
                      is_met(row) ? "met" : "not met");
    cq_buf_append_char(out, '\n');
}

static bool begins_section(const cq_bench_report *report, size_t i)
{
    return i == 0 || strcmp(report->rows[i].section, report->rows[i - 1].section) != 0;
}

void cq_bench_put_table(const cq_bench_report *report, cq_buf *out)
{
    for (size_t i = 0; i < report->count; i++) {
        if (begins_section(report, i))
            cq_buf_printf(out, "%s%-34s %11s %11s %11s %-8s %17s %7s %7s %7s\n",
                          i ? "\n" : "", report->rows[i].section, "min", "median", "max",
                          "", "ratio (min-max)", "own us", "store", "allocs");
        put_table_row(out, &report->rows[i]);
    }
}

/* ---- JSON: {section: {key: {...}}} ---- */

static void put_json_spread(cq_buf *out, const cq_bench_spread *spread)
{
    cq_json_key(out, "min");
    cq_json_double(out, spread->lowest);
    cq_json_key(out, "median");
    cq_json_double(out, spread->median);
    cq_json_key(out, "max");
    cq_json_double(out, spread->highest);
}

static void put_json_known(cq_buf *out, const char *key, double value)
{
    if (value < 0)
        return;
    cq_json_key(out, key);
    cq_json_double(out, value);
}

static void put_json_row(cq_buf *out, const cq_bench_row *row)
{
    cq_json_key(out, row->key);
    cq_json_open(out, '{');
    cq_json_key_text(out, "name", row->name);
    cq_json_key_text(out, "unit", row->unit);
    put_json_spread(out, &row->value);
    if (row->beside) {
        cq_json_key_text(out, "beside", row->beside);
        cq_json_key(out, "ratio");
        cq_json_open(out, '{');
        put_json_spread(out, &row->ratio);
        cq_json_close(out, '}');
    }
    put_json_known(out, "own_us", row->own_us);
    put_json_known(out, "store_us", row->store_us);
    put_json_known(out, "allocations", row->allocations);
    if (row->wanted > 0) {
        cq_json_key(out, row->at_most ? "at_most" : "at_least");
        cq_json_double(out, row->wanted);
        cq_json_key_bool(out, "met", is_met(row));
    }
    cq_json_close(out, '}');
}

void cq_bench_put_json(const cq_bench_report *report, cq_buf *out)
{
    cq_json_open(out, '{');
    for (size_t i = 0; i < report->count; i++) {
        if (begins_section(report, i)) {
            if (i)
                cq_json_close(out, '}');
            cq_json_key(out, report->rows[i].section);
            cq_json_open(out, '{');
        }
        put_json_row(out, &report->rows[i]);
    }
    if (report->count)
        cq_json_close(out, '}');
    cq_json_close(out, '}');
}

/* ---- SVG: a bar for each median, a whisker from the lowest to the highest ---- */

#define WIDTH      960
#define LABEL      300
#define BAR_ROOM   500
#define ROW_HEIGHT 22

/* The longest bar of a unit in its section takes all the room. */
static double longest(const cq_bench_report *report, const cq_bench_row *row)
{
    double most = 1e-9;

    for (size_t i = 0; i < report->count; i++) {
        const cq_bench_row *other = &report->rows[i];

        if (strcmp(other->section, row->section) == 0 &&
            strcmp(other->unit, row->unit) == 0 && other->value.highest > most)
            most = other->value.highest;
    }
    return most;
}

static void put_svg_row(cq_buf *out, const cq_bench_report *report,
                        const cq_bench_row *row, int y)
{
    double scale = BAR_ROOM / longest(report, row);
    bool missed = row->wanted > 0 && !is_met(row);

    cq_buf_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n",
                  LABEL - 8, y + 15, row->name);
    cq_buf_printf(out,
                  "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"14\" fill=\"%s\"/>\n",
                  LABEL, y + 4, row->value.median * scale,
                  missed        ? "#d08770"
                  : row->beside ? "#5e81ac"
                                : "#a0a8b5");
    cq_buf_printf(
        out, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#2e3440\"/>\n",
        LABEL + row->value.lowest * scale, LABEL + row->value.highest * scale, y + 11,
        y + 11);
    cq_buf_printf(out, "<text x=\"%d\" y=\"%d\">", LABEL + BAR_ROOM + 8, y + 15);
    cq_buf_printf(out, row->value.median >= 100 ? "%.0f %s" : "%.3g %s",
                  row->value.median, row->unit);
    if (row->beside)
        cq_buf_printf(out, " (%.2f)", row->ratio.median);
    cq_buf_append_text(out, "</text>\n");
}

void cq_bench_put_svg(const cq_bench_report *report, const char *title, cq_buf *out)
{
    size_t sections = 0;
    int y = 40;

    for (size_t i = 0; i < report->count; i++)
        sections += begins_section(report, i);
    cq_buf_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%zu\" "
                  "font-family=\"sans-serif\" font-size=\"12\">\n"
                  "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n"
                  "<text x=\"16\" y=\"24\" font-size=\"15\">%s</text>\n",
                  WIDTH, 56 + (report->count + 2 * sections) * ROW_HEIGHT, title);
    for (size_t i = 0; i < report->count; i++) {
        if (begins_section(report, i)) {
            cq_buf_printf(out, "<text x=\"16\" y=\"%d\" font-weight=\"bold\">%s</text>\n",
                          y + 30, report->rows[i].section);
            y += 2 * ROW_HEIGHT;
        }
        put_svg_row(out, report, &report->rows[i], y);
        y += ROW_HEIGHT;
    }
    cq_buf_append_text(out, "</svg>\n");
}
