/* SPDX-License-Identifier: MIT */
/* support/history.h - judges the history of a run with faults.
 *
 * One file, lines as in process.h. Producers write "accept" (the push returned OK) and
 * "cancel" (a cancellation was acknowledged); workers "start", "end" and "cause" (they
 * said why a task may run again); who makes the faults "crash" (of the worker PID),
 * "outage" and "back" (of the store). */
#ifndef CQ_TEST_HISTORY_H
#define CQ_TEST_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Append a line; at_ms is now. Any thread. */
void history_note(const char *path, const char *what, const char *id, pid_t pid);
int64_t history_now_ms(void);

typedef struct history_rules {
    bool outage_is_cause; /* a task that ran around an outage may run again */
    int64_t grace_ms;     /* how long behind its end an outage still is one */
    /* Is a task that has not been run to its end still stored? */
    bool (*is_stored)(const char *id, void *arg);
    void *arg;
} history_rules;

typedef struct history_verdict {
    size_t accepted, done;   /* done: of the accepted */
    size_t stored, lost;     /* of those that are not done */
    size_t caused, uncaused; /* runs too many, with and without a logged cause */
    size_t after_cancel;     /* starts behind an acknowledged cancellation */
    char text[256];          /* the first thing that is wrong; or empty */
} history_verdict;

void history_judge(const char *path, const history_rules *rules, history_verdict *out);

/* How many accepted tasks have not been run to their end. */
size_t history_undone(const char *path);

/* When the first task that was accepted after from_ms ended, after that too; 0: none yet.
 */
int64_t history_resumed_at_ms(const char *path, int64_t from_ms);

#endif
