/* SPDX-License-Identifier: MIT */
/* ledger.c - rows of what is in hand. */
#include "worker/ledger.h"

#include "base/error.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Taken ahead, and finished but not yet answered for. */
#define ROWS_BESIDE 4096

static size_t size_of(const cq_ledger *ledger)
{
    return sizeof *ledger->shared + ledger->row_count * sizeof ledger->shared->rows[0];
}

/* Low rows first, so that few pages are touched. */
static void fill_free(cq_ledger *ledger)
{
    ledger->free_count = ledger->row_count;
    for (uint32_t i = 0; i < ledger->row_count; i++)
        ledger->free[i] = ledger->row_count - i;
}

cronq_status cq_ledger_init(cq_ledger *ledger, uint32_t concurrency, cronq_error *err)
{
    *ledger = (cq_ledger){ .row_count = concurrency + ROWS_BESIDE };
    ledger->free = calloc(ledger->row_count, sizeof *ledger->free);
    if (!ledger->free)
        return cq_fail_nomem(err);
    ledger->shared = mmap(NULL, size_of(ledger), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ledger->shared == MAP_FAILED) {
        ledger->shared = NULL;
        cq_ledger_release(ledger);
        return cq_fail_nomem(err);
    }
    fill_free(ledger);
    return CRONQ_OK;
}

void cq_ledger_release(cq_ledger *ledger)
{
    if (ledger->shared)
        munmap(ledger->shared, size_of(ledger));
    free(ledger->free);
    *ledger = (cq_ledger){ 0 };
}

void cq_ledger_clear(cq_ledger *ledger)
{
    cq_ledger_shared *shared = ledger->shared;

    for (uint32_t i = 0; i < ledger->row_count; i++)
        if (atomic_load(&shared->rows[i].state) != CQ_ROW_FREE)
            atomic_store(&shared->rows[i].state, CQ_ROW_FREE);
    atomic_store(&shared->open, 0);
    atomic_store(&shared->crashed, 0);
    atomic_store(&shared->reported, false);
    fill_free(ledger);
}

uint32_t cq_ledger_take(cq_ledger *ledger, uint32_t queue, uint32_t fence, cq_str id,
                        const char *type, int64_t taken_at_ns)
{
    uint32_t number;
    cq_row *row;

    if (ledger->free_count == 0 || id.len > CQ_LEDGER_ID_BYTES)
        return 0;
    number = ledger->free[--ledger->free_count];
    row = &ledger->shared->rows[number - 1];
    row->queue = queue;
    row->fence = fence;
    row->taken_at_ns = taken_at_ns;
    row->id_len = (uint32_t)id.len;
    memcpy(row->id, id.data, id.len);
    row->type[0] = '\0';
    strncat(row->type, type, sizeof row->type - 1);
    atomic_store(&row->state, CQ_ROW_TAKEN);
    atomic_fetch_add(&ledger->shared->open, 1);
    return number;
}

void cq_ledger_set(cq_ledger *ledger, uint32_t row, cq_row_state state)
{
    if (!row)
        return;
    atomic_store(&ledger->shared->rows[row - 1].state, state);
    atomic_fetch_add(&ledger->shared->changes, 1);
}

void cq_ledger_free(cq_ledger *ledger, uint32_t row)
{
    if (!row)
        return;
    cq_ledger_set(ledger, row, CQ_ROW_FREE);
    atomic_fetch_sub(&ledger->shared->open, 1);
    ledger->free[ledger->free_count++] = row;
}
