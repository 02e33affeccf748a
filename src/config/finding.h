/* SPDX-License-Identifier: MIT */
/* config/finding.h - what is wrong with a file, collected: all faults at once. */
#ifndef CQ_CONFIG_FINDING_H
#define CQ_CONFIG_FINDING_H

#include "base/arena.h"
#include "base/buf.h"

#define CQ_FINDING_MAX 100 /* of each kind; more are counted, not kept */

/* A place in the file, from 1; line 0: none. */
typedef struct cq_mark {
    size_t line, column;
} cq_mark;

typedef struct cq_finding {
    cq_mark mark;
    const char *text;
} cq_finding;

typedef struct cq_finding_list {
    cq_finding items[CQ_FINDING_MAX + 1]; /* and one that says how many more */
    size_t count, left_out;
} cq_finding_list;

typedef struct cq_findings {
    cq_arena *arena;
    const char *file;
    cq_finding_list errors, warnings;
    cronq_status status; /* OK, EUNSUPPORTED when that is all, else EINVAL; ENOMEM wins */
} cq_findings;

void cq_findings_init(cq_findings *findings, cq_arena *arena, const char *file);

/* what is the key or thing that the sentence is about, may be NULL. _unbuilt is an error
 * too: it is right, but this version does not have it. */
void cq_find_error(cq_findings *findings, cq_mark mark, const char *what,
                   const char *format, ...) CRONQ_PRINTF(4, 5);
void cq_find_unbuilt(cq_findings *findings, cq_mark mark, const char *what,
                     const char *format, ...) CRONQ_PRINTF(4, 5);
void cq_find_warning(cq_findings *findings, cq_mark mark, const char *what,
                     const char *format, ...) CRONQ_PRINTF(4, 5);
void cq_find_nomem(cq_findings *findings);

/* Into the order of the file; call once, at the end. */
void cq_findings_sort(cq_findings *findings);

/* "text" with quotes, control characters escaped, cut to 80 bytes. */
typedef struct cq_quoted {
    char text[360];
} cq_quoted;

const char *cq_quote(cq_quoted *out, cq_str text);

#endif
