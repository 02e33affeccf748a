/* SPDX-License-Identifier: MIT */
/* handlers/descendants.h - the processes below this one, as /proc has them now.
 *
 * Nothing but system calls: for the child of a fork of a process with threads. */
#ifndef CQ_HANDLERS_DESCENDANTS_H
#define CQ_HANDLERS_DESCENDANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Send the signal to each that lives, but for those of group `except` (0: none). Returns
 * how many live processes there were below us; moving: how many of them were not stopped
 * yet. -1 without a /proc. */
int cq_descendants_signal(int number, pid_t except, int *moving);

#endif
