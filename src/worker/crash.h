/* SPDX-License-Identifier: MIT */
/* worker/crash.h - what is known of a crash: taken down inside a signal handler, made
 * into text elsewhere.
 *
 * Sanitizers have handlers of their own, which say more: in their builds none is
 * installed here, and a crash is known by the end of its process alone. */
#ifndef CQ_WORKER_CRASH_H
#define CQ_WORKER_CRASH_H

#include "base/log.h"

#include <signal.h>
#include <stdatomic.h>

#define CQ_CRASH_FRAMES     48
#define CQ_CRASH_TEXT_BYTES 128

typedef struct cq_crash {
    int signal; /* 0: nothing is known */
    int code;
    uint64_t address; /* that could not be used */
    int32_t frame_count;
    uint64_t frames[CQ_CRASH_FRAMES];
} cq_crash;

typedef void cq_crash_fn(int number, siginfo_t *info, void *context);

/* Handle the signals of a crash, on the alternate stack of each thread that has one. What
 * backtraces need is loaded now. False: in this build they are left alone. */
bool cq_crash_install(cq_crash_fn *handler);

/* An alternate stack for this thread, and its end. */
void *cq_crash_stack_new(void);
void cq_crash_stack_free(void *stack);

/* Async-signal-safe. The frames are taken last, because looking for them in a broken
 * stack may be the end. */
void cq_crash_take(cq_crash *crash, int number, const siginfo_t *info);
void cq_crash_take_frames(cq_crash *crash);

/* "SIGSEGV at 0x0"; without a crash what waitpid says: "SIGKILL", "exit status 3". */
const char *cq_crash_text(const cq_crash *crash, int wait_status,
                          char text[CQ_CRASH_TEXT_BYTES]);

/* The backtrace, a line a frame: module+offset, and the nearest symbol. The addresses are
 * those of this process or of a relative that was forked. */
void cq_crash_log(const cq_crash *crash, const cronq_logger *logger,
                  const cq_log_about *about);

#endif
