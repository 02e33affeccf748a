/* SPDX-License-Identifier: MIT */
/* cli/telemetry.h - the tracer and the exporter that a file and OTEL_* variables ask for.
 */
#ifndef CQ_CLI_TELEMETRY_H
#define CQ_CLI_TELEMETRY_H

#include "base/arena.h"

#include <cronq/config.h>
#include <cronq/otlp.h>

/* All zero: none. */
typedef struct cq_telemetry {
    cq_arena arena;
    cronq_tracer *tracer; /* NULL: no traces */
    cronq_otlp *otlp;
} cq_telemetry;

/* What the file (NULL: it has no section) does not say is taken from the environment.
 * EINVAL, EIO. Stop it even then. */
cronq_status cq_telemetry_start(const cronq_config_telemetry *file, const char *service,
                                const cronq_logger *logger, cq_telemetry *out,
                                cronq_error *err);
/* After everyone who traces. */
void cq_telemetry_stop(cq_telemetry *telemetry);

#endif
