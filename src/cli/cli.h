/* SPDX-License-Identifier: MIT */
/* cli/cli.h - a table of subcommands, from which parsing, help, completion and the man
 * page come.
 *
 * A subcommand is one file with one const cq_cli_command and a row in the table of
 * commands.c. version.c is the smallest example. run is called with options checked and
 * converted and with as many arguments as the row allows; it prints to stdout (main finds
 * out when that failed) and returns an exit code. */
#ifndef CQ_CLI_CLI_H
#define CQ_CLI_CLI_H

#include "base/buf.h"

#include <cronq/base.h>

/* Exit codes of the program. */
enum {
    CQ_CLI_OK = 0,
    CQ_CLI_RUNTIME = 1,
    CQ_CLI_USAGE = 2,
    CQ_CLI_CONFIG = 3,
    CQ_CLI_CONNECTION = 4,
    CQ_CLI_NOT_FOUND = 5,
    CQ_CLI_CONFLICT = 6,
};

typedef enum cq_cli_type {
    CQ_CLI_FLAG = 0, /* no argument */
    CQ_CLI_TEXT,
    CQ_CLI_FILE,     /* a path: completed as one */
    CQ_CLI_INT,      /* number holds it */
    CQ_CLI_DURATION, /* "1m30s": number holds milliseconds, rounded up */
    CQ_CLI_INSTANT,  /* RFC 3339: number holds Unix milliseconds, rounded up */
    CQ_CLI_PAIR,     /* "key=value", key not empty */
    CQ_CLI_CHOICE,   /* arg is "this|that": number holds which, from 0 */
} cq_cli_type;

typedef struct cq_cli_option {
    const char *name; /* "max-retry": --max-retry */
    char letter;      /* 'n': -n; 0: none */
    const char *arg;  /* "N"; NULL for a flag */
    cq_cli_type type;
    int64_t min, max;   /* of number; max 0: none */
    const char *preset; /* shown and used when the option is not given; NULL: none */
    const char *help;
    bool repeats; /* every occurrence counts, else the last one */
} cq_cli_option;

typedef struct cq_cli cq_cli;

typedef struct cq_cli_command {
    const char *name;
    const char *summary;          /* one line, without a full stop */
    const char *args;             /* "TYPE [PAYLOAD|@FILE|-]"; NULL: none */
    int min_args, max_args;       /* max_args -1: any number */
    const char *details;          /* lines for --help; NULL: none */
    const cq_cli_option *options; /* ends with an empty row; NULL: none */
    int (*run)(cq_cli *cli);
    const struct cq_cli_command *const *verbs; /* ends with NULL; with run: args are 0 */
    bool hidden;                               /* not in lists */
} cq_cli_command;

typedef struct cq_cli_given {
    const cq_cli_option *option;
    const char *text;
    int64_t number;
} cq_cli_given;

#define CQ_CLI_URI_ROOM 12288

/* One run of the program. Texts point into argv, the tables and the environment. */
struct cq_cli {
    const cq_cli_command *root, *command;
    char path[64]; /* "cronq cron next" */
    cq_cli_given *given;
    size_t given_count;
    const char **args;
    int arg_count;
    bool json, color, help;
    char default_uri[CQ_CLI_URI_ROOM]; /* of the store in the state directory; or empty */
};

extern const cq_cli_option cq_cli_globals[];

/* The tree of commands; its verbs are the subcommands. */
extern const cq_cli_command cq_cli_root;

/* Reads the command line, or says on stderr what is wrong with it. Returns CQ_CLI_OK or
 * CQ_CLI_USAGE; release what it filled in either case. */
int cq_cli_parse(cq_cli *cli, int argc, char **argv);
void cq_cli_release(cq_cli *cli);

/* Options by name, which must be in the command's table or a global. A text is NULL when
 * the option is not there and has no preset. index counts the occurrences of one that
 * repeats. */
bool cq_cli_has(const cq_cli *cli, const char *name);         /* given, not preset */
const char *cq_cli_text(const cq_cli *cli, const char *name); /* or NULL */
int64_t cq_cli_number(const cq_cli *cli, const char *name, int64_t otherwise);
const char *cq_cli_nth(const cq_cli *cli, const char *name, size_t index); /* or NULL */

/* The store that was named: -u, else CRONQ_URI, else NULL. */
const char *cq_cli_uri(const cq_cli *cli);
/* The same, else the store in the state directory. Says what is missing on stderr when it
 * is NULL. */
const char *cq_cli_need_uri(const cq_cli *cli);
/* Make the directory of the store when it is the state directory; the URI, or NULL after
 * having said what is wrong. */
const char *cq_cli_prepare(const cq_cli *cli, const char *uri);

/* Say on stderr what went wrong and return the exit code for it. With --json as one JSON
 * object: {"error": {"status": "EDUP", "text": "..."}}. */
int cq_cli_report(const cq_cli *cli, const cronq_error *err);
int cq_cli_fail(const cq_cli *cli, int code, const char *format, ...) CRONQ_PRINTF(3, 4);
/* The same with the command's usage line; returns CQ_CLI_USAGE. */
int cq_cli_misuse(const cq_cli *cli, const char *format, ...) CRONQ_PRINTF(2, 3);
int cq_cli_exit_of(cronq_status status);

/* Write the content and a newline to stdout, and release it; fails when it is broken. */
int cq_cli_print(const cq_cli *cli, cq_buf *text);
/* Flush stdout; returns code, or CQ_CLI_RUNTIME when what was printed got lost, quietly
 * when the reader has left. */
int cq_cli_finish(int code);

/* Help of the command, and its usage line. */
void cq_cli_help(const cq_cli *cli, cq_buf *out);
void cq_cli_usage(const cq_cli *cli, cq_buf *out);
/* "-n, --number N". */
void cq_cli_option_label(const cq_cli_option *option, cq_buf *out);
/* The verb of that name, or NULL. */
const cq_cli_command *cq_cli_find(const cq_cli_command *parent, const char *name);
/* Go down to the verb, as parsing does. */
void cq_cli_enter(cq_cli *cli, const cq_cli_command *verb);

/* The subcommands, a file each. */
extern const cq_cli_command cq_cli_bench;
extern const cq_cli_command cq_cli_cancel;
extern const cq_cli_command cq_cli_completion;
extern const cq_cli_command cq_cli_config;
extern const cq_cli_command cq_cli_cron;
extern const cq_cli_command cq_cli_dash;
extern const cq_cli_command cq_cli_doctor;
extern const cq_cli_command cq_cli_fsck;
extern const cq_cli_command cq_cli_group;
extern const cq_cli_command cq_cli_help_command;
extern const cq_cli_command cq_cli_man;
extern const cq_cli_command cq_cli_migrate;
extern const cq_cli_command cq_cli_push;
extern const cq_cli_command cq_cli_queue;
extern const cq_cli_command cq_cli_server;
extern const cq_cli_command cq_cli_stats;
extern const cq_cli_command cq_cli_task;
extern const cq_cli_command cq_cli_version;

#endif
