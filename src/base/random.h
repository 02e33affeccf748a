/* SPDX-License-Identifier: MIT */
/* base/random.h - random numbers and UUIDs.
 *
 * The generator is xoshiro256** (Blackman and Vigna, 2018), seeded from the kernel: ids
 * need to be distinct, not secret. One generator is for one thread at a time. */
#ifndef CQ_BASE_RANDOM_H
#define CQ_BASE_RANDOM_H

#include <stdint.h>

#define CQ_UUID_LEN 36

typedef struct cq_random {
    uint64_t state[4];
} cq_random;

void cq_random_init(cq_random *random);                      /* from the kernel */
void cq_random_seed(cq_random *random, uint64_t seed);       /* repeatable, for tests */
uint64_t cq_random_next(cq_random *random);                  /* 64 random bits */
uint64_t cq_random_below(cq_random *random, uint64_t bound); /* 0 … bound - 1 */

/* RFC 9562, versions 4 (random) and 7 (time-ordered). out gets 36 characters and a NUL.
 */
void cq_uuid4(cq_random *random, char out[CQ_UUID_LEN + 1]);
void cq_uuid7(cq_random *random, int64_t now_ms, char out[CQ_UUID_LEN + 1]);

#endif
