/* SPDX-License-Identifier: MIT */
/* broker/open.c - which broker a URI asks for. */
#include "broker/broker.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/options.h"

#define AGE_LIMIT_MS ((int64_t)100 * 366 * 24 * 3600 * 1000)

/* No limit: more than there ever are, and earlier than any time. */
#define NO_LIMIT (INT64_MAX / 4000)

cronq_status cq_broker_limits(cq_broker *broker, const cq_broker_options *options,
                              cronq_error *err)
{
    cronq_store_options store;
    cronq_status status =
        cq_options_copy(&store, sizeof store, options->store, "cronq_store_options", err);
    int64_t age_ms;

    if (status)
        return status;
    age_ms = store.archive_max_age_ms;
    if (age_ms != CRONQ_NEVER && (age_ms < 0 || age_ms > AGE_LIMIT_MS))
        return cq_fail(err, CRONQ_EINVAL,
                       "archive_max_age_ms: %lld is not between 0 and %lld",
                       (long long)age_ms, (long long)AGE_LIMIT_MS);
    broker->archive_count = store.archive_max_count ? (int64_t)store.archive_max_count
                            : options->by_hand      ? NO_LIMIT
                                                    : CQ_ARCHIVE_COUNT;
    broker->archive_age_s = age_ms > 0                       ? cq_seconds_up(age_ms)
                            : age_ms < 0 || options->by_hand ? NO_LIMIT
                                                             : CQ_ARCHIVE_AGE_S;
    broker->set_age_s =
        options->set_age_ms > 0 ? cq_seconds_up(options->set_age_ms) : CQ_SET_AGE_S;
    return CRONQ_OK;
}

cronq_status cq_broker_open(const cq_broker_options *options, cq_broker **out,
                            cronq_error *err)
{
    if (!options->uri || !*options->uri)
        return cq_fail(err, CRONQ_EINVAL, "the URI of the store is empty");
    if (strncmp(options->uri, "sqlite:", 7) == 0)
        return cq_sqlite_open(options, out, err);
    return cq_redis_open(options, out, err);
}
