/* SPDX-License-Identifier: MIT */
/* base/state.h - where the store is when nobody names one: a file in the state directory.
 *
 * For the program and the configuration; the library reads no environment. */
#ifndef CQ_BASE_STATE_H
#define CQ_BASE_STATE_H

#include "base/buf.h"

/* "sqlite:PATH" of a path, with what would mean something else in a URI escaped. */
void cq_sqlite_uri(cq_buf *out, const char *path);

/* The URI of cronq.db in $XDG_STATE_HOME/cronq, else /var/lib/cronq for root, else
 * ~/.local/state/cronq. ENOENT when there is no home. */
cronq_status cq_state_uri(cq_buf *out, cronq_error *err);

/* Make its directory and those above it, for the owner only, as far as they are missing.
 */
cronq_status cq_state_make_folder(cronq_error *err);

#endif
