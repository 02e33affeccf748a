/* SPDX-License-Identifier: MIT */
/* conformance/sqlite_test.c - the conformance cases over a SQLite file, with both ways to
 * write it, and over a database in memory. */
#include "conformance/conformance.h"

#include "support/scratch.h"

#include <stdio.h>

typedef struct sqlite_store {
    conformance_store store; /* first */
    const char *folder;      /* NULL: in memory */
    const char *parameters;
} sqlite_store;

static cq_broker *open_sqlite(conformance_store *store, const cq_broker_options *options)
{
    const sqlite_store *sqlite = (sqlite_store *)(void *)store;
    cq_broker_options mine = *options;
    cronq_error err = { 0 };
    cq_broker *broker;
    char uri[512] = "sqlite::memory:";

    if (sqlite->folder)
        snprintf(uri, sizeof uri, "sqlite:%s/cronq.db%s", sqlite->folder,
                 sqlite->parameters);
    mine.uri = uri;
    if (cq_broker_open(&mine, &broker, &err))
        fail_msg("cq_broker_open: %s", err.text);
    /* Making the tables takes the disk longer than some cases allow. */
    if (broker->ops->ping(broker, &err))
        fail_msg("ping: %s", err.text);
    return broker;
}

static void wipe_sqlite(conformance_store *store)
{
    const sqlite_store *sqlite = (sqlite_store *)(void *)store;

    if (sqlite->folder)
        scratch_empty(sqlite->folder);
}

int main(void)
{
    char folder[SCRATCH_ROOM];
    sqlite_store store = { .store = { .open = open_sqlite, .wipe = wipe_sqlite } };
    int failed;

    failed = conformance_run("sqlite in memory", &store.store);
    store.folder = scratch_new(folder);
    store.parameters = "";
    failed += conformance_run("sqlite", &store.store);
    store.parameters = "?synchronous=normal";
    failed += conformance_run("sqlite, synchronous=normal", &store.store);
    scratch_remove(folder);
    return failed;
}
