/* SPDX-License-Identifier: MIT */
/* golden_keys.c - a whole keyspace, out of a store and into it. */
#include "support/golden_keys.h"

#include "base/utf8.h"
#include "support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- bytes ---- */

static int is_printable(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)data[i] < 0x20 || data[i] == 0x7f)
            return 0;
    return cq_utf8_valid(data, len);
}

json_t *golden_bytes(const char *data, size_t len, int always_hex)
{
    json_t *value;
    char *hex;

    if (!always_hex && is_printable(data, len))
        return json_stringn(data, len);
    hex = malloc(2 * len + 1);
    assert_non_null(hex);
    hex[0] = '\0';
    for (size_t i = 0; i < len; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)data[i]);
    value = json_pack("{s:s}", "hex", hex);
    free(hex);
    return value;
}

char *golden_bytes_of(const json_t *value, size_t *len)
{
    const char *hex = json_string_value(json_object_get(value, "hex"));
    char *copy;

    if (hex)
        return (char *)golden_unhex(hex, len);
    assert_true(json_is_string(value));
    *len = json_string_length(value);
    copy = malloc(*len + 1);
    assert_non_null(copy);
    memcpy(copy, json_string_value(value), *len + 1);
    return copy;
}

static json_t *element(const redisReply *reply, size_t i)
{
    return golden_bytes(reply->element[i]->str, reply->element[i]->len, 0);
}

/* ---- out of the store ---- */

static json_t *list_value(const redisReply *reply)
{
    json_t *list = json_array();

    for (size_t i = 0; i < reply->elements; i++)
        json_array_append_new(list, element(reply, i));
    return list;
}

static json_t *hash_value(const redisReply *reply)
{
    json_t *hash = json_object();

    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *field = reply->element[i], *value = reply->element[i + 1];

        json_object_set_new(
            hash, field->str,
            golden_bytes(value->str, value->len, strcmp(field->str, "msg") == 0));
    }
    return hash;
}

static json_t *zset_value(const redisReply *reply)
{
    json_t *zset = json_array();

    for (size_t i = 0; i + 1 < reply->elements; i += 2)
        json_array_append_new(
            zset, json_pack("[oo]", element(reply, i), element(reply, i + 1)));
    return zset;
}

static json_t *string_value(const redisReply *reply)
{
    return golden_bytes(reply->str, reply->len, 0);
}

static const struct kind {
    const char *type, *command;
    json_t *(*value)(const redisReply *reply);
} kinds[] = {
    { "string", "GET %s", string_value },
    { "list", "LRANGE %s 0 -1", list_value },
    { "hash", "HGETALL %s", hash_value },
    { "set", "SORT %s ALPHA", list_value },
    { "zset", "ZRANGE %s 0 -1 WITHSCORES", zset_value },
};

static json_t *dump_key(redis_server *server, const char *key)
{
    redisReply *type = redis_server_command(server, "TYPE %s", key), *reply;
    json_t *out = json_object();

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].type, type->str) != 0)
            continue;
        reply = redis_server_command(server, kinds[i].command, key);
        json_object_set_new(out, "type", json_string(type->str));
        json_object_set_new(out, "value", kinds[i].value(reply));
        freeReplyObject(reply);
    }
    freeReplyObject(type);
    json_object_set_new(out, "ttl",
                        json_integer(redis_server_int(server, "TTL %s", key)));
    json_object_set_new(out, "expireat",
                        json_integer(redis_server_int(server, "EXPIRETIME %s", key)));
    return out;
}

json_t *golden_keys_dump(redis_server *server)
{
    redisReply *keys = redis_server_command(server, "KEYS asynq:*");
    json_t *out = json_object();

    for (size_t i = 0; i < keys->elements; i++)
        json_object_set_new(out, keys->element[i]->str,
                            dump_key(server, keys->element[i]->str));
    freeReplyObject(keys);
    return out;
}

/* ---- into the store ---- */

static void load_zset(redis_server *server, const char *key, json_t *value,
                      golden_score_fn *adjust)
{
    json_t *pair;
    size_t i, len;

    json_array_foreach(value, i, pair)
    {
        char *member = golden_bytes_of(json_array_get(pair, 0), &len);
        double score = strtod(json_string_value(json_array_get(pair, 1)), NULL);
        char text[40];

        if (adjust && strlen(key) > 6 && strcmp(key + strlen(key) - 6, ":lease") == 0)
            score = adjust(key, member, score);
        snprintf(text, sizeof text, "%.17g", score);
        redis_server_do(server, "ZADD %s %s %b", key, text, member, len);
        free(member);
    }
}

static void load_members(redis_server *server, const char *format, const char *key,
                         json_t *value)
{
    json_t *item;
    size_t i, len;

    json_array_foreach(value, i, item)
    {
        char *member = golden_bytes_of(item, &len);

        redis_server_do(server, format, key, member, len);
        free(member);
    }
}

static void load_hash(redis_server *server, const char *key, json_t *value)
{
    const char *field;
    json_t *item;
    size_t len;

    json_object_foreach(value, field, item)
    {
        char *bytes = golden_bytes_of(item, &len);

        redis_server_do(server, "HSET %s %s %b", key, field, bytes, len);
        free(bytes);
    }
}

static void load_key(redis_server *server, const char *key, json_t *entry,
                     golden_score_fn *adjust)
{
    const char *type = json_string_value(json_object_get(entry, "type"));
    json_t *value = json_object_get(entry, "value");
    json_int_t ttl = json_integer_value(json_object_get(entry, "ttl"));
    json_int_t at = json_integer_value(json_object_get(entry, "expireat"));
    json_t *one;

    if (strcmp(type, "zset") == 0)
        load_zset(server, key, value, adjust);
    else if (strcmp(type, "list") == 0)
        load_members(server, "RPUSH %s %b", key, value);
    else if (strcmp(type, "set") == 0)
        load_members(server, "SADD %s %b", key, value);
    else if (strcmp(type, "hash") == 0)
        load_hash(server, key, value);
    else {
        one = json_pack("[O]", value);
        load_members(server, "SET %s %b", key, one);
        json_decref(one);
    }
    if (ttl > 0)
        redis_server_do(server, "EXPIRE %s %lld", key, (long long)ttl);
    if (at > 0)
        redis_server_do(server, "EXPIREAT %s %lld", key, (long long)at);
}

void golden_keys_load(redis_server *server, const json_t *keys, golden_score_fn *score)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)keys), *entry;
    const char *key;

    redis_server_do(server, "FLUSHALL");
    json_object_foreach(copy, key, entry) load_key(server, key, entry, score);
    json_decref(copy);
}
