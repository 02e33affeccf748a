/* SPDX-License-Identifier: MIT */
/* script.c - a Lua script in the server, called by its digest. */
#include "net/script.h"

#include "base/error.h"

#include <assert.h>
#include <openssl/evp.h>

void cq_script_init(cq_script *script, const char *name, const char *body,
                    size_t body_len)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    *script = (cq_script){ .name = name, .body = body, .body_len = body_len };
    /* Without a digest (out of memory) it stays empty, and each call sends the body. */
    if (!EVP_Digest(body, body_len, digest, &len, EVP_sha1(), NULL))
        return;
    assert(len * 2 + 1 == sizeof script->digest);
    for (unsigned i = 0; i < len; i++) {
        script->digest[2 * i] = digits[digest[i] >> 4];
        script->digest[2 * i + 1] = digits[digest[i] & 15];
    }
}

void cq_script_call(cq_conn *conn, const cq_script *script, size_t key_count,
                    size_t argument_count)
{
    cq_conn_command(conn, 3 + key_count + argument_count);
    if (script->digest[0]) {
        cq_conn_arg(conn, "EVALSHA", 7);
        cq_conn_arg(conn, script->digest, sizeof script->digest - 1);
    } else {
        cq_conn_arg(conn, "EVAL", 4);
        cq_conn_arg(conn, script->body, script->body_len);
    }
    cq_conn_arg_int(conn, (int64_t)key_count);
}

cronq_status cq_script_load(cq_conn *conn, const cq_script *script, cq_arena *arena,
                            cronq_error *err)
{
    cronq_status status;
    cq_reply *reply;

    assert(cq_conn_due(conn) == 0);
    cq_conn_command(conn, 3);
    cq_conn_arg_text(conn, "SCRIPT");
    cq_conn_arg_text(conn, "LOAD");
    cq_conn_arg(conn, script->body, script->body_len);
    status = cq_conn_read(conn, arena, &reply, err);
    if (status)
        return status;
    return reply->type == CQ_REPLY_STRING ? CRONQ_OK : cq_conn_reply_failure(reply, err);
}
