/* SPDX-License-Identifier: MIT */
/* cli/look.h - what the subcommands that look at a store and repair it share: the
 * inspector, leave to destroy, progress, and which tasks are meant. */
#ifndef CQ_CLI_LOOK_H
#define CQ_CLI_LOOK_H

#include "cli/table.h"

#include <cronq/inspector.h>

/* Runs work with an inspector of the store that was named. */
typedef int cq_cli_work(cq_cli *cli, cronq_inspector *inspector);
int cq_cli_look(cq_cli *cli, cq_cli_work *work);

/* May it be done? --yes (an option of the command) says so, else the person at the
 * terminal; without either it is refused. The text ends the question "…?". Returns
 * CQ_CLI_OK, or the exit code after having said why not. */
int cq_cli_confirm(const cq_cli *cli, const char *format, ...) CRONQ_PRINTF(2, 3);

/* A bar on stderr, when that is a terminal, for what takes over a second. With
 * stops, interrupting the program ends what reports to it, between its steps. One at a
 * time. */
typedef struct cq_cli_progress {
    const char *what; /* borrowed: "delete" */
    int64_t started_ms, shown_ms;
    bool tty, shown;
} cq_cli_progress;

void cq_cli_progress_begin(cq_cli_progress *progress, const char *what, bool stops);
/* A cronq_progress_fn; arg is the progress. */
bool cq_cli_progress_step(uint64_t done, uint64_t total, void *arg);
/* Since the last beginning with stops. */
bool cq_cli_interrupted(void);
/* Takes the bar away. */
void cq_cli_progress_end(cq_cli_progress *progress);

/* ---- which tasks are meant ---- */

#define CQ_CLI_STATES "active|pending|scheduled|retry|archived|completed|aggregating"

/* clang-format off */
#define CQ_CLI_QUEUE_ROW \
    { "queue", 'q', "QUEUE", CQ_CLI_TEXT, .preset = "default", .help = "the queue" }
#define CQ_CLI_YES_ROW \
    { "yes", 'y', NULL, CQ_CLI_FLAG, .help = "do not ask" }
#define CQ_CLI_FILTER_ROWS \
    CQ_CLI_QUEUE_ROW, \
    { "state", 's', CQ_CLI_STATES, CQ_CLI_CHOICE, .help = "tasks in this state" }, \
    { "type", 't', "PREFIX", CQ_CLI_TEXT, .help = "whose type begins so" }, \
    { "id", 'i', "PREFIX", CQ_CLI_TEXT, .help = "whose id begins so" }, \
    { "payload", 'p', "TEXT", CQ_CLI_TEXT, .help = "whose payload contains this" }, \
    { "older", 0, "DURATION", CQ_CLI_DURATION, .help = "pending, failed, archived or completed for longer than this" }, \
    { "group", 'g', "GROUP", CQ_CLI_TEXT, .help = "of this group" }
/* clang-format on */

/* The options above as a filter. */
cronq_filter cq_cli_filter(const cq_cli *cli);
/* Is one of them given but --queue? */
bool cq_cli_filters(const cq_cli *cli);
/* --state, or 0. */
cronq_state cq_cli_state(const cq_cli *cli);

/* ---- a task as JSON, docs/cli.md ---- */

/* failures: of one that was read alone. */
void cq_cli_task_json(cq_buf *out, const cronq_task_info *info, bool failures);
/* Two keys: NAME, text or null, and NAME_base64 for what is not text. */
void cq_cli_bytes_json(cq_buf *out, const char *name, cronq_bytes bytes);

/* How many things: "1 task", "2 tasks". */
void cq_cli_count(cq_buf *out, uint64_t count, const char *thing);

/* cronq queue inspect, in stats.c. */
int cq_cli_inspect_queues(cq_cli *cli);

#endif
