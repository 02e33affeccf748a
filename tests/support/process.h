/* SPDX-License-Identifier: MIT */
/* support/process.h - child processes of a test, and the histories that workers write. */
#ifndef CQ_TEST_PROCESS_H
#define CQ_TEST_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Start a program that dies with the test; its stderr goes to the test's. argv ends with
 * NULL. A start that fails fails the test. */
pid_t process_start(const char *const argv[]);

/* The same with its stderr appended to a file. */
pid_t process_start_logged(const char *const argv[], const char *log_path);

/* Send the signal and wait for the end; returns the exit code, or 128 + the signal. */
int process_end(pid_t pid, int signal_number);

/* Has it ended by itself within timeout_ms? Then like process_end; else -1, and it runs.
 */
int process_await(pid_t pid, int64_t timeout_ms);

/* CPU time used so far in milliseconds, and private dirty memory in KiB. */
int64_t process_cpu_ms(pid_t pid);
int64_t process_private_dirty_kib(pid_t pid);

/* One line of a history: WHAT ID RETRY_COUNT PID UNIX_MS. */
typedef struct history_line {
    char what[8], id[128];
    int retry_count;
    pid_t pid;
    int64_t at_ms;
} history_line;

/* All lines so far; the caller frees. */
history_line *history_read(const char *path, size_t *count);

/* How many lines say what, of this id (NULL: any). */
size_t history_count(const char *path, const char *what, const char *id);

/* Wait until history_count reaches count; false after timeout_ms. */
bool history_wait(const char *path, const char *what, const char *id, size_t count,
                  int64_t timeout_ms);

#endif
