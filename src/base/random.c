/* SPDX-License-Identifier: MIT */
/* random.c - random numbers and UUIDs. */
#include "base/random.h"

#include "base/clock.h"

#include <sys/random.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

void cq_random_seed(cq_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix(&seed);
}

void cq_random_init(cq_random *random)
{
    /* Without a kernel source (never seen on Linux >= 3.17) time still tells processes
     * apart. */
    if (getrandom(random->state, sizeof random->state, 0) != sizeof random->state)
        cq_random_seed(random, (uint64_t)(cq_wall_ns() ^ cq_mono_ns()));
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t cq_random_next(cq_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t cq_random_below(cq_random *random, uint64_t bound)
{
    return bound ? cq_random_next(random) % bound : 0;
}

static void print_uuid(uint64_t high, uint64_t low, char out[CQ_UUID_LEN + 1])
{
    static const char hex[] = "0123456789abcdef";
    char *p = out;

    for (int i = 0; i < 32; i++) {
        uint64_t word = i < 16 ? high : low;

        if (i == 8 || i == 12 || i == 16 || i == 20)
            *p++ = '-';
        *p++ = hex[word >> (60 - 4 * (i % 16)) & 15];
    }
    *p = '\0';
}

static uint64_t with_variant(uint64_t low)
{
    return (low & 0x3FFFFFFFFFFFFFFF) | 0x8000000000000000;
}

void cq_uuid4(cq_random *random, char out[CQ_UUID_LEN + 1])
{
    uint64_t high = (cq_random_next(random) & 0xFFFFFFFFFFFF0FFF) | 0x4000;

    print_uuid(high, with_variant(cq_random_next(random)), out);
}

void cq_uuid7(cq_random *random, int64_t now_ms, char out[CQ_UUID_LEN + 1])
{
    uint64_t high = (uint64_t)now_ms << 16 | 0x7000 | (cq_random_next(random) & 0xFFF);

    print_uuid(high, with_variant(cq_random_next(random)), out);
}
