/* SPDX-License-Identifier: MIT */
/* faults/faulty_vfs.h - a file system of SQLite's that fails when it is told to.
 *
 * It passes everything to the usual one, counts the operations of a kind on database and
 * log, and fails the n-th, or all from the n-th on. */
#ifndef CQ_TEST_FAULTS_FAULTY_VFS_H
#define CQ_TEST_FAULTS_FAULTY_VFS_H

#include <stdbool.h>

#define FAULTY_VFS "faulty"

typedef enum faulty_kind {
    FAULTY_NONE,
    FAULTY_WRITE, /* an I/O error */
    FAULTY_FULL,  /* a write finds no space */
    FAULTY_SYNC,
    FAULTY_READ,
    FAULTY_GROWTH, /* a write behind the end of a file finds no space, while there is a
                    * file named by reserve that is not empty */
} faulty_kind;

/* Make it known to SQLite as FAULTY_VFS. */
void faulty_register(void);

/* From now on; nth counts from 1, of 0 nothing fails. */
void faulty_set(faulty_kind kind, int nth, bool all_later, const char *reserve);

/* How often it has failed since. */
int faulty_failures(void);

/* From now on remember what was written to database and log and not synced yet; of 0 no
 * more. Before the files are made. */
void faulty_remember(bool on);

/* The files as a power cut might leave them: all that was synced, and of every chance
 * writes since then one, torn from the others (0: none). To path and path-wal. */
void faulty_cut(const char *path, unsigned chance, unsigned seed);

#endif
