/* SPDX-License-Identifier: MIT */
/* config/values.h - what a file says for each key of the table, typed and in range. */
#ifndef CQ_CONFIG_VALUES_H
#define CQ_CONFIG_VALUES_H

#include "config/keys.h"
#include "config/tree.h"

typedef struct cq_pair {
    cq_mark mark;
    const char *name;
    const char *text; /* of CQ_KEY_PAIRS and _HEADERS */
    int64_t number;   /* of CQ_KEY_WEIGHTS */
} cq_pair;

typedef struct cq_section cq_section;

/* Not given (absent, null, or wrong and reported): all zero but key_mark. */
typedef struct cq_value {
    cq_mark key_mark; /* line 0: the key is not there */
    bool given;
    bool is_wrong; /* there, reported, and not given */
    bool from_environment;
    cq_mark mark;
    int64_t number;              /* INT, BOOL, TIME (ms), CHOICE (index), RATIO */
    const char *text;            /* TEXT, DATA */
    size_t len;                  /* of text */
    const char *const *texts;    /* TEXTS, NULL-terminated */
    const cq_pair *pairs;        /* WEIGHTS (at least 1 each), PAIRS */
    cq_section *const *sections; /* SECTIONS */
    size_t count;                /* of the last three */
} cq_value;

struct cq_section {
    cq_mark mark;
    size_t index; /* in its list */
    cq_value values[CQ_KEY_COUNT];
};

/* Read the whole tree; NULL when out of memory. Faults are in findings. */
cq_section *cq_values_read(const cq_node *root, cq_arena *arena, cq_findings *findings);

#endif
