/* SPDX-License-Identifier: MIT */
/* broker/redis/diagnose.c - what about a Redis is not as queues need it: `cronq doctor`.
 *
 * Each look is on its own: what the user may not ask is said, and the rest goes on. In a
 * cluster each node that has slots is looked at, and named. */
#include "broker/redis/redis.h"

#include "base/clock.h"
#include "base/error.h"
#include "codec/key.h"

#include <stdio.h>
#include <stdlib.h>

#define SKEW_LIMIT_MS 2000
#define PROBE         "asynq:{cronq-doctor}:x"
#define CHANNEL       "__redis__:invalidate"
#define NODES_LIMIT   1000
#define NAME_BYTES    100
#define TEXT_BYTES    500
#define LATEST_OLD    70000

typedef struct doctor {
    cq_redis *redis;
    cq_pool *pool;
    cq_conn *conn;
    cq_arena arena;
    cq_advice_fn *advise;
    void *arg;
} doctor;

static void CRONQ_PRINTF(3, 4)
    advise(doctor *d, const char *kind, const char *format, ...)
{
    char text[TEXT_BYTES] = "";
    size_t len = 0;
    va_list args;

    if (d->redis->cluster)
        len = (size_t)snprintf(text, NAME_BYTES, "at %s: ", cq_conn_address(d->conn));
    if (len >= NAME_BYTES)
        len = NAME_BYTES - 1;
    va_start(args, format);
    vsnprintf(text + len, sizeof text - len, format, args);
    va_end(args);
    d->advise(kind, text, d->arg);
}

cq_str cq_redis_info_value(cq_str info, const char *name)
{
    const char *at = info.data;
    size_t len = strlen(name);

    while (at && *at) {
        if (strncmp(at, name, len) == 0 && at[len] == ':')
            return (cq_str){ at + len + 1, strcspn(at + len + 1, "\r\n") };
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    return (cq_str){ "", 0 };
}

static void look_at_version(doctor *d)
{
    uint32_t version = cq_conn_server_version(d->conn);

    if (version < LATEST_OLD)
        advise(
            d, "version",
            "the server is version %u.%u (or does not tell): 7.0 and later name what a "
            "user may not do, and drain a full store without a trick",
            version / 10000, version / 100 % 100);
}

static void look_at_clock(doctor *d)
{
    int64_t store_ns = d->redis->broker.ops->now_ns(&d->redis->broker);
    int64_t skew_ms = (store_ns - cq_wall_ns()) / CQ_NS_PER_MS;

    if (llabs(skew_ms) > SKEW_LIMIT_MS)
        advise(d, "clock",
               "the store's clock is %lld ms %s this machine's: cron runs by this one, "
               "leases and due times by the store's",
               llabs(skew_ms), skew_ms > 0 ? "ahead of" : "behind");
}

static cronq_status info(doctor *d, const char *section, cq_str *out, cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;

    status = cq_conn_call(d->conn, &d->arena, &reply, err, 2, "INFO", section);
    if (status)
        return status;
    *out = reply->type == CQ_REPLY_STRING ? reply->text : (cq_str){ "", 0 };
    if (reply->type == CQ_REPLY_ERROR)
        advise(d, "permission", "INFO %s is refused, so that is not looked at: %.*s",
               section, CQ_FMT(reply->text));
    return CRONQ_OK;
}

static cronq_status look_at_memory(doctor *d, cronq_error *err)
{
    cronq_status status;
    cq_str text, policy;

    status = info(d, "memory", &text, err);
    policy = status ? (cq_str){ "", 0 } : cq_redis_info_value(text, "maxmemory_policy");
    if (policy.len && !cq_str_eq(policy, CQ_STR("noeviction")))
        advise(d, "eviction",
               "maxmemory-policy is %.*s: when memory is short tasks are deleted; set "
               "noeviction",
               CQ_FMT(policy));
    return status;
}

static cronq_status look_at_persistence(doctor *d, cronq_error *err)
{
    cronq_status status;
    cq_str text;

    status = info(d, "persistence", &text, err);
    if (status || !text.len)
        return status;
    if (cq_str_eq(cq_redis_info_value(text, "aof_enabled"), CQ_STR("0")))
        advise(d, "persistence",
               "appendonly is no: what was accepted since the last snapshot, if any is "
               "made, is lost with the server");
    if (cq_str_eq(cq_redis_info_value(text, "aof_last_write_status"), CQ_STR("err")) ||
        cq_str_eq(cq_redis_info_value(text, "rdb_last_bgsave_status"), CQ_STR("err")))
        advise(d, "persistence", "the last write to the server's disk has failed");
    return CRONQ_OK;
}

/* ---- permissions ---- */

/* A command of a worker with keys as it has them, each ended by "|". */
static const char *const needed =
    "sadd " CQ_KEY_QUEUES " x|zadd " CQ_KEY_SERVERS " 1 x|zrem " CQ_KEY_WORKERS " x|"
    "zadd " CQ_KEY_SCHEDULERS " 1 x|get " PROBE "|getex " PROBE "|set " PROBE
    " x|setex " PROBE " 1 x|del " PROBE "|unlink " PROBE "|exists " PROBE "|expire " PROBE
    " 1|expireat " PROBE " 1|incrby " PROBE " 1|hget " PROBE " x|hset " PROBE
    " x x|hdel " PROBE " x|hmget " PROBE " x|hexists " PROBE " x|llen " PROBE
    "|lpush " PROBE " x|rpush " PROBE " x|rpop " PROBE "|lpop " PROBE "|ltrim " PROBE
    " 0 1|hincrby " PROBE " x 1|srandmember " PROBE "|lrem " PROBE " 1 x|lpos " PROBE
    " x|lindex " PROBE " 0|lrange " PROBE " 0 1|zcard " PROBE "|zscore " PROBE
    " x|zmscore " PROBE " x|zrange " PROBE " 0 1|zrangebyscore " PROBE
    " 0 1|zremrangebyrank " PROBE " 0 1|zunionstore " PROBE " 1 " PROBE "|zpopmin " PROBE
    "|scard " PROBE "|srem " PROBE " x|sscan " PROBE " 0|time|evalsha x 0|script load x|"
    "client id|client tracking on|subscribe " CHANNEL "|subscribe " CQ_CHANNEL_CANCEL "|";

/* Redis 7 can be asked what the user may do; nothing is done. */
static const char probe[] =
    "local out = {}\n"
    "for line in string.gmatch(ARGV[1], '([^|]+)|') do\n"
    "  local words = {}\n"
    "  for word in string.gmatch(line, '%S+') do words[#words + 1] = word end\n"
    "  local ok, allowed = pcall(redis.acl_check_cmd, unpack(words))\n"
    "  if ok and not allowed then out[#out + 1] = line end\n"
    "end\n"
    "return out\n";

static cronq_status look_at_permissions(doctor *d, cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;

    if (cq_conn_server_version(d->conn) < LATEST_OLD)
        return CRONQ_OK;
    status = cq_conn_call(d->conn, &d->arena, &reply, err, 4, "EVAL", probe, "0", needed);
    if (status)
        return status;
    if (reply->type == CQ_REPLY_ERROR)
        advise(d, "permission", "scripts can not be run: %.*s", CQ_FMT(reply->text));
    for (size_t i = 0; reply->type == CQ_REPLY_ARRAY && i < reply->count; i++)
        advise(d, "permission", "a worker with this user could not \"%.*s\"",
               CQ_FMT(reply->elements[i].text));
    return CRONQ_OK;
}

/* ---- being woken ---- */

/* What a worker does to hear of new tasks, on two connections of ours. */
static cronq_status try_tracking(doctor *d, cq_conn *listener, cq_str *refusal,
                                 cronq_error *err)
{
    cronq_status status;
    cq_reply *id, *reply;
    char text[24];

    status = cq_conn_call(listener, &d->arena, &id, err, 2, "CLIENT", "ID");
    if (!status)
        status = cq_conn_call(listener, &d->arena, &reply, err, 2, "SUBSCRIBE", CHANNEL);
    if (status)
        return status;
    *refusal = id->type == CQ_REPLY_ERROR ? id->text : reply->text;
    if (id->type == CQ_REPLY_ERROR || reply->type == CQ_REPLY_ERROR)
        return CRONQ_OK;
    snprintf(text, sizeof text, "%lld", (long long)cq_reply_int(id, 0));
    status = cq_conn_call(d->conn, &d->arena, &reply, err, 5, "CLIENT", "TRACKING", "ON",
                          "REDIRECT", text);
    *refusal = !status && reply->type == CQ_REPLY_ERROR ? reply->text : (cq_str){ "", 0 };
    return status;
}

static cronq_status look_at_wake_ups(doctor *d, cronq_error *err)
{
    cq_str refusal = { "", 0 };
    cronq_status status;
    cq_conn *listener;

    status = cq_pool_dial(d->pool, &listener, err);
    if (status)
        return status;
    status = try_tracking(d, listener, &refusal, err);
    if (!status && refusal.len)
        advise(d, "wake-ups",
               "workers are not told of new tasks, and look now and then: %.*s",
               CQ_FMT(refusal));
    cq_conn_free(listener);
    return status;
}

static cronq_status look(doctor *d, cronq_error *err)
{
    cronq_status status;

    look_at_version(d);
    look_at_clock(d);
    status = look_at_memory(d, err);
    if (!status)
        status = look_at_persistence(d, err);
    if (!status)
        status = look_at_permissions(d, err);
    if (!status)
        status = look_at_wake_ups(d, err);
    return status;
}

static cronq_status diagnose(doctor *d, cq_pool *pool, cronq_error *err)
{
    cronq_status status;

    d->pool = pool;
    status = cq_pool_dial(pool, &d->conn, err);
    if (status)
        return status;
    cq_arena_init(&d->arena, CQ_REDIS_ARENA_BYTES);
    status = look(d, err);
    cq_arena_release(&d->arena);
    cq_conn_free(d->conn);
    return status;
}

cronq_status cq_redis_diagnose(cq_broker *broker, cq_advice_fn *advise_fn, void *arg,
                               cronq_error *err)
{
    doctor d = { .redis = cq_redis_of(broker), .advise = advise_fn, .arg = arg };
    cq_pool *pools[NODES_LIMIT] = { d.redis->pool };
    cronq_status status = CRONQ_OK;
    size_t count = 1;

    if (d.redis->cluster)
        status = cq_cluster_pools(d.redis->cluster, NODES_LIMIT, pools, &count, err);
    for (size_t i = 0; i < count && !status; i++)
        status = diagnose(&d, pools[i], err);
    return status;
}
