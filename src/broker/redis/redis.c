/* SPDX-License-Identifier: MIT */
/* broker/redis/redis.c - opening and freeing the Redis broker, its scripts, its clock.
 *
 * Invariants: scripts do not change after opening. The clock is the monotonic one plus
 * offset_ns, which each new connection and sync_clock measure by TIME; while the store
 * was not reached yet this machine's wall clock stands in. */
#include "broker/redis/redis.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "codec/key.h"

#include <stdlib.h>

#define CLOCK_SAMPLES       3
#define LONGEST_PATIENCE_MS 60000

#define INFO_LIMIT_BYTES ((size_t)1 << 20)

#define CQ_LUA_TEXT(name, kind) extern const char cq_lua_##name[];
CQ_LUA_MAP(CQ_LUA_TEXT)
#undef CQ_LUA_TEXT
extern const char cq_lua_common[];

typedef enum script_kind {
    ADDS,    /* may be refused at maxmemory */
    DRAINS,  /* must not be */
    SETTLES, /* must not be, and needs what is in common.lua */
} script_kind;

static const struct {
    const char *name, *text;
    script_kind kind;
} sources[CQ_LUA_COUNT] = {
#define CQ_LUA_SOURCE(name, kind) { #name, cq_lua_##name, kind },
    CQ_LUA_MAP(CQ_LUA_SOURCE)
#undef CQ_LUA_SOURCE
};

/* What is put before a script that drains. Redis before 7 refuses a script's first write
 * at maxmemory, not those that follow one that frees: a prefix is never a key, and
 * what else is a first key is replaced as a whole. */
static const char *const preludes[2] = {
    "#!lua flags=allow-oom\n",
    "local e = redis.pcall('DEL', KEYS[1])\n"
    "if type(e) == 'table' and e.err then\n"
    "return redis.error_reply((string.gsub(e.err, '^%-', '')))\n"
    "end\n",
};

static cronq_status make_scripts(cq_redis *redis, cronq_error *err)
{
    cq_buf buf;
    size_t at = 0;

    cq_buf_init(&buf, (size_t)1 << 20);
    for (int i = 0; i < 2 * CQ_LUA_COUNT; i++) {
        script_kind kind = sources[i / 2].kind;

        cq_buf_append_text(&buf, kind == ADDS ? "" : preludes[i % 2]);
        cq_buf_append_text(&buf, kind == SETTLES ? cq_lua_common : "");
        cq_buf_append_text(&buf, sources[i / 2].text);
        cq_buf_append_char(&buf, '\0');
    }
    if (buf.status) {
        cq_buf_release(&buf);
        return cq_fail_nomem(err);
    }
    redis->bodies = buf.data;
    for (int i = 0; i < 2 * CQ_LUA_COUNT; i++) {
        size_t len = strlen(buf.data + at);

        cq_script_init(&redis->scripts[i % 2][i / 2], sources[i / 2].name, buf.data + at,
                       len);
        at += len + 1;
    }
    return CRONQ_OK;
}

/* ---- the clock ---- */

/* One measurement: the offset is within half a round trip of offset_ns. */
static cronq_status sample_clock(cq_conn *conn, cq_clock_sample *out, cronq_error *err)
{
    int64_t before, after, store_ns;
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, 4096);
    before = cq_mono_ns();
    status = cq_conn_call(conn, &arena, &reply, err, 1, "TIME");
    after = cq_mono_ns();
    if (!status && reply->type == CQ_REPLY_ERROR)
        status = cq_conn_reply_failure(reply, err);
    else if (!status && (reply->type != CQ_REPLY_ARRAY || reply->count != 2))
        status = cq_fail(err, CRONQ_EPROTO, "TIME was not answered with two numbers");
    if (!status) {
        store_ns = cq_reply_int(&reply->elements[0], 0) * CQ_NS_PER_S +
                   cq_reply_int(&reply->elements[1], 0) * 1000;
        *out = (cq_clock_sample){ store_ns - (before + (after - before) / 2),
                                  (after - before) / 2 };
    }
    cq_arena_release(&arena);
    return status;
}

/* The better one is believed, unless the two contradict: then time has passed, and it is
 * the newer. */
static void believe(cq_redis *redis, cq_clock_sample sample)
{
    cq_clock_sample *known = &redis->clock;
    int64_t apart;

    pthread_mutex_lock(&redis->lock);
    apart = llabs(sample.offset_ns - known->offset_ns);
    if (known->error_ns == 0 || sample.error_ns <= known->error_ns ||
        apart > sample.error_ns) {
        *known = sample;
        atomic_store(&redis->offset_ns, sample.offset_ns);
    }
    pthread_mutex_unlock(&redis->lock);
}

static cronq_status sync_clock(cq_broker *broker, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cq_clock_sample sample;
    cronq_status status;
    cq_pool *pool;
    cq_conn *conn;

    status = cq_redis_pool_of(redis, CQ_STR(CQ_KEY_QUEUES), &pool, err);
    if (!status)
        status = cq_pool_take(pool, &conn, err);
    if (status)
        return status;
    for (int i = 0; i < CLOCK_SAMPLES && !status; i++) {
        status = sample_clock(conn, &sample, err);
        if (!status)
            believe(redis, sample);
    }
    cq_pool_give(pool, conn);
    return status;
}

/* The first who asks for the time connects: by this machine's clock, should it be wrong,
 * other workers' leases would be over and delayed tasks due. */
static void ask_for_time(cq_redis *redis)
{
    cq_pool *pool;
    cq_conn *conn;

    if (cq_redis_pool_of(redis, CQ_STR(CQ_KEY_QUEUES), &pool, NULL) ||
        cq_pool_take(pool, &conn, NULL))
        return;
    cq_pool_give(pool, conn);
}

static int64_t now_ns(cq_broker *broker)
{
    if (!atomic_load(&cq_redis_of(broker)->asked_for_time))
        ask_for_time(cq_redis_of(broker));
    return cq_mono_ns() + atomic_load(&cq_redis_of(broker)->offset_ns);
}

/* ---- what it does when it is full ---- */

/* Once a broker. A store that evicts throws accepted tasks away; one that does not say
 * what it does (INFO may be forbidden) gets no warning. */
static cronq_status warn_of_eviction(cq_redis *redis, cq_conn *conn, cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;
    cq_str policy;

    if (atomic_exchange(&redis->asked_for_eviction, true))
        return CRONQ_OK;
    cq_arena_init(&arena, INFO_LIMIT_BYTES);
    status = cq_conn_call(conn, &arena, &reply, err, 2, "INFO", "memory");
    if (status)
        atomic_store(&redis->asked_for_eviction, false);
    if (!status && reply->type == CQ_REPLY_STRING) {
        policy = cq_redis_info_value(reply->text, "maxmemory_policy");
        if (policy.len && !cq_str_eq(policy, CQ_STR("noeviction")))
            CQ_WARN(&redis->logger,
                    "the store's maxmemory-policy is %.*s: when it is full it deletes "
                    "tasks, their locks or leases; set it to noeviction",
                    CQ_FMT(policy));
    }
    cq_arena_release(&arena);
    return status;
}

/* A store that does not tell the time is served by this machine's. */
static cronq_status prepare(cq_conn *conn, void *arg, cronq_error *err)
{
    cq_redis *redis = arg;
    cq_clock_sample sample;
    cronq_error why = { 0 };
    cronq_status status;

    atomic_fetch_add(&redis->connection, 1);
    atomic_fetch_add(&redis->broker.opened_count, 1);
    status = sample_clock(conn, &sample, &why);
    if (status && cq_conn_broken(conn))
        return cq_fail(err, status, "%s", why.text);
    if (!status)
        believe(redis, sample);
    else
        CQ_DEBUG(&redis->logger, "the store does not tell the time: %s", why.text);
    atomic_store(&redis->asked_for_time, true);
    return warn_of_eviction(redis, conn, err);
}

/* ---- opening ---- */

static cronq_status ping(cq_broker *broker, cronq_error *err)
{
    const cq_str word = CQ_STR("PING");
    cronq_status status;
    cq_reply *reply;
    cq_arena arena;

    cq_arena_init(&arena, 4096);
    status = cq_redis_command(cq_redis_of(broker), &word, 1, &arena, &reply, err);
    cq_arena_release(&arena);
    return status;
}

static void redis_free(cq_broker *broker)
{
    cq_redis *redis = cq_redis_of(broker);

    cq_pool_free(redis->pool);
    cq_cluster_free(redis->cluster);
    pthread_mutex_destroy(&redis->lock);
    free(redis->bodies);
    free(redis);
}

static const cq_broker_ops ops = {
    .name = "redis",
    .free = redis_free,
    .ping = ping,
    .sync_clock = sync_clock,
    .now_ns = now_ns,
    .push = cq_redis_push,
    .intake_open = cq_redis_intake_open,
    .intake_close = cq_redis_intake_close,
    .exchange_send = cq_redis_exchange_send,
    .exchange_recv = cq_redis_exchange_recv,
    .wait = cq_redis_wait,
    .wake = cq_redis_wake,
    .listen = cq_redis_listen,
    .find_leased = cq_redis_find_leased,
    .forward = cq_redis_forward_due,
    .extend = cq_redis_extend,
    .mark_started = cq_redis_mark_started,
    .count_deaths = cq_redis_count_deaths,
    .write_result = cq_redis_write_result,
    .list_expired = cq_redis_list_expired,
    .recover = cq_redis_recover,
    .list_unleased = cq_redis_list_unleased,
    .adopt = cq_redis_adopt,
    .repair_groups = cq_redis_repair_groups,
    .purge = cq_redis_purge,
    .due_groups = cq_redis_due_groups,
    .take_group = cq_redis_take_group,
    .read_set = cq_redis_read_set,
    .extend_set = cq_redis_extend_set,
    .finish_set = cq_redis_finish_set,
    .reclaim_sets = cq_redis_reclaim_sets,
    .beat = cq_redis_beat,
    .beat_clear = cq_redis_beat_clear,
    .write_entries = cq_redis_write_entries,
    .clear_entries = cq_redis_clear_entries,
    .record_event = cq_redis_record_event,
    .every_phase = cq_redis_every_phase,
};

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

static cronq_status connect_pool(cq_redis *redis, const cq_broker_options *options,
                                 cronq_error *err)
{
    cq_endpoint endpoint;
    cronq_status status;

    status = cq_endpoint_init(&endpoint, options->uri, options->store, err);
    if (status)
        return status;
    redis->wait_replica_count = endpoint.wait_replica_count;
    redis->wait_timeout_ms = endpoint.wait_timeout_ms;
    redis->max_redirects = endpoint.max_redirects;
    redis->broker.max_pushes = endpoint.pool_size > 1 ? 2 : 1;
    redis->patience_ms =
        endpoint.read_timeout_ms < 0 ? LONGEST_PATIENCE_MS : endpoint.read_timeout_ms;
    if (endpoint.tls && !cq_tls_verifies(endpoint.tls))
        CQ_WARN(&redis->logger,
                "TLS: insecure_skip_verify is set: anybody may pose as the "
                "store and read the password");
    if (endpoint.topology == CQ_TOPOLOGY_CLUSTER)
        status = cq_cluster_new(&endpoint, &redis->logger, prepare, redis,
                                &redis->cluster, err);
    else
        status =
            cq_pool_new(&endpoint, &redis->logger, prepare, redis, &redis->pool, err);
    cq_endpoint_release(&endpoint);
    return status;
}

cronq_status cq_redis_open(const cq_broker_options *options, cq_broker **out,
                           cronq_error *err)
{
    cq_redis *redis = calloc(1, sizeof *redis);
    cronq_status status;

    if (!redis)
        return cq_fail_nomem(err);
    redis->broker = (cq_broker){ .ops = &ops, .inspect = &cq_redis_inspect_ops };
    redis->logger = options->logger;
    redis->lease_ms = or_default(options->lease_ms, 30000);
    redis->check_ms = or_default(options->task_check_interval_ms, 1000);
    redis->recover_after_ms = or_default(options->recover_after_ms, 2000);
    redis->recover_foreign_after_ms =
        or_default(options->recover_foreign_after_ms, 30000);
    redis->as_before_7 = options->as_before_7;
    redis->no_tracking = options->no_tracking;
    atomic_init(&redis->offset_ns, cq_wall_ns() - cq_mono_ns());
    pthread_mutex_init(&redis->lock, NULL);
    status = cq_broker_limits(&redis->broker, options, err);
    if (!status)
        status = make_scripts(redis, err);
    if (!status)
        status = connect_pool(redis, options, err);
    if (status) {
        redis_free(&redis->broker);
        return status;
    }
    *out = &redis->broker;
    return CRONQ_OK;
}
