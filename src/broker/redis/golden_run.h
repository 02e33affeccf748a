/* SPDX-License-Identifier: MIT */
/* broker/redis/golden_run.h - a run through the recorded states, and its operations. */
#ifndef CQ_BROKER_REDIS_GOLDEN_RUN_H
#define CQ_BROKER_REDIS_GOLDEN_RUN_H

#include "broker/broker.h"
#include "codec/message.h"
#include "support/golden_keys.h"

#define GOLDEN_TAKEN_LIMIT 64

typedef struct golden_taken {
    char queue[64], id[64];
    uint32_t fence;
    int64_t at_ns;
    char unique_key[256];
} golden_taken;

/* The step that is being done, and what came before it. */
typedef struct golden_run {
    redis_server *server;
    cq_broker *broker;
    bool as_before_7;
    char scenario[64];
    json_t *line, *input, *previous; /* keys recorded before this step */
    int64_t now_ns;
    golden_taken taken[GOLDEN_TAKEN_LIMIT];
    size_t taken_count;
    uint32_t fence;
    size_t run, loaded, looked;
    cq_arena arena;
} golden_run;

extern golden_run t;

/* Do the step; a list ends with a row of zeros. */
typedef struct golden_operation {
    const char *name;
    void (*run)(void);
} golden_operation;

extern const golden_operation golden_worker_operations[];    /* golden_ops.c */
extern const golden_operation golden_inspector_operations[]; /* golden_hand.c */
extern const golden_operation golden_told_operations[];      /* golden_told.c */

/* The last time that this task was taken, or NULL. */
const golden_taken *golden_latest(const char *id);

/* Members of an object; "" and 0 when they are not there. */
const char *golden_text(const json_t *object, const char *name);
cq_str golden_str(const json_t *object, const char *name);
int64_t golden_int(const json_t *object, const char *name);

/* The recorded value of the first key that matches; its name when that is not NULL. */
json_t *golden_value(const char *pattern, const char **name);
/* Did the reference fail? */
bool golden_failed(void);

/* Fails the test, naming the step, when it is not so. */
void golden_expect(bool ok, const char *what);

/* A recorded message; its encoding, in the run's arena; seconds of "1m30s", rounded up.
 */
cq_message golden_message(const json_t *msg);
cronq_bytes golden_encoded(const cq_message *m);
int64_t golden_seconds(const char *text);

#endif
