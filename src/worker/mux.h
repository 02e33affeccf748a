/* SPDX-License-Identifier: MIT */
/* worker/mux.h - which handler runs a task, and the middlewares around it.
 *
 * Filled before the start, then only read. Of the patterns that a type begins with the
 * longest wins. */
#ifndef CQ_WORKER_MUX_H
#define CQ_WORKER_MUX_H

#include "base/str.h"

#include <cronq/server.h>

typedef struct cq_route {
    char *pattern;
    size_t len;
    cronq_handler *handler;
    void *arg;
    struct cq_crew
        *crew; /* of child processes that call the handler; NULL: called here */
} cq_route;

typedef struct cq_wrapper {
    cronq_middleware *middleware;
    void *arg;
} cq_wrapper;

typedef struct cq_mux {
    cq_route *routes; /* longest pattern first */
    size_t route_count;
    cq_wrapper *wrappers; /* outermost first */
    size_t wrapper_count;
} cq_mux;

/* Nothing could run a task. */
static inline bool cq_mux_is_empty(const cq_mux *mux)
{
    return mux->route_count == 0 && mux->wrapper_count == 0;
}

void cq_mux_init(cq_mux *mux);
void cq_mux_release(cq_mux *mux);

/* EINVAL for a blank pattern or no handler, EEXIST for a pattern twice, ENOMEM. */
cronq_status cq_mux_add(cq_mux *mux, const char *pattern, cronq_handler *handler,
                        void *arg, cronq_error *err);
/* Before the start, by whom it was added. */
void cq_mux_remove(cq_mux *mux, const char *pattern);
/* The handler of this very pattern is to run in the crew's children. */
void cq_mux_isolate(cq_mux *mux, const char *pattern, struct cq_crew *crew);
cronq_status cq_mux_use(cq_mux *mux, cronq_middleware *middleware, void *arg,
                        cronq_error *err);

/* NULL when no pattern fits. */
const cq_route *cq_mux_find(const cq_mux *mux, cq_str type);

/* Run the attempt through the middlewares to its handler; without one it fails with the
 * text of the reference. */
cronq_status cq_mux_run(const cq_mux *mux, cronq_attempt *attempt);

/* Call a handler, to which a panic returns as CRONQ_EPANIC. */
cronq_status cq_mux_call(cronq_handler *handler, void *arg, cronq_attempt *attempt);

#endif
