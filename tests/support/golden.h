/* SPDX-License-Identifier: MIT */
/* support/golden.h - reading the recorded vectors of tests/golden. */
#ifndef CQ_TEST_GOLDEN_H
#define CQ_TEST_GOLDEN_H

#include <jansson.h>
#include <stddef.h>

/* Calls check for each line of tests/golden/NAME, with its number, and returns how many
 * there were. A file that is missing or broken fails the test that called. */
size_t golden_each(const char *name, void (*check)(json_t *line, size_t number));

/* Where the vectors are. */
const char *golden_dir(void);

/* The bytes that a string of hex digits stands for; the caller frees. */
unsigned char *golden_unhex(const char *hex, size_t *len);

#endif
