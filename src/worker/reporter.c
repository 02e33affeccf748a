/* SPDX-License-Identifier: MIT */
/* reporter.c - the last act of a thread that crashes.
 *
 * A signal handler finds what it needs in the statics below: they are set once, before
 * the worker has threads, in a process that runs one worker. */
#include "worker/ledger.h"

#include <errno.h>
#include <unistd.h>

static cq_ledger_shared *shared;
static int report_fd = -1;
static cq_event crash_event = { -1 };
static _Thread_local uint32_t own_row;

static void send_report(const cq_report *report)
{
    ssize_t sent;

    do
        sent = write(report_fd, report, sizeof *report);
    while (sent < 0 && errno == EINTR);
}

/* What this thread has locked stays locked, and what it has broken stays broken: so
 * nobody returns from here. All signals are blocked. */
static void on_crash(int number, siginfo_t *info, void *context)
{
    cq_report report = { .row = own_row };

    (void)context;
    cq_crash_take(&report.crash, number, info);
    send_report(&report);
    if (own_row)
        atomic_store(&shared->rows[own_row - 1].state, CQ_ROW_CRASHED);
    atomic_fetch_add(&shared->crashed, own_row != 0);
    atomic_store(&shared->reported, true);
    cq_event_set(&crash_event);
    cq_crash_take_frames(&report.crash);
    send_report(&report);
    for (;;)
        pause();
}

void cq_reporter_start(cq_ledger *ledger, int pipe_fd, const cq_event *crashed)
{
    shared = ledger->shared;
    report_fd = pipe_fd;
    crash_event = *crashed;
    cq_crash_install(on_crash);
}

void cq_reporter_run(uint32_t row)
{
    own_row = row;
}
