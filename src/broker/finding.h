/* SPDX-License-Identifier: MIT */
/* broker/finding.h - telling what a check has found, in the same words for every store.
 */
#ifndef CQ_BROKER_FINDING_H
#define CQ_BROKER_FINDING_H

#include "base/str.h"

#include <cronq/inspector.h>

/* One broken invariant. Texts are borrowed for the call. */
typedef struct cq_finding {
    cronq_finding_kind kind;
    cq_str queue, id;
    cq_str detail; /* what the sentence of its kind is completed with; may be empty */
    bool repaired;
} cq_finding;

typedef void cq_finding_fn(const cq_finding *finding, void *arg);

/* The kind of a name, "no-task"; false when there is none. */
bool cq_finding_kind_of(cq_str name, cronq_finding_kind *out);
/* "is in a list, but there is no such task" */
const char *cq_finding_sentence(cronq_finding_kind kind);

#endif
