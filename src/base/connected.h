/* SPDX-License-Identifier: MIT */
/* base/connected.h - how many connections to stores this process has.
 *
 * The one thing that is counted for a whole process: a fork would double them, whoever
 * in the process has opened them. */
#ifndef CQ_BASE_CONNECTED_H
#define CQ_BASE_CONNECTED_H

void cq_connected_add(int change);
int cq_connected_count(void);

#endif
