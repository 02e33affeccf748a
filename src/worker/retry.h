/* SPDX-License-Identifier: MIT */
/* worker/retry.h - how long to wait before the next attempt. */
#ifndef CQ_WORKER_RETRY_H
#define CQ_WORKER_RETRY_H

#include "base/random.h"

#include <cronq/server.h>

/* As the options say, in milliseconds, never negative; retried is 0 after the first
 * attempt. random is for the jitter of the default. */
int64_t cq_retry_delay_ms(const cronq_server_options *options, int32_t retried,
                          const cronq_error *why, const char *task_type,
                          cq_random *random);

#endif
