/* SPDX-License-Identifier: MIT */
/* cronq/cronq.h - the whole API of libcronq. Include this, or only what you use. */
#ifndef CRONQ_CRONQ_H
#define CRONQ_CRONQ_H

#include "base.h"
#include "client.h"
#include "cron.h"
#include "inspector.h"
#include "metrics.h"
#include "scheduler.h"
#include "server.h"
#include "sqlite.h"
#include "store.h"
#include "task.h"
#include "trace.h"

#endif /* CRONQ_CRONQ_H */
