/* SPDX-License-Identifier: MIT */
/* broker/sqlite/open.c - what a sqlite: URI says, and the table of operations.
 *
 * sqlite:PATH[?synchronous=full|normal][&vfs=NAME], with %XX for bytes that are not meant
 * literally. sqlite::memory:[NAME] is a database of this process only, for tests: all
 * that open the same name share it, and it is gone with the last of them. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"
#include "base/options.h"
#include "base/quote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SCHEME           "sqlite:"
#define MEMORY           ":memory:"
#define PATH_LIMIT_BYTES 4000

/* ---- the URI ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A copy with %XX replaced; NULL with the reason. */
static char *decode(cq_str text, const char *what, cronq_error *err)
{
    char *out = malloc(text.len + 1), *to = out;
    char room[CQ_QUOTED_ROOM];

    if (!out) {
        cq_fail_nomem(err);
        return NULL;
    }
    for (size_t i = 0; i < text.len; i++) {
        int high, low;

        *to = text.data[i];
        if (*to == '%') {
            high = i + 2 < text.len ? hex_value(text.data[i + 1]) : -1;
            low = i + 2 < text.len ? hex_value(text.data[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                cq_fail(err, CRONQ_EINVAL, "%s of a sqlite: URI: %s: bad %% escape", what,
                        cq_quoted(text, room));
                free(out);
                return NULL;
            }
            *to = (char)(high * 16 + low);
            i += 2;
        }
        to++;
    }
    *to = '\0';
    return out;
}

static cronq_status read_parameter(cq_sqlite *store, cq_str text, cronq_error *err)
{
    const char *equals = memchr(text.data, '=', text.len);
    size_t name_len = equals ? (size_t)(equals - text.data) : text.len;
    cq_str name = { text.data, name_len }, value = { NULL, 0 };
    char room[CQ_QUOTED_ROOM];

    if (equals)
        value = (cq_str){ equals + 1, text.len - name_len - 1 };
    if (cq_str_eq(name, CQ_STR("synchronous"))) {
        store->normal = cq_str_eq(value, CQ_STR("normal"));
        if (store->normal || cq_str_eq(value, CQ_STR("full")))
            return CRONQ_OK;
        return cq_fail(err, CRONQ_EINVAL,
                       "synchronous of a sqlite: URI: %s is neither full nor normal",
                       cq_quoted(value, room));
    }
    if (cq_str_eq(name, CQ_STR("vfs")) && value.len && !store->vfs) {
        store->vfs = decode(value, "vfs", err);
        return store->vfs ? CRONQ_OK : CRONQ_EINVAL;
    }
    return cq_fail(err, CRONQ_EINVAL,
                   "a sqlite: URI has the parameter synchronous, not %s",
                   cq_quoted(name, room));
}

static cronq_status read_parameters(cq_sqlite *store, const char *text, cronq_error *err)
{
    cronq_status status = CRONQ_OK;

    while (!status && *text) {
        size_t len = strcspn(text, "&");

        status = read_parameter(store, (cq_str){ text, len }, err);
        text += len + (text[len] == '&');
    }
    return status;
}

/* Later changes of the working directory do not move the database. */
static char *absolute(char *path, cronq_error *err)
{
    char *folder, *out = NULL;

    if (!path || *path == '/')
        return path;
    folder = getcwd(NULL, 0);
    if (!folder)
        cq_fail_errno(err, CRONQ_EIO, errno, "the working directory is not known");
    else if (asprintf(&out, "%s/%s", folder, path) < 0)
        out = NULL;
    free(folder);
    free(path);
    return out;
}

static cronq_status read_memory(cq_sqlite *store, cq_str name, cronq_error *err)
{
    store->in_memory = true;
    for (size_t i = 0; i < name.len; i++)
        if (hex_value(name.data[i]) < 0 && name.data[i] != '-')
            return cq_fail(err, CRONQ_EINVAL,
                           "the name behind sqlite::memory: is made of hex digits and -");
    if (asprintf(&store->path, "file:/cronq-%.*s?vfs=memdb", CQ_FMT(name)) < 0)
        store->path = NULL;
    return store->path ? CRONQ_OK : cq_fail_nomem(err);
}

static cronq_status read_uri(cq_sqlite *store, const char *uri, cronq_error *err)
{
    const char *text = uri + strlen(SCHEME), *mark = strchr(text, '?');
    cq_str path = { text, mark ? (size_t)(mark - text) : strlen(text) };
    cronq_status status = CRONQ_OK;

    if (mark)
        status = read_parameters(store, mark + 1, err);
    if (status)
        return status;
    if (cq_str_starts(path, CQ_STR(MEMORY)))
        return read_memory(
            store, (cq_str){ path.data + strlen(MEMORY), path.len - strlen(MEMORY) },
            err);
    if (cq_str_starts(path, CQ_STR("///")))
        path = (cq_str){ path.data + 2, path.len - 2 };
    if (!path.len || path.data[path.len - 1] == '/')
        return cq_fail(err, CRONQ_EINVAL, "a sqlite: URI names a file: sqlite:PATH");
    if (path.len > PATH_LIMIT_BYTES)
        return cq_fail(err, CRONQ_ETOOBIG,
                       "the path of a sqlite: URI has %zu bytes, at most %d", path.len,
                       PATH_LIMIT_BYTES);
    store->path = absolute(decode(path, "the path", err), err);
    if (!store->path)
        return CRONQ_EINVAL;
    store->given = strdup(store->path);
    return store->given ? CRONQ_OK : cq_fail_nomem(err);
}

/* ---- the broker ---- */

static cronq_status say_version(cq_sqlite *store, void *arg, cronq_error *err)
{
    cq_sql sql = cq_sql_of(store, CQ_SQL_ping);

    (void)arg;
    if (cq_sql_value(&sql, 0) > 0 || store->code)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_EPROTO, "%s: the tables have no version", store->path);
}

static cronq_status ping(cq_broker *broker, cronq_error *err)
{
    return cq_sqlite_do(cq_sqlite_of(broker), CQ_SQLITE_READS, say_version, NULL, err);
}

/* All who use a file share this machine's clock. */
static cronq_status sync_clock(cq_broker *broker, cronq_error *err)
{
    (void)err;
    atomic_store(&cq_sqlite_of(broker)->offset_ns, cq_wall_ns() - cq_mono_ns());
    return CRONQ_OK;
}

static int64_t now_ns(cq_broker *broker)
{
    return cq_mono_ns() + atomic_load(&cq_sqlite_of(broker)->offset_ns);
}

/* A child that was forked leaves the connection to its parent. */
static void sqlite_free(cq_broker *broker)
{
    cq_sqlite *store = cq_sqlite_of(broker);

    if (store->db && atomic_load(&store->connected_by) == getpid())
        cq_sqlite_disconnect(store, false);
    pthread_mutex_destroy(&store->turn_lock);
    pthread_cond_destroy(&store->turn_over);
    pthread_mutex_destroy(&store->watch_lock);
    free(store->path);
    free(store->given);
    free(store->vfs);
    free(store);
}

static const cq_broker_ops ops = {
    .name = "sqlite",
    .free = sqlite_free,
    .ping = ping,
    .sync_clock = sync_clock,
    .now_ns = now_ns,
    .push = cq_sqlite_push,
    .intake_open = cq_sqlite_intake_open,
    .intake_close = cq_sqlite_intake_close,
    .exchange_send = cq_sqlite_exchange_send,
    .exchange_recv = cq_sqlite_exchange_recv,
    .wait = cq_sqlite_wait,
    .wake = cq_sqlite_wake,
    .listen = cq_sqlite_listen,
    .find_leased = cq_sqlite_find_leased,
    .forward = cq_sqlite_forward,
    .extend = cq_sqlite_extend,
    .mark_started = cq_sqlite_mark_started,
    .count_deaths = cq_sqlite_count_deaths,
    .write_result = cq_sqlite_write_result,
    .list_expired = cq_sqlite_list_expired,
    .recover = cq_sqlite_recover,
    .list_unleased = cq_sqlite_list_unleased,
    .adopt = cq_sqlite_adopt,
    .repair_groups = cq_sqlite_repair_groups,
    .purge = cq_sqlite_purge,
    .due_groups = cq_sqlite_due_groups,
    .take_group = cq_sqlite_take_group,
    .read_set = cq_sqlite_read_set,
    .extend_set = cq_sqlite_extend_set,
    .finish_set = cq_sqlite_finish_set,
    .reclaim_sets = cq_sqlite_reclaim_sets,
    .beat = cq_sqlite_beat,
    .beat_clear = cq_sqlite_beat_clear,
    .write_entries = cq_sqlite_write_entries,
    .clear_entries = cq_sqlite_clear_entries,
    .record_event = cq_sqlite_record_event,
    .every_phase = cq_sqlite_every_phase,
};

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

static cronq_status read_options(cq_sqlite *store, const cq_broker_options *options,
                                 cronq_error *err)
{
    cronq_store_options how;
    cronq_status status;

    status =
        cq_options_copy(&how, sizeof how, options->store, "cronq_store_options", err);
    if (status)
        return status;
    store->logger = options->logger;
    store->lease_ms = or_default(options->lease_ms, 30000);
    store->recover_after_ms = or_default(options->recover_after_ms, 2000);
    store->timeout_ms = how.read_timeout_ms ? how.read_timeout_ms : 3000;
    store->must_exist = how.must_exist;
    if (store->timeout_ms < CRONQ_NEVER)
        return cq_fail(err, CRONQ_EINVAL, "read_timeout_ms: %lld is negative",
                       (long long)store->timeout_ms);
    return read_uri(store, options->uri, err);
}

cronq_status cq_sqlite_open(const cq_broker_options *options, cq_broker **out,
                            cronq_error *err)
{
    cq_sqlite *store = calloc(1, sizeof *store);
    cronq_status status;

    if (!store)
        return cq_fail_nomem(err);
    store->broker = (cq_broker){ .ops = &ops, .inspect = &cq_sqlite_inspect_ops };
    store->bell_fd = store->reserve_fd = -1;
    atomic_init(&store->offset_ns, cq_wall_ns() - cq_mono_ns());
    atomic_init(&store->connection, 0);
    pthread_mutex_init(&store->turn_lock, NULL);
    cq_cond_init(&store->turn_over);
    pthread_mutex_init(&store->watch_lock, NULL);
    status = cq_broker_limits(&store->broker, options, err);
    if (!status)
        status = read_options(store, options, err);
    if (status) {
        sqlite_free(&store->broker);
        return status;
    }
    store->broker.file = store->given; /* the path changes where it is a link */
    store->broker.is_private = store->in_memory;
    *out = &store->broker;
    return CRONQ_OK;
}
