/* SPDX-License-Identifier: MIT */
/* http/process.h - metrics of the process, by the names that Prometheus's clients use. */
#ifndef CQ_HTTP_PROCESS_H
#define CQ_HTTP_PROCESS_H

#include <cronq/metrics.h>

/* Add them; those that somebody has added before stay. end takes away what begin added:
 * own is its bits. */
cronq_status cq_process_watch(cronq_metrics *metrics, uint32_t *own, cronq_error *err);
void cq_process_unwatch(cronq_metrics *metrics, uint32_t own);

#endif
