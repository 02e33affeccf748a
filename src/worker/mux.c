/* SPDX-License-Identifier: MIT */
/* mux.c - routes and middlewares. */
#include "worker/mux.h"

#include "base/error.h"
#include "codec/key.h"
#include "codec/option.h"
#include "codec/text.h"
#include "worker/isolation.h"

#include <stdlib.h>

#define NOT_FOUND_BYTES 8192
#define CALL_LIMIT      3

/* What a middleware is given to go on with: the rest of the chain. */
struct cronq_next {
    const cq_mux *mux;
    size_t index; /* of the next wrapper */
};

void cq_mux_init(cq_mux *mux)
{
    *mux = (cq_mux){ 0 };
}

void cq_mux_release(cq_mux *mux)
{
    for (size_t i = 0; i < mux->route_count; i++)
        free(mux->routes[i].pattern);
    free(mux->routes);
    free(mux->wrappers);
    cq_mux_init(mux);
}

static cronq_status check_pattern(const cq_mux *mux, const char *pattern,
                                  cronq_error *err)
{
    if (!pattern || cq_is_blank(cq_str_of(pattern)))
        return cq_fail(err, CRONQ_EINVAL, "pattern: is blank");
    for (size_t i = 0; i < mux->route_count; i++)
        if (strcmp(mux->routes[i].pattern, pattern) == 0)
            return cq_fail(err, CRONQ_EEXIST, "pattern %s: has a handler already",
                           pattern);
    return CRONQ_OK;
}

cronq_status cq_mux_add(cq_mux *mux, const char *pattern, cronq_handler *handler,
                        void *arg, cronq_error *err)
{
    cronq_status status = check_pattern(mux, pattern, err);
    cq_route route = { .handler = handler, .arg = arg }, *routes;
    size_t at = mux->route_count;

    if (status)
        return status;
    if (!handler)
        return cq_fail(err, CRONQ_EINVAL, "handler of pattern %s: is NULL", pattern);
    routes = realloc(mux->routes, (mux->route_count + 1) * sizeof *routes);
    if (!routes)
        return cq_fail_nomem(err);
    mux->routes = routes;
    route.len = strlen(pattern);
    route.pattern = strdup(pattern);
    if (!route.pattern)
        return cq_fail_nomem(err);
    for (; at > 0 && routes[at - 1].len < route.len; at--)
        routes[at] = routes[at - 1];
    routes[at] = route;
    mux->route_count++;
    return CRONQ_OK;
}

void cq_mux_remove(cq_mux *mux, const char *pattern)
{
    size_t at = 0;

    while (at < mux->route_count && strcmp(mux->routes[at].pattern, pattern) != 0)
        at++;
    if (at == mux->route_count)
        return;
    free(mux->routes[at].pattern);
    mux->route_count--;
    memmove(mux->routes + at, mux->routes + at + 1,
            (mux->route_count - at) * sizeof *mux->routes);
}

cronq_status cq_mux_use(cq_mux *mux, cronq_middleware *middleware, void *arg,
                        cronq_error *err)
{
    cq_wrapper *wrappers;

    if (!middleware)
        return cq_fail(err, CRONQ_EINVAL, "middleware: is NULL");
    wrappers = realloc(mux->wrappers, (mux->wrapper_count + 1) * sizeof *wrappers);
    if (!wrappers)
        return cq_fail_nomem(err);
    mux->wrappers = wrappers;
    wrappers[mux->wrapper_count++] = (cq_wrapper){ middleware, arg };
    return CRONQ_OK;
}

void cq_mux_isolate(cq_mux *mux, const char *pattern, cq_crew *crew)
{
    for (size_t i = 0; i < mux->route_count; i++)
        if (strcmp(mux->routes[i].pattern, pattern) == 0)
            mux->routes[i].crew = crew;
}

const cq_route *cq_mux_find(const cq_mux *mux, cq_str type)
{
    for (size_t i = 0; i < mux->route_count; i++) {
        const cq_route *route = &mux->routes[i];

        if (cq_str_starts(type, (cq_str){ route->pattern, route->len }))
            return route;
    }
    return NULL;
}

static cronq_status no_handler(cronq_attempt *attempt)
{
    cronq_status status;
    const char *quoted;
    cq_buf buf;

    cq_buf_init(&buf, NOT_FOUND_BYTES);
    cq_go_quote(&buf, cq_str_of(cronq_attempt_type(attempt)));
    quoted = cq_buf_text(&buf);
    status = cronq_attempt_fail(attempt, "handler not found for task %s",
                                quoted ? quoted : "of a very long type");
    cq_buf_release(&buf);
    return status;
}

/* Call user code, a middleware or a handler, to which a panic returns. */
static cronq_status call(const cq_wrapper *wrapper, const cronq_next *rest,
                         cronq_handler *handler, void *arg, cronq_attempt *attempt)
{
    cq_escape here = { .outer = attempt->escape, .thread = pthread_self() };
    cronq_status status;

    attempt->escape = &here;
    if (_setjmp(here.frame) == 0)
        status = wrapper ? wrapper->middleware(attempt, rest, wrapper->arg)
                         : handler(attempt, arg);
    else
        status = CRONQ_EPANIC;
    attempt->escape = here.outer;
    return status;
}

cronq_status cq_mux_call(cronq_handler *handler, void *arg, cronq_attempt *attempt)
{
    return call(NULL, NULL, handler, arg, attempt);
}

static void keep_status(void *arg, cronq_attempt *attempt, cronq_status status)
{
    (void)attempt;
    *(cronq_status *)arg = status;
}

/* A child that ends between its last task and this one has not started it. */
static cronq_status call_route(const cq_route *route, cronq_attempt *attempt)
{
    cronq_status status = CQ_WITHDRAWN;

    if (!route->crew)
        return cq_mux_call(route->handler, route->arg, attempt);
    for (int i = 0; i < CALL_LIMIT && status == CQ_WITHDRAWN; i++)
        cq_crew_run(route->crew, &attempt, 1, keep_status, &status);
    return status == CQ_WITHDRAWN ? CRONQ_EFAILED : status;
}

cronq_status cronq_next_run(const cronq_next *next, cronq_attempt *attempt)
{
    const cq_mux *mux = next->mux;
    const cq_route *route;

    if (next->index < mux->wrapper_count) {
        const cq_wrapper *wrapper = &mux->wrappers[next->index];
        cronq_next rest = { mux, next->index + 1 };

        return call(wrapper, &rest, NULL, NULL, attempt);
    }
    route = cq_mux_find(mux, cq_str_of(cronq_attempt_type(attempt)));
    return route ? call_route(route, attempt) : no_handler(attempt);
}

cronq_status cq_mux_run(const cq_mux *mux, cronq_attempt *attempt)
{
    cronq_next all = { mux, 0 };

    return cronq_next_run(&all, attempt);
}
