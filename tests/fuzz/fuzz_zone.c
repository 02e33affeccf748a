/* SPDX-License-Identifier: MIT */
/* fuzz_zone.c - cron gets on with any zone file, however strange its clock changes. */
#include "cron/zone.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const char *spec, const cq_zone *zone, int64_t at)
{
    cq_cron *cron;

    if (cq_cron_parse(cq_str_of(spec), zone, CQ_CRON_STANDARD, &cron, NULL))
        abort();
    for (int i = 0; i < 3 && at != INT64_MAX; i++) {
        int64_t next = cq_cron_next(cron, at);

        if (next <= at)
            abort();
        at = next;
    }
    cq_cron_free(cron);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t starts[] = { -5000000000, 745800000, 1325109600, 4000000000 };
    cronq_error err = { 0 };
    cq_zone *zone;

    if (cq_zone_decode(CQ_STR("fuzz"), (cq_str){ (const char *)data, size }, &zone,
                       &err)) {
        if (err.code != CRONQ_EINVAL || !err.text[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        cq_zone_span span = cq_zone_span_at(zone, starts[i]);

        if (starts[i] < span.from_s || starts[i] >= span.until_s)
            abort();
        walk("30 2 * * *", zone, starts[i]);
        walk("0 0 29 2 1", zone, starts[i]);
    }
    cq_zone_free(zone);
    return 0;
}
