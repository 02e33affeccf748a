/* SPDX-License-Identifier: MIT */
/* handshake.c - what a new connection says first: who, which database, which version.
 *
 * The version is asked by HELLO, which an ACL is more likely to allow than INFO; servers
 * before 6.0 do not know it, and tell by INFO that they are too old. */
#include "net/handshake.h"

#include "base/error.h"

#include <stdio.h>

#define ARENA_BYTES ((size_t)1 << 20)

uint32_t cq_version_parse(cq_str text)
{
    uint32_t parts[3] = { 0 };
    size_t at = 0;

    for (int i = 0; i < 3; i++) {
        size_t start = at;

        for (; at < text.len && text.data[at] >= '0' && text.data[at] <= '9'; at++)
            if (parts[i] < 10000)
                parts[i] = parts[i] * 10 + (uint32_t)(text.data[at] - '0');
        if (at == start)
            return 0;
        if (at == text.len || text.data[at] != '.')
            break;
        at++;
    }
    if (parts[0] > 9999 || parts[1] > 99 || parts[2] > 99)
        return parts[0] > 9999 ? 0 : parts[0] * 10000 + 9999;
    return parts[0] * 10000 + parts[1] * 100 + parts[2];
}

static void append_auth(cq_conn *conn, const cq_endpoint *endpoint, const char *password)
{
    cq_conn_command(conn, endpoint->username ? 3 : 2);
    cq_conn_arg_text(conn, "AUTH");
    if (endpoint->username)
        cq_conn_arg_text(conn, endpoint->username);
    cq_conn_arg_text(conn, password ? password : "");
}

/* The reply must be OK; an error reply to AUTH of any kind is EAUTH. */
static cronq_status expect_ok(cq_conn *conn, cq_arena *arena, cronq_status failure,
                              const char *what, cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;

    status = cq_conn_read(conn, arena, &reply, err);
    if (status || reply->type != CQ_REPLY_ERROR)
        return status;
    status = cq_conn_reply_failure(reply, NULL);
    if (status == CRONQ_EPROTO)
        status = failure;
    return cq_fail(err, status, "%s: %.*s", what, CQ_FMT(reply->text));
}

/* The value that follows the name in HELLO's reply. */
static cq_str hello_version(const cq_reply *reply)
{
    if (reply->type != CQ_REPLY_ARRAY)
        return (cq_str){ NULL, 0 };
    for (size_t i = 0; i + 1 < reply->count; i += 2)
        if (cq_str_eq(reply->elements[i].text, CQ_STR("version")))
            return reply->elements[i + 1].text;
    return (cq_str){ NULL, 0 };
}

static cq_str info_version(const cq_reply *reply)
{
    static const char name[] = "redis_version:";
    const char *at;
    size_t len;

    if (reply->type != CQ_REPLY_STRING)
        return (cq_str){ NULL, 0 };
    at = memmem(reply->text.data, reply->text.len, name, sizeof name - 1);
    if (!at)
        return (cq_str){ NULL, 0 };
    at += sizeof name - 1;
    len = strcspn(at, "\r\n");
    return (cq_str){ at, len };
}

static cronq_status check_version(cq_str text, uint32_t *version, cronq_error *err)
{
    uint32_t found = cq_version_parse(text);

    if (found == 0)
        found = CQ_SERVER_VERSION_LEAST;
    if (found < CQ_SERVER_VERSION_LEAST)
        return cq_fail(err, CRONQ_EUNSUPPORTED,
                       "the server is version %.*s; 6.2 is the least that works",
                       CQ_FMT(text));
    *version = found;
    return CRONQ_OK;
}

/* NOPERM and an unknown command are answers; these are not. */
static bool turned_away(const cq_reply *reply)
{
    return reply->type == CQ_REPLY_ERROR && !cq_reply_is_error(reply, "NOPERM") &&
           cq_conn_reply_failure(reply, NULL) != CRONQ_EPROTO;
}

static cronq_status find_version(cq_conn *conn, cq_arena *arena, uint32_t *version,
                                 cronq_error *err)
{
    cq_reply *reply;
    cronq_status status = cq_conn_read(conn, arena, &reply, err);

    if (status)
        return status;
    if (reply->type == CQ_REPLY_ARRAY)
        return check_version(hello_version(reply), version, err);
    if (turned_away(reply))
        return cq_fail(err, cq_conn_reply_failure(reply, NULL), "%.*s",
                       CQ_FMT(reply->text));
    status = cq_conn_call(conn, arena, &reply, err, 2, "INFO", "server");
    if (status)
        return status;
    return check_version(info_version(reply), version, err);
}

cronq_status cq_handshake(cq_conn *conn, const cq_endpoint *endpoint,
                          const char *password, uint32_t *version, cronq_error *err)
{
    bool auth = endpoint->username || password;
    cronq_status status = CRONQ_OK;
    char what[32];
    cq_arena arena;

    cq_arena_init(&arena, ARENA_BYTES);
    if (auth)
        append_auth(conn, endpoint, password);
    if (endpoint->db) {
        cq_conn_command(conn, 2);
        cq_conn_arg_text(conn, "SELECT");
        cq_conn_arg_int(conn, endpoint->db);
    }
    cq_conn_command(conn, 2);
    cq_conn_arg_text(conn, "HELLO");
    cq_conn_arg_text(conn, "2");
    if (auth)
        status = expect_ok(conn, &arena, CRONQ_EAUTH, "AUTH", err);
    snprintf(what, sizeof what, "database %d", endpoint->db);
    if (!status && endpoint->db)
        status = expect_ok(conn, &arena, CRONQ_EINVAL, what, err);
    if (!status)
        status = find_version(conn, &arena, version, err);
    cq_arena_release(&arena);
    return status;
}
