/* SPDX-License-Identifier: MIT */
/* retry.c - retry delays: the reference's, exponential, fixed, or the user's. */
#include "worker/retry.h"

#include "base/clock.h"

/* Twenty million years; a little beyond, n to the 4th would overflow. */
#define DEFAULT_RETRIED_LIMIT 5000

static int64_t reference_delay_ms(int64_t n, cq_random *random)
{
    int64_t jitter = (int64_t)cq_random_below(random, 30);

    if (n > DEFAULT_RETRIED_LIMIT)
        n = DEFAULT_RETRIED_LIMIT;
    return (n * n * n * n + 15 + jitter * (n + 1)) * CQ_MS_PER_S;
}

static int64_t exponential_delay_ms(int64_t n, int64_t base_ms, int64_t cap_ms)
{
    int64_t factor = n < 61 ? ((int64_t)1 << (n + 1)) - 1 : INT64_MAX;

    return factor > cap_ms / base_ms ? cap_ms : factor * base_ms;
}

int64_t cq_retry_delay_ms(const cronq_server_options *options, int32_t retried,
                          const cronq_error *why, const char *task_type,
                          cq_random *random)
{
    int32_t n = retried < 0 ? 0 : retried;

    if (options->retry_delay) {
        int64_t delay_ms =
            options->retry_delay(n, why, task_type, options->retry_delay_arg);

        return delay_ms < 0 ? 0 : delay_ms;
    }
    if (options->retry_kind == CRONQ_RETRY_FIXED)
        return options->retry_base_ms;
    if (options->retry_kind == CRONQ_RETRY_EXPONENTIAL)
        return exponential_delay_ms(n, options->retry_base_ms, options->retry_cap_ms);
    return reference_delay_ms(n, random);
}
