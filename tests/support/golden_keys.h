/* SPDX-License-Identifier: MIT */
/* support/golden_keys.h - a whole keyspace as the recorded states have it. */
#ifndef CQ_TEST_GOLDEN_KEYS_H
#define CQ_TEST_GOLDEN_KEYS_H

#include "support/redis_server.h"

#include <jansson.h>

/* All of asynq:* in the form of the field "keys" of states.jsonl. */
json_t *golden_keys_dump(redis_server *server);

/* Make the store hold exactly these. score, when not NULL, gives the score that a lease
 * gets whose recorded one is a whole second. */
typedef double golden_score_fn(const char *key, const char *member, double score);
void golden_keys_load(redis_server *server, const json_t *keys, golden_score_fn *score);

/* Bytes as the recordings have them: a string, or {"hex": …}. */
json_t *golden_bytes(const char *data, size_t len, int always_hex);
/* And back; the caller frees. */
char *golden_bytes_of(const json_t *value, size_t *len);

#endif
