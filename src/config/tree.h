/* SPDX-License-Identifier: MIT */
/* config/tree.h - YAML text as a tree of nodes that know where they stand.
 *
 * One document; values have the environment put in; every limit is here. */
#ifndef CQ_CONFIG_TREE_H
#define CQ_CONFIG_TREE_H

#include "config/finding.h"

#define CQ_YAML_MAX_BYTES   ((size_t)1 << 20)
#define CQ_YAML_MAX_DEPTH   32
#define CQ_YAML_MAX_ALIASES 100
#define CQ_YAML_MAX_NODES   50000
#define CQ_YAML_MAX_ENTRIES 10000 /* of one list or mapping */

typedef enum cq_node_kind {
    CQ_NODE_SCALAR,
    CQ_NODE_LIST,
    CQ_NODE_MAP,
} cq_node_kind;

typedef struct cq_entry cq_entry;

typedef struct cq_node {
    cq_node_kind kind;
    cq_mark mark;
    cq_str text;   /* scalar: NUL-terminated, the environment put in */
    cq_str source; /* scalar: as in the file, for messages */
    bool is_null;
    bool from_environment;
    bool is_broken;  /* has been reported: say no more about it */
    cq_entry *first; /* of a list or mapping */
    size_t count;
} cq_node;

struct cq_entry {
    cq_str key; /* mapping */
    cq_mark mark;
    const cq_node *value; /* never NULL */
    cq_entry *next;
};

/* NULL when the text is no YAML or beyond a limit; what is wrong is in findings, to which
 * nodes may have added as well. An empty text gives an empty mapping. */
const cq_node *cq_tree_parse(cq_str text, cq_arena *arena, cq_findings *findings);

/* Put the environment into text: ${NAME}, ${NAME:-text}, $$. false: reported. */
bool cq_expand(cq_buf *out, cq_str text, cq_mark mark, cq_findings *findings);

#endif
