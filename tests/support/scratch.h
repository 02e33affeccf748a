/* SPDX-License-Identifier: MIT */
/* support/scratch.h - a directory of a test's own. What can not be done fails the test.
 */
#ifndef CQ_TEST_SCRATCH_H
#define CQ_TEST_SCRATCH_H

#define SCRATCH_ROOM 64

/* Its path, written to room and returned. */
const char *scratch_new(char room[SCRATCH_ROOM]);

/* Delete the files in it, and it too. */
void scratch_empty(const char *path);
void scratch_remove(const char *path);

#endif
