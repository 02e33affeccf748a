/* SPDX-License-Identifier: MIT */
/* client/tx.c - pushing in a transaction of the caller's. */
#include <cronq/sqlite.h>

#include "base/clock.h"
#include "base/error.h"
#include "client/internal.h"

static cronq_status check_store(const cq_broker *broker, cronq_error *err)
{
    if (strcmp(broker->ops->name, "sqlite") == 0)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_EUNSUPPORTED,
                   "only the embedded store has transactions of the caller");
}

/* item->push.status is about the item where the status that is returned is OK. */
static cronq_status store_in(cronq_client *client, void *db, cq_library_fn *sourceid,
                             cq_prepared *item, cronq_error *err)
{
    cq_broker *broker = client->broker;
    cronq_status status;
    int64_t now_ns;

    status = check_store(broker, err);
    if (!status)
        status = broker->ops->sync_clock(broker, err);
    if (status)
        return status;
    now_ns = broker->ops->now_ns(broker);
    cq_prepared_stamp(item, now_ns);
    return cq_sqlite_push_tx(broker, db, sourceid, &item->push, now_ns, err);
}

cronq_status cronq_client_push_tx_by(cronq_client *client, struct sqlite3 *db,
                                     const char *(*sourceid)(void),
                                     const cronq_task *task, cronq_task_info **info,
                                     cronq_error *err)
{
    cq_prepared item;
    cronq_status status;
    int64_t begun_ns;

    if (!client)
        return cq_fail(err, CRONQ_EINVAL, "client is NULL");
    begun_ns = cq_mono_ns();
    status = cq_client_prepare(client, task, &(cq_ask){ 0 }, info, &item, err);
    if (!status) {
        status = store_in(client, db, sourceid, &item, err);
        if (status)
            item.push.status = status;
        else if (item.push.status)
            status = cq_client_explain(&item, &(cronq_error){ 0 }, err);
        cq_client_measure(client, &item, cq_mono_ns() - begun_ns);
        cq_client_trace(client, &item);
    }
    if (!status && info)
        *info = cq_prepared_take_info(&item);
    cq_prepared_release(&item);
    return status;
}

cronq_status cronq_client_notify(cronq_client *client, cronq_error *err)
{
    cronq_status status;

    if (!client)
        return cq_fail(err, CRONQ_EINVAL, "client is NULL");
    status = check_store(client->broker, err);
    return status ? status : cq_sqlite_notify(client->broker, err);
}
