/* SPDX-License-Identifier: MIT */
/* broker/sqlite/watch.c - hearing of tasks, due times and cancellations.
 *
 * A watch belongs to one thread. It hears its own broker's commits by an event, those of
 * others by the bell file: a byte written is work (IN_MODIFY), new times of the file are
 * a cancellation (IN_ATTRIB). Who writes to the database without ringing is found by a
 * look at its data_version every SLOW_POLL_MS. What is heard before a look is forgotten
 * by it; what is heard during it ends the sleep behind it: so nothing is missed. The
 * directory is watched too, so that a database that was deleted or replaced is noticed.
 */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOW_POLL_MS   1000
#define MEMORY_POLL_MS 2 /* a database in memory has no bell */
#define CANCEL_PAGE    256

struct cq_sqlite_watch {
    cq_sqlite *store;
    cq_sqlite_watch *next;
    bool work;
    cq_event rung;
    int inotify_fd;
    int bell, folder;     /* watch descriptors */
    uint32_t connection;  /* whose files are watched */
    int64_t data_version; /* of the last look */
};

cronq_status cq_sqlite_watch_new(cq_sqlite *store, bool work, cq_sqlite_watch **out,
                                 cronq_error *err)
{
    cq_sqlite_watch *watch = calloc(1, sizeof *watch);
    cronq_status status;

    if (!watch)
        return cq_fail_nomem(err);
    *watch = (cq_sqlite_watch){ .store = store, .work = work, .bell = -1, .folder = -1 };
    status = cq_event_init(&watch->rung, err);
    if (status) {
        free(watch);
        return status;
    }
    watch->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch->inotify_fd < 0)
        CQ_WARN(&store->logger,
                "%s: files can not be watched (%s): other processes' tasks are found "
                "once a second",
                store->given ? store->given : store->path, strerror(errno));
    pthread_mutex_lock(&store->watch_lock);
    watch->next = store->watches;
    store->watches = watch;
    pthread_mutex_unlock(&store->watch_lock);
    *out = watch;
    return CRONQ_OK;
}

void cq_sqlite_watch_free(cq_sqlite_watch *watch)
{
    cq_sqlite_watch **at;

    if (!watch)
        return;
    pthread_mutex_lock(&watch->store->watch_lock);
    for (at = &watch->store->watches; *at != watch;)
        at = &(*at)->next;
    *at = watch->next;
    pthread_mutex_unlock(&watch->store->watch_lock);
    if (watch->inotify_fd >= 0)
        close(watch->inotify_fd);
    cq_event_release(&watch->rung);
    free(watch);
}

/* Who can not ring is found by the slow poll. */
void cq_sqlite_ring(cq_sqlite *store, bool work, bool cancel)
{
    pthread_mutex_lock(&store->watch_lock);
    for (cq_sqlite_watch *watch = store->watches; watch; watch = watch->next)
        if (watch->work ? work : cancel)
            cq_event_set(&watch->rung);
    pthread_mutex_unlock(&store->watch_lock);
    if (store->bell_fd < 0)
        return;
    if (work && pwrite(store->bell_fd, "", 1, 0) < 0)
        return;
    if (cancel)
        futimens(store->bell_fd, NULL);
}

/* ---- looking ---- */

/* Watch the files of the present connection. It has the turn. */
static void arm(cq_sqlite_watch *watch)
{
    cq_sqlite *store = watch->store;
    uint32_t connection = atomic_load(&store->connection);
    char name[4096 + 16];

    if (store->in_memory || watch->connection == connection)
        return;
    if (watch->inotify_fd < 0) /* the user had too many; is it better now? */
        watch->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    inotify_rm_watch(watch->inotify_fd, watch->bell);
    inotify_rm_watch(watch->inotify_fd, watch->folder);
    snprintf(name, sizeof name, "%s-bell", store->path);
    watch->bell =
        inotify_add_watch(watch->inotify_fd, name, watch->work ? IN_MODIFY : IN_ATTRIB);
    *(strrchr(name, '/') + 1) = '\0';
    watch->folder = inotify_add_watch(
        watch->inotify_fd, name, IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR);
    if (watch->bell >= 0 && watch->folder >= 0)
        watch->connection = connection; /* else the slow poll does, and tries again */
}

static void forget(cq_sqlite_watch *watch)
{
    char events[4096];

    cq_event_clear(&watch->rung);
    while (read(watch->inotify_fd, events, sizeof events) > 0)
        ;
}

static int64_t read_data_version(cq_sqlite *store)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_data_version);

    return cq_sql_value(&sql, 0);
}

/* ---- sleeping ---- */

typedef struct version_args {
    cq_sqlite_watch *watch;
    bool changed;
} version_args;

static cronq_status version_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    version_args *args = arg;

    (void)err;
    args->changed = read_data_version(store) != args->watch->data_version ||
                    atomic_load(&store->connection) != args->watch->connection;
    return CRONQ_OK;
}

/* Until something is heard, the file has changed, woken (may be NULL) is set or it is
 * time. */
static cronq_status sleep_until(cq_sqlite_watch *watch, const cq_event *woken,
                                int64_t until_mono_ns, cronq_error *err)
{
    int64_t poll_ms = watch->store->in_memory ? MEMORY_POLL_MS : SLOW_POLL_MS;
    struct pollfd fds[] = { { watch->rung.fd, POLLIN, 0 },
                            { watch->inotify_fd, POLLIN, 0 },
                            { woken ? woken->fd : -1, POLLIN, 0 } };
    version_args args = { watch, false };

    for (;;) {
        int64_t left_ns = until_mono_ns - cq_mono_ns();
        struct timespec time;
        cronq_status status;

        if (left_ns <= 0)
            return CRONQ_OK;
        if (left_ns > poll_ms * CQ_NS_PER_MS)
            left_ns = poll_ms * CQ_NS_PER_MS;
        time = (struct timespec){ left_ns / CQ_NS_PER_S, (long)(left_ns % CQ_NS_PER_S) };
        if (ppoll(fds, 3, &time, NULL) > 0 || left_ns < poll_ms * CQ_NS_PER_MS)
            return CRONQ_OK;
        status = cq_sqlite_do(watch->store, CQ_SQLITE_READS, version_work, &args, err);
        if (status || args.changed)
            return status;
    }
}

/* ---- waiting for work ---- */

typedef struct look_args {
    cq_sqlite_intake *intake;
    bool work;
    int64_t due_ms; /* the earliest; INT64_MAX: none */
} look_args;

static void keep_earliest(look_args *args, const cq_sql *sql, int column)
{
    int64_t at_ms;

    if (cq_sql_is_null(sql, column))
        return;
    at_ms = cq_sql_get_int(sql, column);
    if (at_ms < args->due_ms)
        args->due_ms = at_ms;
}

static cronq_status look_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    look_args *args = arg;

    (void)err;
    arm(args->intake->waiting);
    args->work = false;
    args->due_ms = INT64_MAX;
    for (size_t i = 0; i < args->intake->queue_count; i++) {
        cq_sql sql = cq_sql_of(store, CQ_SQL_look);

        cq_sql_str(&sql, args->intake->queues[i]);
        if (!cq_sql_step(&sql))
            continue;
        args->work |= cq_sql_get_int(&sql, 0) != 0;
        keep_earliest(args, &sql, 1);
        keep_earliest(args, &sql, 2);
        cq_sql_end(&sql);
    }
    args->intake->waiting->data_version = read_data_version(store);
    return CRONQ_OK;
}

/* One look; *until_mono_ns becomes the next due time where that is earlier. */
static cronq_status look(cq_sqlite_intake *intake, cq_wait *wait, int64_t *until_mono_ns,
                         cronq_error *err)
{
    cq_broker *broker = &intake->store->broker;
    look_args args = { .intake = intake };
    cronq_status status;
    int64_t left_ns;

    forget(intake->waiting);
    wait->woken = cq_event_clear(&intake->woken);
    status = cq_sqlite_do(intake->store, CQ_SQLITE_READS, look_work, &args, err);
    if (status)
        return status;
    wait->work = args.work;
    if (args.due_ms == INT64_MAX)
        return CRONQ_OK;
    left_ns = args.due_ms * CQ_NS_PER_MS - broker->ops->now_ns(broker);
    wait->due = left_ns <= 0;
    if (*until_mono_ns - cq_mono_ns() > left_ns)
        *until_mono_ns = cq_mono_ns() + left_ns;
    return CRONQ_OK;
}

cronq_status cq_sqlite_wait(cq_intake *base, cq_wait *wait, cronq_error *err)
{
    cq_sqlite_intake *intake = cq_sqlite_intake_of(base);
    cronq_status status = CRONQ_OK;
    int64_t until_mono_ns;

    wait->work = wait->due = wait->woken = false;
    for (;;) {
        until_mono_ns = wait->until_mono_ns;
        status = look(intake, wait, &until_mono_ns, err);
        if (status || wait->work || wait->due || wait->woken ||
            cq_mono_ns() >= wait->until_mono_ns)
            return status;
        status = sleep_until(intake->waiting, &intake->woken, until_mono_ns, err);
        if (status)
            return status;
    }
}

void cq_sqlite_wake(cq_intake *base)
{
    cq_event_set(&cq_sqlite_intake_of(base)->woken);
}

/* ---- listening for cancellations ---- */

typedef struct cancel_args {
    cq_sqlite_intake *intake;
    cq_arena *arena;
    cq_str ids[CANCEL_PAGE];
    size_t count;
    int64_t last;
} cancel_args;

static cronq_status cancel_work(cq_sqlite *store, void *arg, cronq_error *err)
{
    cancel_args *args = arg;
    cq_sqlite_watch *watch = args->intake->listening;
    cq_sql sql;

    (void)err;
    arm(watch);
    args->count = 0;
    args->last = args->intake->last_cancel;
    if (args->last < 0) {
        sql = cq_sql_of(store, CQ_SQL_cancel_last);
        args->last = cq_sql_value(&sql, 0);
    }
    sql = cq_sql_of(store, CQ_SQL_cancel_list);
    cq_sql_int(&sql, args->last);
    cq_sql_int(&sql, CANCEL_PAGE);
    while (args->count < CANCEL_PAGE && cq_sql_step(&sql)) {
        args->last = cq_sql_get_int(&sql, 0);
        args->ids[args->count] = cq_sql_copy_str(&sql, 1, args->arena);
        if (!args->ids[args->count++].data)
            cq_sqlite_note(store, SQLITE_NOMEM);
    }
    cq_sql_end(&sql);
    watch->data_version = read_data_version(store);
    return CRONQ_OK;
}

/* One look; *count says how many were told. */
static cronq_status tell_cancelled(cq_sqlite_intake *intake, cq_cancel_fn *on_cancel,
                                   void *arg, size_t *count, cronq_error *err)
{
    cancel_args args = { .intake = intake };
    cronq_status status;
    cq_arena arena;

    cq_arena_init(&arena, (size_t)1 << 20);
    args.arena = &arena;
    forget(intake->listening);
    status = cq_sqlite_do(intake->store, CQ_SQLITE_READS, cancel_work, &args, err);
    if (!status) {
        intake->last_cancel = args.last;
        for (size_t i = 0; i < args.count; i++)
            on_cancel(args.ids[i], arg);
        *count = args.count;
    }
    cq_arena_release(&arena);
    return status;
}

cronq_status cq_sqlite_listen(cq_intake *base, int64_t timeout_ms,
                              cq_cancel_fn *on_cancel, void *arg, cronq_error *err)
{
    cq_sqlite_intake *intake = cq_sqlite_intake_of(base);
    int64_t until_mono_ns = cq_mono_ns() + timeout_ms * CQ_NS_PER_MS;
    cronq_status status;
    size_t count = 0;

    status = tell_cancelled(intake, on_cancel, arg, &count, err);
    if (status || count > 0)
        return status;
    status = sleep_until(intake->listening, NULL, until_mono_ns, err);
    return status ? status : tell_cancelled(intake, on_cancel, arg, &count, err);
}
