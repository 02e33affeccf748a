/* SPDX-License-Identifier: MIT */
/* cli/when.c - times for people. */
#include "base/clock.h"
#include "base/rfc3339.h"
#include "cli/table.h"

#include <time.h>

static const struct {
    int64_t from_ms, unit_ms;
    char letter;
} units[] = {
    { (int64_t)2 * 86400000, 86400000, 'd' },
    { (int64_t)2 * 3600000, 3600000, 'h' },
    { (int64_t)2 * 60000, 60000, 'm' },
    { 1000, 1000, 's' },
};

void cq_cli_relative(cq_buf *out, int64_t at_ms, int64_t now_ms)
{
    bool later = at_ms > now_ms;
    int64_t apart_ms = later ? at_ms - now_ms : now_ms - at_ms;

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (apart_ms >= units[i].from_ms) {
            apart_ms += later ? units[i].unit_ms / 2 : 0; /* "in 5m" is not "in 4m" */
            cq_buf_printf(out, later ? "in %lld%c" : "%lld%c ago",
                          (long long)(apart_ms / units[i].unit_ms), units[i].letter);
            return;
        }
    cq_buf_append_text(out, "now");
}

void cq_cli_absolute(cq_buf *out, int64_t at_ms)
{
    int64_t at_s = at_ms / 1000 - (at_ms % 1000 < 0);
    time_t t = (time_t)at_s;
    struct tm local;
    bool known = localtime_r(&t, &local) != NULL;

    cq_rfc3339_print_s(out, at_s, 0, known ? (int32_t)local.tm_gmtoff : 0);
}

void cq_cli_instant(cq_buf *out, int64_t at_ms, int64_t now_ms)
{
    if (!at_ms) {
        cq_buf_append_char(out, '-');
        return;
    }
    cq_cli_absolute(out, at_ms);
    cq_buf_append_text(out, " (");
    cq_cli_relative(out, at_ms, now_ms);
    cq_buf_append_char(out, ')');
}

int64_t cq_cli_now_ms(void)
{
    return cq_wall_ns() / CQ_NS_PER_MS;
}
