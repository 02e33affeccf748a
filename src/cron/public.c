/* SPDX-License-Identifier: MIT */
/* public.c - cronq/cron.h: cron expressions for users, with the zone by its name. */
#include "cron/cron.h"

#include "base/clock.h"
#include "base/error.h"

#include <cronq/cron.h>
#include <stdlib.h>

struct cronq_cron {
    cq_zone *zone;        /* of time_zone */
    cq_cron *cron;        /* borrows zone */
    const cq_zone *shown; /* in which to show times: zone, or the expression's own */
};

cronq_status cronq_cron_parse(const char *spec, const char *time_zone, cronq_cron **out,
                              cronq_error *err)
{
    cronq_cron *cron = calloc(1, sizeof *cron);
    cronq_status status;

    if (!cron)
        return cq_fail_nomem(err);
    status = cq_zone_open(time_zone ? cq_str_of(time_zone) : CQ_STR("Local"), &cron->zone,
                          err);
    if (!status)
        status = cq_cron_parse(cq_str_of(spec), cron->zone, CQ_CRON_OPTIONAL_SECONDS,
                               &cron->cron, err);
    if (status) {
        cronq_cron_free(cron);
        return status;
    }
    cron->shown = time_zone ? cron->zone : cq_cron_zone(cron->cron);
    *out = cron;
    return CRONQ_OK;
}

void cronq_cron_free(cronq_cron *cron)
{
    if (!cron)
        return;
    cq_cron_free(cron->cron);
    cq_zone_free(cron->zone);
    free(cron);
}

static int64_t ms_of(int64_t s)
{
    return s > INT64_MAX / CQ_MS_PER_S ? CRONQ_CRON_NEVER : s * CQ_MS_PER_S;
}

int64_t cronq_cron_next(const cronq_cron *cron, int64_t after_ms)
{
    return ms_of(cq_cron_next(cron->cron, cq_seconds_down(after_ms)));
}

int64_t cronq_cron_next_compat(const cronq_cron *cron, int64_t after_ms)
{
    return ms_of(cq_cron_next_compat(cron->cron, cq_seconds_down(after_ms)));
}

int32_t cronq_cron_offset_s(const cronq_cron *cron, int64_t at_ms)
{
    return cq_zone_offset_s(cron->shown, cq_seconds_down(at_ms));
}
