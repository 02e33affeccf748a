/* SPDX-License-Identifier: MIT */
/* measure.c - what a client records. */
#include "client/internal.h"

static cq_pushed_how how_of(const cq_push *push)
{
    if (push->tick_entry.len)
        return CQ_PUSHED_CRON;
    if (push->kind == CQ_PUSH_LATER)
        return CQ_PUSHED_LATER;
    return push->kind == CQ_PUSH_GROUP ? CQ_PUSHED_GROUP : CQ_PUSHED_NOW;
}

bool cq_is_push(const cq_push *push)
{
    return !push->tick_entry.len ||
           (push->status != CRONQ_EDUP && push->status != CRONQ_ESTATE);
}

void cq_client_measure(cronq_client *client, const cq_prepared *item, int64_t ns)
{
    const cq_push *push = &item->push;
    cronq_metrics *metrics = client->metrics;
    cq_type_cells *cells;

    if (!metrics || !cq_is_push(push))
        return;
    cells = cq_type_here(metrics, cq_metrics_type(metrics, cq_str_of(item->task.type)));
    cq_cell_add(&cells->pushed[how_of(push) * 2 + (push->status != CRONQ_OK)], 1);
    cq_histogram_add(cells->push_ns, &cq_push_bounds, ns);
    cq_histogram_add(cells->push_bytes, &cq_bytes_bounds,
                     (int64_t)item->task.payload.len);
}

void cq_client_tell(void *arg, cq_collection *out)
{
    cronq_client *client = arg;

    cq_collection_tell(out, CQ_TOLD_CONNECTIONS,
                       (double)atomic_load(&client->broker->opened_count));
}
