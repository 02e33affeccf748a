/* SPDX-License-Identifier: MIT */
/* reader.c - bytes in, replies out: hiredis' reader with objects in an arena.
 *
 * hiredis bounds nothing but depth. A string is buffered whole before its object is made,
 * so its announced length is looked at here while it is incomplete; arrays grow in steps,
 * each paid for by elements that did arrive. */
#include "net/reader.h"

#include "base/error.h"

#include <hiredis/hiredis.h>

#define FIRST_ELEMENTS   1024
#define KEPT_BYTES       ((size_t)256 << 10) /* an emptied buffer above this is freed */
#define LENGTH_LINE_SIZE 32

#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

static const redisReadTask *current_task(const redisReader *redis)
{
#if HIREDIS_MAJOR >= 1
    return redis->task[redis->ridx];
#else
    return &redis->rstack[redis->ridx];
#endif
}

/* Room for what was announced, but not for more than arrived by a factor of 2: the array
 * grows when its next element does not fit, at 1024, 2048, … */
static cq_reply *array_room(cq_arena *arena, cq_reply *array, size_t index)
{
    size_t room = index ? index * 2 : FIRST_ELEMENTS;
    cq_reply *elements;

    if (room > array->count)
        room = array->count;
    elements = cq_arena_alloc(arena, room * sizeof *elements);
    if (elements && index)
        memcpy(elements, array->elements, index * sizeof *elements);
    return elements;
}

static cq_reader *reader_of(const redisReadTask *task)
{
    return task->privdata;
}

/* Where the object of this task goes: its parent's next element, or a new root. */
static cq_reply *place(const redisReadTask *task)
{
    cq_arena *arena = reader_of(task)->arena;
    size_t index = (size_t)task->idx;
    cq_reply *array, *grown;

    if (!task->parent)
        return cq_arena_alloc(arena, sizeof *array);
    array = task->parent->obj;
    if (index == 0 || (index >= FIRST_ELEMENTS && (index & (index - 1)) == 0)) {
        grown = array_room(arena, array, index);
        if (!grown)
            return NULL;
        array->elements = grown;
    }
    return &array->elements[index];
}

static void *make(const redisReadTask *task, cq_reply value)
{
    cq_reply *reply = place(task);

    if (!reply) {
        reader_of(task)->failure = CRONQ_ENOMEM;
        return NULL;
    }
    *reply = value;
    return reply;
}

static void *refuse(const redisReadTask *task)
{
    reader_of(task)->failure = CRONQ_EPROTO;
    return NULL;
}

static void *make_string(const redisReadTask *task, char *data, size_t len)
{
    cq_reader *reader = reader_of(task);
    cq_reply value = { .type = CQ_REPLY_STRING };

    if (task->type == REDIS_REPLY_STATUS)
        value.type = CQ_REPLY_STATUS;
    else if (task->type == REDIS_REPLY_ERROR)
        value.type = CQ_REPLY_ERROR;
    else if (task->type != REDIS_REPLY_STRING)
        return refuse(task);
    if (len > CQ_REPLY_BYTES_LIMIT)
        return refuse(task);
    value.text = (cq_str){ cq_arena_dup(reader->arena, data, len), len };
    if (!value.text.data) {
        reader->failure = CRONQ_ENOMEM;
        return NULL;
    }
    return make(task, value);
}

static void *make_array(const redisReadTask *task, element_count count)
{
    int depth = 0;

    for (const redisReadTask *up = task->parent; up; up = up->parent)
        depth++;
    if (task->type != REDIS_REPLY_ARRAY || depth > CQ_REPLY_DEPTH_LIMIT ||
        count > CQ_REPLY_ELEMENTS_LIMIT)
        return refuse(task);
    return make(task, (cq_reply){ .type = CQ_REPLY_ARRAY, .count = (size_t)count });
}

static void *make_integer(const redisReadTask *task, long long value)
{
    return make(task, (cq_reply){ .type = CQ_REPLY_INTEGER, .integer = value });
}

static void *make_nil(const redisReadTask *task)
{
    return make(task, (cq_reply){ .type = CQ_REPLY_NIL });
}

#if HIREDIS_MAJOR >= 1 /* which knows RESP3; nobody switched to it */
static void *refuse_double(const redisReadTask *task, double value, char *text,
                           size_t len)
{
    (void)value, (void)text, (void)len;
    return refuse(task);
}

static void *refuse_bool(const redisReadTask *task, int value)
{
    (void)value;
    return refuse(task);
}
#endif

static redisReplyObjectFunctions object_functions = {
    .createString = make_string,
    .createArray = make_array,
    .createInteger = make_integer,
    .createNil = make_nil,
#if HIREDIS_MAJOR >= 1
    .createDouble = refuse_double,
    .createBool = refuse_bool,
#endif
};

cronq_status cq_reader_init(cq_reader *reader, cronq_error *err)
{
    redisReader *redis = redisReaderCreateWithFunctions(&object_functions);

    if (!redis)
        return cq_fail_nomem(err);
    redis->maxbuf = KEPT_BYTES;
    *reader = (cq_reader){ .redis = redis };
    return CRONQ_OK;
}

void cq_reader_release(cq_reader *reader)
{
    if (reader->redis)
        redisReaderFree(reader->redis);
    *reader = (cq_reader){ .redis = NULL };
}

static cronq_status fail_too_large(cronq_error *err)
{
    return cq_fail(err, CRONQ_EPROTO,
                   "the server's reply is not RESP2 or above the limits: %d elements an "
                   "array, %zu bytes a string, %zu bytes a line",
                   CQ_REPLY_ELEMENTS_LIMIT, CQ_REPLY_BYTES_LIMIT, CQ_REPLY_LINE_LIMIT);
}

static cronq_status reader_failure(const cq_reader *reader, cronq_error *err)
{
    if (reader->failure == CRONQ_EPROTO)
        return fail_too_large(err);
    if (reader->failure || reader->redis->err == REDIS_ERR_OOM)
        return cq_fail(err, CRONQ_ENOMEM,
                       "the server's reply does not fit in the memory given to it");
    return cq_fail(err, CRONQ_EPROTO, "the server's reply is not RESP: %s",
                   reader->redis->errstr);
}

cronq_status cq_reader_feed(cq_reader *reader, const void *data, size_t len,
                            cronq_error *err)
{
    if (redisReaderFeed(reader->redis, data, len) != REDIS_OK)
        return reader_failure(reader, err);
    return CRONQ_OK;
}

/* Is the string that is awaited announced with more bytes than allowed? */
static bool string_too_large(const char *text, size_t len)
{
    size_t announced = 0;

    for (size_t i = 0; i < len && i < LENGTH_LINE_SIZE; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false; /* its end, or what hiredis will refuse */
        announced = announced * 10 + (size_t)(text[i] - '0');
        if (announced > CQ_REPLY_BYTES_LIMIT)
            return true;
    }
    return len > LENGTH_LINE_SIZE;
}

/* hiredis waits for more bytes: is what it waits for within the limits? */
static cronq_status check_awaited(const cq_reader *reader, cronq_error *err)
{
    const redisReader *redis = reader->redis;
    size_t len = redis->len - redis->pos;

    if (redis->ridx < 0 || len == 0)
        return CRONQ_OK;
    if (current_task(redis)->type == REDIS_REPLY_STRING) {
        if (string_too_large(redis->buf + redis->pos, len))
            return fail_too_large(err);
        return CRONQ_OK;
    }
    return len > CQ_REPLY_LINE_LIMIT ? fail_too_large(err) : CRONQ_OK;
}

cronq_status cq_reader_next(cq_reader *reader, cq_arena *arena, cq_reply **out,
                            cronq_error *err)
{
    redisReader *redis = reader->redis;
    cronq_status status;
    void *reply = NULL;

    reader->arena = arena;
    redis->privdata = reader;
    if (redisReaderGetReply(redis, &reply) != REDIS_OK)
        return reader_failure(reader, err);
    if (!reply) {
        status = check_awaited(reader, err);
        if (status)
            return status;
    }
    *out = reply;
    return CRONQ_OK;
}

bool cq_reader_amid(const cq_reader *reader)
{
    const redisReader *redis = reader->redis;

    return redis->len > redis->pos || redis->ridx > 0 ||
           (redis->ridx == 0 && current_task(redis)->type >= 0);
}
