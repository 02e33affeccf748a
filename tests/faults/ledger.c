/* SPDX-License-Identifier: MIT */
/* faults/ledger.c - the checker of stores under faults. */
#include "faults/ledger.h"

#include "base/clock.h"
#include "broker/finding.h"
#include "codec/message.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define QUEUE CQ_STR("q")

ledger *ledger_new(void)
{
    ledger *l =
        mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(l != MAP_FAILED);
    return l;
}

void ledger_free(ledger *l)
{
    munmap(l, sizeof *l);
}

cq_broker *ledger_open(const char *uri, int64_t timeout_ms)
{
    cq_broker_options options = {
        .uri = uri, .store = CRONQ_STORE_OPTIONS(.read_timeout_ms = timeout_ms)
    };
    cronq_error err = { 0 };
    cq_broker *broker = NULL;

    if (cq_broker_open(&options, &broker, &err))
        fail_msg("%s", err.text);
    return broker;
}

static void note(ledger *l, uint32_t number, uint8_t flag)
{
    atomic_fetch_or(&l->tasks[number], flag);
}

static cronq_bytes make_message(const char *id, char out[256])
{
    cq_message message = { .type = CQ_STR("t"),
                           .id = cq_str_of(id),
                           .queue = QUEUE,
                           .payload =
                               CRONQ_LIT("a payload of some length, for it to fill "
                                         "a row and a page before too long") };
    cq_buf buf;
    size_t len;

    cq_buf_init(&buf, 256);
    cq_message_encode(&message, &buf, NULL);
    memcpy(out, buf.data, len = buf.len);
    cq_buf_release(&buf);
    return (cronq_bytes){ out, len };
}

cronq_status ledger_push(ledger *l, cq_broker *broker, size_t count, cronq_error *err)
{
    cq_push *items = calloc(count, sizeof *items);
    char(*ids)[16] = calloc(count, sizeof *ids), (*texts)[256] = calloc(count, 256);
    uint32_t first = atomic_fetch_add(&l->next, (uint32_t)count);
    cronq_status status;

    for (size_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof ids[i], "%u", first + (uint32_t)i);
        items[i] = (cq_push){ .queue = QUEUE,
                              .id = cq_str_of(ids[i]),
                              .message = make_message(ids[i], texts[i]),
                              .status = CRONQ_EPROTO };
        note(l, first + (uint32_t)i, LEDGER_TRIED);
    }
    status = broker->ops->push(broker, items, count, cq_wall_ns(), err);
    for (size_t i = 0; i < count; i++) {
        if (items[i].status == CRONQ_OK)
            note(l, first + (uint32_t)i, LEDGER_ACCEPTED);
        else if (!status)
            status = items[i].status;
    }
    free(items);
    free(ids);
    free(texts);
    return status;
}

/* ---- working ---- */

void ledger_worker_init(ledger_worker *w, cq_broker *broker, uint32_t fence)
{
    cronq_error err = { 0 };

    memset(w, 0, sizeof *w);
    w->broker = broker;
    w->fence = fence;
    cq_arena_init(&w->arena, (size_t)1 << 26);
    if (broker->ops->intake_open(broker, &QUEUE, 1, &w->intake, &err))
        fail_msg("%s", err.text);
}

void ledger_worker_release(ledger_worker *w)
{
    w->broker->ops->intake_close(w->intake);
    cq_arena_release(&w->arena);
}

static void finish(ledger *l, ledger_worker *w, int64_t now_ns)
{
    for (size_t i = 0; i < w->count; i++) {
        static const cq_outcome_kind others[] = { CQ_GIVE_BACK, CQ_RETRY, CQ_ARCHIVE,
                                                  CQ_COMPLETE };
        uint32_t number = (uint32_t)strtoul(w->ids[i], NULL, 10);
        cq_outcome *outcome = &w->outcomes[i];

        outcome->kind = number % 8 ? CQ_DONE : others[number / 8 % 4];
        outcome->fence = w->fence;
        outcome->taken_at_ns = now_ns;
        outcome->id = cq_str_of(w->ids[i]);
        outcome->message = make_message(w->ids[i], w->messages[i]);
        outcome->at_ms = now_ns / CQ_NS_PER_MS + 3600 * CQ_MS_PER_S;
        if (outcome->kind == CQ_DONE)
            note(l, number, LEDGER_FINISHED);
        if (outcome->kind == CQ_GIVE_BACK)
            atomic_fetch_add(&l->causes[number], 1);
    }
}

static void settle(ledger *l, ledger_worker *w, const cq_exchange *exchange)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->outcomes[i].kind == CQ_DONE && w->outcomes[i].status == CRONQ_OK)
            note(l, (uint32_t)strtoul(w->ids[i], NULL, 10), LEDGER_RECORDED);
    w->count = exchange->delivery_count;
    for (size_t i = 0; i < w->count; i++) {
        snprintf(w->ids[i], sizeof w->ids[i], "%.*s", CQ_FMT(exchange->deliveries[i].id));
        atomic_fetch_add(&l->runs[strtoul(w->ids[i], NULL, 10)], 1);
    }
}

cronq_status ledger_exchange(ledger *l, ledger_worker *w, uint32_t budget,
                             cronq_error *err)
{
    cq_want want = { 0, budget };
    cq_exchange exchange = { .now_ns = cq_wall_ns(),
                             .fence = w->fence,
                             .forward = true,
                             .wants = &want,
                             .want_count = 1,
                             .budget = budget,
                             .outcomes = w->outcomes,
                             .outcome_count = w->count,
                             .arena = &w->arena };
    cronq_status status;

    cq_arena_reset(&w->arena);
    finish(l, w, exchange.now_ns);
    status = w->intake->ops->exchange_send(w->intake, &exchange, err);
    if (!status)
        status = w->intake->ops->exchange_recv(w->intake, &exchange, err);
    if (!status)
        settle(l, w, &exchange);
    return status;
}

cronq_status ledger_recover(ledger *l, cq_broker *broker, cronq_error *err)
{
    int64_t now_ns = cq_wall_ns() + 3600 * CQ_NS_PER_S;
    cq_recovery items[100] = { { 0 } };
    cronq_status status;
    cq_expired *found;
    cq_arena arena;
    size_t count;

    cq_arena_init(&arena, (size_t)1 << 24);
    status = broker->ops->list_expired(broker, QUEUE, now_ns, 100, &arena, &found, &count,
                                       err);
    for (size_t i = 0; !status && i < count; i++) {
        char id[16];

        snprintf(id, sizeof id, "%.*s", CQ_FMT(found[i].id));
        atomic_fetch_add(&l->causes[strtoul(id, NULL, 10)], 1);
        items[i] = (cq_recovery){ .kind = CQ_RECOVER_PUT_BACK,
                                  .id = found[i].id,
                                  .score = found[i].score };
    }
    if (!status && count)
        status = broker->ops->recover(broker, QUEUE, items, count, now_ns, err);
    cq_arena_release(&arena);
    return status;
}

/* ---- checking ---- */

/* Who was stopped has a lock, or was putting the log in order. */
static bool is_held(int code)
{
    return code == SQLITE_BUSY || code == SQLITE_PROTOCOL;
}

static bool is_whole(sqlite3 *db, const char *when)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(stmt);
    if (code == SQLITE_ROW &&
        strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0)
        fail_msg("%s: integrity_check: %s", when, sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    if (code != SQLITE_ROW && !is_held(code))
        fail_msg("%s: integrity_check: %s", when, sqlite3_errmsg(db));
    return code == SQLITE_ROW;
}

static bool read_stored(sqlite3 *db, uint8_t *stored, const char *when)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT id FROM cronq_task", -1, &stmt, NULL);

    while (code == SQLITE_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        stored[sqlite3_column_int(stmt, 0)] = 1;
        code = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    if (code != SQLITE_DONE && !is_held(code))
        fail_msg("%s: %s", when, sqlite3_errmsg(db));
    return code == SQLITE_DONE;
}

static void keep_first(const cq_finding *finding, void *arg)
{
    char *text = arg;

    if (!*text)
        snprintf(text, 256, "%.*s: %s", CQ_FMT(finding->id),
                 cq_finding_sentence(finding->kind));
}

/* What `cronq fsck` does, on a connection of its own. */
static bool is_clean(const char *path, const char *when)
{
    char uri[256], found[256] = "";
    cronq_error err = { 0 };
    cronq_status status;
    cq_broker *broker;

    snprintf(uri, sizeof uri, "sqlite:%s", path);
    broker = ledger_open(uri, 500);
    status = broker->inspect->check(broker, QUEUE, false, cq_wall_ns(), keep_first, found,
                                    &err);
    broker->ops->free(broker);
    if (found[0])
        fail_msg("%s: fsck: %s", when, found);
    if (status && status != CRONQ_ENOENT && !strstr(err.text, "has locked") &&
        !strstr(err.text, "locking protocol"))
        fail_msg("%s: fsck: %s", when, err.text);
    return !status || status == CRONQ_ENOENT;
}

typedef struct allowance {
    bool lost, undone;
} allowance;

static void check_task(const ledger *l, uint32_t i, bool stored, allowance may,
                       const char *when)
{
    uint8_t flags = atomic_load(&l->tasks[i]);

    if (!may.lost && (flags & LEDGER_ACCEPTED) && !(flags & LEDGER_FINISHED) && !stored)
        fail_msg("%s: task %u was accepted and is lost", when, i);
    if (!may.undone && (flags & LEDGER_RECORDED) && stored)
        fail_msg("%s: task %u is done and still stored", when, i);
    if (!(flags & LEDGER_TRIED) && stored)
        fail_msg("%s: task %u was never pushed", when, i);
    if (atomic_load(&l->runs[i]) > 1 + atomic_load(&l->causes[i]))
        fail_msg("%s: task %u ran again without a cause", when, i);
}

static bool check_file(const ledger *l, const char *path, allowance may, const char *when)
{
    uint8_t *stored = calloc(LEDGER_TASKS, 1);
    bool readable;
    sqlite3 *db;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 500);
    readable = is_whole(db, when) && read_stored(db, stored, when);
    for (uint32_t i = 0; readable && i < atomic_load(&l->next); i++)
        check_task(l, i, stored[i], may, when);
    sqlite3_close(db);
    free(stored);
    return readable && is_clean(path, when);
}

bool ledger_check_busy(const ledger *l, const char *path, const char *when)
{
    return check_file(l, path, (allowance){ false, false }, when);
}

void ledger_check_cut(const ledger *l, const char *path, bool lossy, const char *when)
{
    if (!check_file(l, path, (allowance){ lossy, true }, when))
        fail_msg("%s: the file is locked, and nobody works on it", when);
}

void ledger_check(const ledger *l, const char *path, const char *when)
{
    if (!ledger_check_busy(l, path, when))
        fail_msg("%s: the file is locked, and nobody works on it", when);
}
