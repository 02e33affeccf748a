/* SPDX-License-Identifier: MIT */
/* sigpipe.c - writing to pipes that may have no reader, without a SIGPIPE. */
#include "base/sigpipe.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

static bool pending(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigpending(&set);
    return sigismember(&set, SIGPIPE) == 1;
}

void cq_sigpipe_block(cq_sigpipe *guard)
{
    int kept = errno;
    sigset_t pipe_only;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    guard->was_pending = pending();
    pthread_sigmask(SIG_BLOCK, &pipe_only, &guard->before);
    errno = kept;
}

void cq_sigpipe_restore(cq_sigpipe *guard)
{
    static const struct timespec at_once;
    int kept = errno;
    sigset_t pipe_only;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!guard->was_pending && pending())
        while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
    errno = kept;
}
