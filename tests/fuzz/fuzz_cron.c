/* SPDX-License-Identifier: MIT */
/* fuzz_cron.c - what parses as a cron expression activates at ever later times. */
#include "cron/cron.h"

#include <stdlib.h>

#define START_S ((int64_t)1768472262)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (unsigned flags = 0; flags <= CQ_CRON_OPTIONAL_SECONDS; flags++) {
        cronq_error err = { 0 };
        int64_t at = START_S;
        cq_cron *cron;

        if (cq_cron_parse((cq_str){ (const char *)data, size }, NULL, flags, &cron,
                          &err)) {
            if (err.code != CRONQ_EINVAL || !err.text[0])
                abort();
            continue;
        }
        for (int i = 0; i < 3 && at != INT64_MAX; i++) {
            int64_t next = cq_cron_next(cron, at);

            if (next <= at)
                abort();
            at = next;
        }
        cq_cron_free(cron);
    }
    return 0;
}
