/* SPDX-License-Identifier: MIT */
/* cronq/sqlite.h - push a task in a transaction of your own on the embedded store. */
#ifndef CRONQ_SQLITE_H
#define CRONQ_SQLITE_H

#include "client.h"

struct sqlite3; /* sqlite3.h */

CRONQ_BEGIN

/* Of the SQLite that the program is linked with. */
extern const char *sqlite3_sourceid(void);

/* cronq_client_push_tx(client, db, task, info, err): store one task in the transaction
 * that is open on db, so that it is there if and only if the transaction commits. db is
 * used by no other thread meanwhile; its `main` is the file of the client, in which there
 * are the tables of cronq (cronq_client_ping makes them). info as in cronq_client_push.
 *
 * OK: it is stored when the transaction commits. EEXIST, EDUP, EINVAL, ETOOBIG: nothing
 * was stored, and the transaction is as it was. EUNSUPPORTED: the client's store is no
 * file, or the program has another copy of SQLite than the library. EINVAL: `main` is
 * another file, or the same by another hard link; the client's may be attached, which is
 * not enough. ESTATE: no transaction is open, a statement that writes is not at its end,
 * or the tables are missing. EFULL, EIO: roll back. */
#define cronq_client_push_tx(client, db, task, info, err) \
    cronq_client_push_tx_by(client, db, sqlite3_sourceid, task, info, err)

/* What the macro calls. sourceid is sqlite3_sourceid as the program resolves it: two
 * copies of SQLite in a process would drop each other's locks. */
cronq_status cronq_client_push_tx_by(cronq_client *client, struct sqlite3 *db,
                                     const char *(*sourceid)(void),
                                     const cronq_task *task, cronq_task_info **info,
                                     cronq_error *err) CRONQ_CHECKED;

/* After the COMMIT: wake workers at once. Without it they find the task within a second.
 */
cronq_status cronq_client_notify(cronq_client *client, cronq_error *err) CRONQ_CHECKED;

CRONQ_END
#endif /* CRONQ_SQLITE_H */
