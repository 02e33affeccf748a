/* SPDX-License-Identifier: MIT */
/* dash/dash.c - a live view of queues: waits for keys and news, and draws. */
#include "dash/dash.h"

#include "base/error.h"
#include "dash/view.h"

#include <errno.h>
#include <ncurses.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define CLOCK_MS 1000 /* times on the screen go on without news */

static void take_keys(cq_dash_view *view)
{
    int key;

    while (!view->is_over && (key = getch()) != ERR)
        cq_dash_key(view, key);
}

/* A terminal that is gone says so for ever: that ends it. */
static void loop(cq_dash_view *view)
{
    struct pollfd ready[] = {
        { .fd = STDIN_FILENO, .events = POLLIN },
        { .fd = cq_dash_store_fd(view->store), .events = POLLIN },
    };

    while (!view->is_over) {
        cq_dash_draw(view);
        if (poll(ready, 2, CLOCK_MS) < 0) {
            if (errno != EINTR)
                return;
            ready[0].revents = ready[1].revents = 0;
        }
        if (ready[0].revents & (POLLHUP | POLLERR | POLLNVAL))
            return;
        take_keys(view);
        if (ready[1].revents)
            cq_dash_take_news(view);
    }
}

cronq_status cq_dash_run(const cq_dash_options *options, cronq_error *err)
{
    cq_dash_view *view;
    cronq_status status;

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return cq_fail(err, CRONQ_EUNSUPPORTED, "stdin and stdout must be a terminal");
    view = calloc(1, sizeof *view);
    if (!view)
        return cq_fail_nomem(err);
    status = cq_dash_store_new(options->uri, options->interval_ms, &view->store, err);
    if (status) {
        free(view);
        return status;
    }
    view->has_color = options->color;
    if (cq_dash_screen_begin(view)) {
        cq_dash_resized(view);
        cq_dash_open(view, CQ_DASH_QUEUES);
        loop(view);
        cq_dash_screen_end();
    } else {
        status = cq_fail(err, CRONQ_EUNSUPPORTED,
                         "the terminal is of a kind that ncurses "
                         "does not know: see TERM");
    }
    cq_dash_store_free(view->store);
    cq_dash_picture_free(view->picture);
    free(view);
    return status;
}
