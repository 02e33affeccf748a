/* SPDX-License-Identifier: MIT */
/* support/fault_proxy.h - stands between clients and a Redis, and does what networks do.
 *
 * It knows RESP: faults strike at whole commands and replies, counted from the plan on
 * over all connections. A thread of its own carries the bytes; all functions may be
 * called from the test's thread at any time. */
#ifndef CQ_TEST_FAULT_PROXY_H
#define CQ_TEST_FAULT_PROXY_H

#include <stdbool.h>

typedef enum fault_kind {
    FAULT_NONE,
    FAULT_CUT_BEFORE, /* the command does not arrive, the connection ends */
    FAULT_CUT_AFTER,  /* it runs, its reply is lost, the connection ends */
    FAULT_CUT_WITHIN, /* the same, behind half of the reply */
    FAULT_ERROR,      /* it does not arrive and is answered with an error line */
    FAULT_HOLD, /* it runs; its reply and all behind it wait for fault_proxy_release */
} fault_kind;

typedef struct fault_proxy fault_proxy;

/* Listens on a Unix socket of its own, connects to that of upstream. */
fault_proxy *fault_proxy_start(const char *upstream_socket);
void fault_proxy_stop(fault_proxy *proxy); /* NULL is fine */
const char *fault_proxy_uri(const fault_proxy *proxy);

/* Let the nth command (from 1) that begins with this word suffer; NULL: any command.
 * error_line, "-LOADING later", is for FAULT_ERROR. One plan at a time; it is done once.
 */
void fault_proxy_plan(fault_proxy *proxy, fault_kind kind, const char *command, int nth,
                      const char *error_line);
/* Has the planned fault struck? */
bool fault_proxy_struck(fault_proxy *proxy);
void fault_proxy_release(fault_proxy *proxy);

/* How many commands that begin with the word of the last plan came since then. */
int fault_proxy_seen(fault_proxy *proxy);

/* All replies from now on arrive byte by byte. */
void fault_proxy_split(fault_proxy *proxy, bool split);
/* Replies arrive this much later. */
void fault_proxy_delay(fault_proxy *proxy, int delay_ms);
/* The connections that there are now stay open, and carry nothing any more. */
void fault_proxy_freeze(fault_proxy *proxy);
/* End all connections; with refuse, new ones end at once until it is called without. */
void fault_proxy_drop(fault_proxy *proxy, bool refuse);

#endif
