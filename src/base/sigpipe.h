/* SPDX-License-Identifier: MIT */
/* base/sigpipe.h - writing to pipes that may have no reader, without a SIGPIPE.
 *
 * A library may not change what the process does with signals, and write(2) has no flag
 * for it: so the signal is blocked in this thread, and the one that was raised is taken.
 */
#ifndef CQ_BASE_SIGPIPE_H
#define CQ_BASE_SIGPIPE_H

#include <signal.h>
#include <stdbool.h>

typedef struct cq_sigpipe {
    sigset_t before;
    bool was_pending;
} cq_sigpipe;

/* Both on the same thread, errno is kept. */
void cq_sigpipe_block(cq_sigpipe *guard);
void cq_sigpipe_restore(cq_sigpipe *guard);

#endif
