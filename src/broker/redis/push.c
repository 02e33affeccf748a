/* SPDX-License-Identifier: MIT */
/* broker/redis/push.c - pushing tasks: one script call a queue, all queues in one write.
 *
 * A push whose answer was lost is sent again by the caller with `again`; what is stored
 * then is ours when it is its echo (cq_message_is_echo).
 *
 * A push that too few replicas have comes again too, and by then its task may have been
 * done and deleted: as long as its server is the same, another write takes its place. */
#include "broker/redis/redis.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "codec/key.h"
#include "codec/message.h"

#define ROUND_BYTES     ((size_t)8 << 20) /* sent before anything is read */
#define ROUND_ITEMS     CQ_BATCH_LIMIT
#define SEEN_TRUSTED_NS (600 * CQ_NS_PER_S)
#define NO_ITEM         UINT32_MAX

typedef struct push_round {
    cq_push *items;
    size_t count;
    int64_t now_ns;
    cq_call *calls; /* one a queue: first and count of its items */
    size_t call_count;
    uint32_t *next;       /* the next item of the same queue */
    uint32_t *last;       /* of each call */
    cronq_status *before; /* of each item */
} push_round;

/* ---- asynq:queues ---- */

static uint64_t hash_name(cq_str name)
{
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (uint8_t)name.data[i]) * 1099511628211u;
    return hash;
}

static bool is_seen(cq_redis *redis, uint64_t hash)
{
    cq_redis_seen *seen = &redis->seen[hash % CQ_REDIS_SEEN];
    bool known;

    pthread_mutex_lock(&redis->lock);
    known = seen->name_hash == hash && seen->connection == redis->connection &&
            cq_mono_ns() - seen->at_mono_ns < SEEN_TRUSTED_NS;
    pthread_mutex_unlock(&redis->lock);
    return known;
}

static void set_seen(cq_redis *redis, cq_str queue)
{
    uint64_t hash = hash_name(queue);

    pthread_mutex_lock(&redis->lock);
    redis->seen[hash % CQ_REDIS_SEEN] =
        (cq_redis_seen){ hash, cq_mono_ns(), redis->connection };
    pthread_mutex_unlock(&redis->lock);
}

/* Someone may have removed a queue meanwhile: its name is written anew on each new
 * connection and from time to time. That it can not be written is the push's to report.
 */
static cronq_status announce(cq_redis *redis, const push_round *round, cq_arena *arena,
                             cronq_error *err)
{
    cq_str *words = cq_arena_calloc(arena, round->call_count + 2, sizeof *words);
    size_t count = 2;
    cronq_error why = { .code = CRONQ_OK };
    cronq_status status;
    cq_reply *reply;

    if (!words)
        return cq_fail_nomem(err);
    words[0] = CQ_STR("SADD");
    words[1] = CQ_STR(CQ_KEY_QUEUES);
    for (size_t i = 0; i < round->call_count; i++) {
        cq_str queue = round->items[round->calls[i].first].queue;

        if (!is_seen(redis, hash_name(queue)))
            words[count++] = queue;
    }
    if (count == 2)
        return CRONQ_OK;
    status = cq_redis_command(redis, words, count, arena, &reply, &why);
    for (size_t i = 2; !status && i < count; i++)
        set_seen(redis, words[i]);
    /* An error reply is left to the push. */
    return status == CRONQ_EIO ? cq_fail(err, status, "%s", why.text) : CRONQ_OK;
}

/* ---- encoding ---- */

static bool has_tick(const cq_push *item)
{
    return item->tick_entry.len > 0;
}

static bool has_group(const cq_push *item)
{
    return item->kind == CQ_PUSH_GROUP ||
           (item->kind == CQ_PUSH_LATER && item->group.len > 0);
}

static int64_t item_code(const cq_push *item)
{
    int64_t code = item->kind == CQ_PUSH_NOW ? 0 : item->kind == CQ_PUSH_LATER ? 1 : 2;

    if (has_group(item))
        code += 4;
    if (item->unique_key.len)
        code += 8;
    if (has_tick(item))
        code += 16;
    if (has_tick(item) && item->skip_overlap)
        code += 32;
    if (item->again)
        code += 64;
    return code;
}

/* Beside the id and the message. */
static size_t item_arguments(const cq_push *item)
{
    return 1u + (item->kind == CQ_PUSH_LATER) + has_group(item) +
           (item->unique_key.len ? 2u : 0u) + has_tick(item) +
           (has_tick(item) && item->skip_overlap);
}

/* The tick's names are short: entries' ids are. They are built in place. */
static void append_tick(cq_conn *conn, cq_str prefix, const cq_push *item)
{
    cq_buf name;

    cq_buf_init(&name, prefix.len + item->tick_entry.len + 64);
    cq_buf_append_str(&name, prefix);
    cq_buf_append_text(&name, "cronq:tick:");
    cq_buf_append_str(&name, item->tick_entry);
    cq_buf_append_char(&name, ':');
    cq_buf_append_int(&name, item->tick_at_s);
    cq_conn_arg_str(conn, cq_buf_str(&name));
    if (item->skip_overlap) {
        cq_buf_reset(&name);
        cq_buf_append_str(&name, prefix);
        cq_buf_append_text(&name, "cronq:last:");
        cq_buf_append_str(&name, item->tick_entry);
        cq_conn_arg_str(conn, cq_buf_str(&name));
    }
    cq_buf_release(&name);
}

static void append_code(cq_conn *conn, cq_str prefix, const cq_push *item)
{
    cq_conn_arg_int(conn, item_code(item));
    if (item->kind == CQ_PUSH_LATER)
        cq_conn_arg_int(conn, item->run_at_ms / CQ_MS_PER_S);
    if (has_group(item))
        cq_conn_arg_str(conn, item->group);
    if (item->unique_key.len) {
        cq_conn_arg_str(conn, item->unique_key);
        cq_conn_arg_int(conn, item->unique_ttl_s);
    }
    if (has_tick(item))
        append_tick(conn, prefix, item);
}

static void encode_push(cq_conn *conn, const cq_script *script, const cq_call *call)
{
    const push_round *round = call->arg;
    size_t codes = 0;
    bool plain = true;

    for (size_t i = call->first; i != NO_ITEM; i = round->next[i]) {
        plain = plain && item_code(&round->items[i]) == 0;
        codes += item_arguments(&round->items[i]);
    }
    cq_script_call(conn, script, 1, 3 + 2 * call->count + (plain ? 0 : codes));
    cq_conn_arg_str(conn, call->prefix);
    cq_conn_arg_int(conn, round->now_ns);
    cq_conn_arg_int(conn, cq_ns_to_s(round->now_ns));
    cq_conn_arg_int(conn, plain);
    for (size_t i = call->first; i != NO_ITEM; i = round->next[i]) {
        const cq_push *item = &round->items[i];

        cq_conn_arg_str(conn, item->id);
        cq_conn_arg(conn, item->message.data, item->message.len);
        if (!plain)
            append_code(conn, call->prefix, item);
    }
}

/* WAIT is for the last write of its connection, and so for all that came before it. */
static void encode_confirmation(cq_conn *conn, const cq_script *script,
                                const cq_call *call)
{
    (void)script;
    cq_conn_command(conn, 5);
    cq_conn_arg_text(conn, "SET");
    cq_conn_arg_str(conn, call->prefix);
    cq_conn_arg_text(conn, "");
    cq_conn_arg_text(conn, "PX");
    cq_conn_arg_text(conn, "1");
}

static bool is_confirmation(const cq_call *call)
{
    return call->encode == encode_confirmation;
}

/* ---- a round: as many items as go out before anything is read ---- */

/* The call of the item's queue, made if it is the queue's first item of its kind. */
static cq_call *call_of(push_round *round, const cq_push *item, cq_arena *arena)
{
    bool stored = item->stored_epoch != 0;
    cq_call *call;

    for (size_t i = round->call_count; i-- > 0;) {
        call = &round->calls[i];
        if (cq_str_eq(round->items[call->first].queue, item->queue) &&
            is_confirmation(call) == stored)
            return call;
    }
    call = &round->calls[round->call_count];
    *call = (cq_call){ .lua = CQ_LUA_push,
                       .encode = stored ? encode_confirmation : encode_push,
                       .arg = round };
    call->prefix = cq_redis_prefix(arena, item->queue);
    if (stored)
        call->prefix =
            cq_redis_key(arena, call->prefix, "cronq:confirm", (cq_str){ NULL, 0 });
    if (!call->prefix.data)
        return NULL;
    round->call_count++;
    return call;
}

/* Room for as many items as there may be; what one push needs is small. */
static push_round *new_round(size_t count, cq_arena *arena)
{
    push_round *round = cq_arena_calloc(arena, 1, sizeof *round);

    if (!round)
        return NULL;
    count = count < ROUND_ITEMS ? count : ROUND_ITEMS;
    round->calls = cq_arena_alloc(arena, count * sizeof *round->calls);
    round->next = cq_arena_alloc(arena, count * sizeof *round->next);
    round->last = cq_arena_alloc(arena, count * sizeof *round->last);
    round->before = cq_arena_alloc(arena, count * sizeof *round->before);
    if (!round->calls || !round->next || !round->last || !round->before)
        return NULL;
    return round;
}

static cronq_status plan_round(push_round *round, cq_push *items, size_t count,
                               cq_arena *arena, cronq_error *err)
{
    size_t bytes = 0, i;

    round->items = items;
    round->count = round->call_count = 0;
    for (i = 0; i < count && i < ROUND_ITEMS; i++) {
        cq_call *call;

        bytes += items[i].message.len;
        if (i > 0 && bytes > ROUND_BYTES)
            break;
        call = call_of(round, &items[i], arena);
        if (!call)
            return cq_fail_nomem(err);
        round->before[i] = items[i].status;
        items[i].status = CRONQ_EIO; /* until there is an answer */
        round->next[i] = NO_ITEM;
        if (call->count++ == 0)
            call->first = i;
        else
            round->next[round->last[call - round->calls]] = (uint32_t)i;
        round->last[call - round->calls] = (uint32_t)i;
    }
    round->count = i;
    return CRONQ_OK;
}

/* ---- answers ---- */

static cronq_status judge(const cq_redis *redis, const cq_push *item, cq_str answer,
                          cq_arena *arena)
{
    switch (answer.len ? answer.data[0] : '\0') {
    case 'o':
        return CRONQ_OK;
    case 'd':
        return CRONQ_EDUP;
    case 's':
        return CRONQ_ESTATE;
    case 'f':
        return CRONQ_EFULL;
    case 'e':
        return item->id_is_ours ? CRONQ_OK : CRONQ_EEXIST;
    case 'm':
        if (item->id_is_ours ||
            cq_message_is_echo((cronq_bytes){ answer.data + 1, answer.len - 1 },
                               item->message, arena))
            return CRONQ_OK;
        return CRONQ_EEXIST;
    default:
        CQ_WARN(&redis->logger, "a push to queue \"%.*s\" failed: %.*s",
                CQ_FMT(item->queue), CQ_FMT(answer));
        return CRONQ_EPROTO;
    }
}

/* A store that takes no writes has not run the script, and may go on so for long: this is
 * for the caller to know, who is not kept waiting. */
static cronq_status refusal(const cq_reply *reply, cronq_error *err)
{
    cronq_status status = cq_conn_reply_failure(reply, err);

    if (!cq_reply_is_error(reply, "NOREPLICAS") && !cq_reply_is_error(reply, "MISCONF"))
        return status;
    return cq_fail(err, CRONQ_EREFUSED, "redis: %.*s", CQ_FMT(reply->text));
}

static bool all_stored(const cq_reply *reply)
{
    return reply->type == CQ_REPLY_STATUS && cq_str_eq(reply->text, CQ_STR("all"));
}

/* The statuses of one queue's items. OK when the store has answered for them. */
static cronq_status judge_call(const cq_redis *redis, push_round *round,
                               const cq_call *call, cq_arena *arena, cronq_error *err)
{
    const cq_reply *reply = call->reply;
    cronq_status status = CRONQ_OK;
    size_t n = 0;

    if (!reply)
        return CRONQ_EIO;
    if (reply->type == CQ_REPLY_ERROR && is_confirmation(call))
        status = cq_fail(err, CRONQ_EIO, "redis: %.*s", CQ_FMT(reply->text));
    else if (reply->type == CQ_REPLY_ERROR)
        status = refusal(reply, err);
    else if (!is_confirmation(call) && !all_stored(reply) &&
             (reply->type != CQ_REPLY_ARRAY || reply->count != call->count))
        status = cq_fail(err, CRONQ_EPROTO, "a push was answered for %zu of %zu items",
                         reply->type == CQ_REPLY_ARRAY ? reply->count : 0, call->count);
    for (size_t i = call->first; i != NO_ITEM; i = round->next[i], n++)
        round->items[i].status =
            status || is_confirmation(call) || all_stored(reply)
                ? status
                : judge(redis, &round->items[i], reply->elements[n].text, arena);
    return status == CRONQ_EFULL ? CRONQ_OK : status;
}

/* Stored, but with too few replicas, or as far as it was known on another server. */
static void doubt(cq_push *item, const cq_call *call)
{
    bool elsewhere = item->stored_epoch && item->stored_epoch != call->epoch;

    if (!elsewhere && !call->unconfirmed)
        return;
    item->status = CRONQ_EIO;
    item->stored_epoch = elsewhere ? 0 : call->epoch;
}

/* The items of a call that was not sent are as they came, and those that too few replicas
 * have are not accepted yet. */
static void correct(push_round *round, const cq_call *call)
{
    for (size_t i = call->first; i != NO_ITEM; i = round->next[i]) {
        cq_push *item = &round->items[i];

        if (!call->sent)
            item->status = round->before[i];
        else if (item->status == CRONQ_OK)
            doubt(item, call);
        else
            item->stored_epoch = 0;
    }
}

static cronq_status run_round(cq_redis *redis, push_round *round, cq_arena *arena,
                              cronq_error *err)
{
    cronq_status status = announce(redis, round, arena, err), one;

    if (!status)
        status =
            cq_redis_run(redis, round->calls, round->call_count, true, 0, arena, err);
    for (size_t i = 0; i < round->call_count; i++) {
        one = judge_call(redis, round, &round->calls[i], arena, status ? NULL : err);
        correct(round, &round->calls[i]);
        if (!status)
            status = one;
    }
    return status;
}

cronq_status cq_redis_push(cq_broker *broker, cq_push *items, size_t count,
                           int64_t now_ns, cronq_error *err)
{
    cq_redis *redis = cq_redis_of(broker);
    cronq_status status = CRONQ_OK;
    push_round *round;
    cq_arena arena;

    for (size_t i = 0; i < count; i++)
        items[i].run_at_ms = cq_seconds_up(items[i].run_at_ms) * CQ_MS_PER_S;
    cq_arena_init(&arena, CQ_REDIS_ARENA_BYTES);
    for (size_t at = 0; at < count && !status; at += round->count) {
        cq_arena_reset(&arena);
        round = new_round(count - at, &arena);
        if (!round) {
            status = cq_fail_nomem(err);
            break;
        }
        round->now_ns = now_ns;
        status = plan_round(round, items + at, count - at, &arena, err);
        if (!status)
            status = run_round(redis, round, &arena, err);
    }
    cq_arena_release(&arena);
    return status;
}
