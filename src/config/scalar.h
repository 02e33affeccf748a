/* SPDX-License-Identifier: MIT */
/* config/scalar.h - reading one value by its row of the table; for values.c. */
#ifndef CQ_CONFIG_SCALAR_H
#define CQ_CONFIG_SCALAR_H

#include "config/values.h"

typedef struct cq_reader {
    cq_arena *arena;
    cq_findings *findings;
} cq_reader;

/* A value that is being read: by which row, and how messages call it. */
typedef struct cq_place {
    const cq_key_row *row;
    const char *path;
    const cq_node *node;
} cq_place;

/* Is the node of this kind? wanted is for the message: "a list of texts". false:
 * reported. */
bool cq_expect(cq_reader *reader, const cq_place *at, cq_node_kind kind,
               const char *wanted);

/* Each fills what the type of the row says; false: reported. */
bool cq_read_text(cq_reader *reader, const cq_place *at, cq_value *value);
bool cq_read_int(cq_reader *reader, const cq_place *at, cq_value *value);
bool cq_read_bool(cq_reader *reader, const cq_place *at, cq_value *value);
bool cq_read_time(cq_reader *reader, const cq_place *at, cq_value *value);
bool cq_read_ratio(cq_reader *reader, const cq_place *at, cq_value *value);
bool cq_read_choice(cq_reader *reader, const cq_place *at, cq_value *value);

bool cq_has_control(cq_str text);
/* Why a queue can not be called that; NULL: it can. */
const char *cq_queue_fault(cq_str name);

#endif
