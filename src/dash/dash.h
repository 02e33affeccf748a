/* SPDX-License-Identifier: MIT */
/* dash/dash.h - a live view of queues on a terminal. */
#ifndef CQ_DASH_DASH_H
#define CQ_DASH_DASH_H

#include <cronq/base.h>

typedef struct cq_dash_options {
    const char *uri;
    int64_t interval_ms; /* between two looks at the store */
    bool color;
} cq_dash_options;

/* Until the user leaves, or the terminal does. EINVAL: no such store. EUNSUPPORTED: not
 * a terminal, or none that ncurses knows. A store that can not be reached is shown as
 * such and tried again. */
cronq_status cq_dash_run(const cq_dash_options *options, cronq_error *err);

#endif
