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

static void begin(cq_conn *conn, const cq_script *script, bool with_body,
                  size_t key_count, size_t argument_count)
{
    cq_conn_command(conn, 3 + key_count + argument_count);
    if (with_body || !script->digest[0]) {
        cq_conn_arg(conn, "EVAL", 4);
        cq_conn_arg(conn, script->body, script->body_len);
    } else {
        cq_conn_arg(conn, "EVALSHA", 7);
        cq_conn_arg(conn, script->digest, sizeof script->digest - 1);
    }
    cq_conn_arg_int(conn, (int64_t)key_count);
}

void cq_script_call(cq_conn *conn, const cq_script *script, size_t key_count,
                    size_t argument_count)
{
    begin(conn, script, false, key_count, argument_count);
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

static bool refused(const cq_script_run *run)
{
    return run->reply && cq_reply_is_error(run->reply, "NOSCRIPT");
}

/* One body brings the script back for all that follow. */
static bool needs_body(const cq_script_run *runs, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (runs[i].script == runs[index].script && refused(&runs[i]))
            return false;
    return refused(&runs[index]);
}

static void append_run(cq_conn *conn, const cq_script_run *run, bool with_body)
{
    begin(conn, run->script, with_body, run->key_count, run->argument_count);
    run->append(conn, run->arg);
}

cronq_status cq_script_run_all(cq_conn *conn, cq_script_run *runs, size_t count,
                               cq_arena *arena, cronq_error *err)
{
    cronq_status status = CRONQ_OK;
    bool heal = false;

    assert(cq_conn_due(conn) == 0);
    for (size_t i = 0; i < count; i++) {
        runs[i].reply = NULL;
        append_run(conn, &runs[i], false);
    }
    for (size_t i = 0; i < count && !status; i++) {
        status = cq_conn_read(conn, arena, &runs[i].reply, err);
        heal = heal || (!status && refused(&runs[i]));
    }
    if (status || !heal)
        return status;
    for (size_t i = 0; i < count; i++)
        if (refused(&runs[i]))
            append_run(conn, &runs[i], needs_body(runs, i));
    for (size_t i = 0; i < count && !status; i++)
        if (refused(&runs[i]))
            status = cq_conn_read(conn, arena, &runs[i].reply, err);
    return status;
}
