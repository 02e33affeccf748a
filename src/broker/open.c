/* SPDX-License-Identifier: MIT */
/* broker/open.c - which broker a URI asks for. */
#include "broker/broker.h"

#include "base/error.h"

cronq_status cq_broker_open(const cq_broker_options *options, cq_broker **out,
                            cronq_error *err)
{
    if (!options->uri || !*options->uri)
        return cq_fail(err, CRONQ_EINVAL, "the URI of the store is empty");
    if (strncmp(options->uri, "sqlite:", 7) == 0)
        return cq_sqlite_open(options, out, err);
    return cq_redis_open(options, out, err);
}
