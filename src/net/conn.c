/* SPDX-License-Identifier: MIT */
/* conn.c - one connection to a Redis server: commands out, replies in.
 *
 * Sending a long pipeline, the server may stop reading until its answers are read: so
 * while sending waits, what arrives is read into the in buffer. From there it is fed to
 * the reader in small portions, since hiredis moves what is left of its buffer after
 * each reply. */
#include "net/conn.h"

#include "base/clock.h"
#include "base/connected.h"
#include "base/error.h"
#include "net/handshake.h"
#include "net/reader.h"
#include "net/stream.h"

#include <assert.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define OUT_BYTES_LIMIT  ((size_t)640 << 20)
#define IN_BYTES_LIMIT   ((size_t)640 << 20) /* drained while sending, not yet parsed */
#define READ_BYTES       ((size_t)64 << 10)
#define FEED_BYTES       ((size_t)16 << 10)
#define KEPT_BYTES       ((size_t)1 << 20) /* an emptied buffer above this is freed */
#define NUMBER_BYTES     24
#define GREETING_BYTES   512
#define LOOK_OUT_NS      (100 * 1000) /* about what a sleep and a wake-up cost two threads */
#define LOOK_OUT_TRIES   3
#define LOOK_OUT_RAREST  6 /* once in 2^6 replies */
#define LAST_WORDS_BYTES ((size_t)64 << 10)
#define ADDRESS_BYTES    300

struct cq_conn {
    cq_stream stream;
    cq_reader reader;
    cq_buf out;
    cq_buf in;
    size_t in_pos;       /* what is before it was fed */
    size_t due_count;    /* replies to come, of commands sent or not */
    size_t unsent_count; /* of these, those of commands in out */
    size_t args_missing; /* of the command begun last */
    int64_t read_timeout_ms, write_timeout_ms;
    uint32_t server_version;
    uint32_t vain;      /* so many times in a row it was looked out for a reply in vain */
    uint32_t unwatched; /* so many replies are not looked out for */
    bool counted;       /* among the connections of the process */
    bool demoted;       /* the server has become a replica */
    cronq_error broken; /* code OK: it is not */
    cq_conn_freed_fn *freed;
    void *freed_arg;
    char address[ADDRESS_BYTES];
};

bool cq_conn_broken(const cq_conn *conn)
{
    return conn->broken.code != CRONQ_OK;
}

int cq_conn_fd(const cq_conn *conn)
{
    return conn->stream.fd;
}

const char *cq_conn_address(const cq_conn *conn)
{
    return conn->address;
}

void cq_conn_on_free(cq_conn *conn, cq_conn_freed_fn *freed, void *arg)
{
    conn->freed = freed;
    conn->freed_arg = arg;
}

void cq_conn_shut(cq_conn *conn)
{
    cq_stream_shut(&conn->stream);
}

uint32_t cq_conn_server_version(const cq_conn *conn)
{
    return conn->server_version;
}

size_t cq_conn_due(const cq_conn *conn)
{
    return conn->due_count;
}

bool cq_conn_reusable(const cq_conn *conn)
{
    return !cq_conn_broken(conn) && !conn->demoted && conn->due_count == 0 &&
           conn->out.len == 0 && conn->in.len == conn->in_pos &&
           !cq_reader_amid(&conn->reader) && cq_stream_quiet(&conn->stream);
}

/* ---- appending ---- */

/* "*3\r\n" or "$11\r\n": from the right, then copied. */
static char *write_length(char *to, char kind, size_t value)
{
    char digits[NUMBER_BYTES], *p = digits + sizeof digits;

    *--p = '\n';
    *--p = '\r';
    do
        *--p = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    *--p = kind;
    return mempcpy(to, p, (size_t)(digits + sizeof digits - p));
}

void cq_conn_command(cq_conn *conn, size_t argc)
{
    char *to = cq_buf_reserve(&conn->out, NUMBER_BYTES);

    assert(argc > 0 && conn->args_missing == 0);
    conn->args_missing = argc;
    conn->due_count++;
    conn->unsent_count++;
    if (to)
        conn->out.len = (size_t)(write_length(to, '*', argc) - conn->out.data);
}

void cq_conn_arg(cq_conn *conn, const void *data, size_t len)
{
    size_t most = len < SIZE_MAX - NUMBER_BYTES ? len + NUMBER_BYTES + 2 : SIZE_MAX;
    char *to = cq_buf_reserve(&conn->out, most);

    assert(conn->args_missing > 0);
    conn->args_missing--;
    if (!to)
        return;
    to = write_length(to, '$', len);
    if (len)
        to = mempcpy(to, data, len);
    *to++ = '\r';
    *to++ = '\n';
    conn->out.len = (size_t)(to - conn->out.data);
}

void cq_conn_arg_str(cq_conn *conn, cq_str text)
{
    cq_conn_arg(conn, text.data, text.len);
}

void cq_conn_arg_text(cq_conn *conn, const char *text)
{
    cq_conn_arg(conn, text, strlen(text));
}

void cq_conn_arg_int(cq_conn *conn, int64_t value)
{
    char digits[NUMBER_BYTES], *end = digits + sizeof digits, *p = end;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do
        *--p = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0)
        *--p = '-';
    cq_conn_arg(conn, p, (size_t)(end - p));
}

/* ---- failing ---- */

static cronq_status fail_broken(const cq_conn *conn, cronq_error *err)
{
    if (err)
        *err = conn->broken;
    return conn->broken.code;
}

/* The reason, with the address in front. */
static cronq_status fail_at(const cq_conn *conn, const cronq_error *why, cronq_error *err)
{
    if (cq_conn_broken(conn))
        return fail_broken(conn, err);
    return cq_fail(err, why->code, "redis at %s: %s", conn->address, why->text);
}

static cronq_status break_off(cq_conn *conn, const cronq_error *why, cronq_error *err)
{
    cronq_error broken;

    fail_at(conn, why, &broken);
    conn->broken = broken;
    return fail_broken(conn, err);
}

static void drop_content(cq_buf *buf)
{
    if (buf->cap > KEPT_BYTES)
        cq_buf_release(buf);
    cq_buf_reset(buf);
}

/* Nothing of what was appended has left: forget it, and the connection is as before. */
static cronq_status drop_unsent(cq_conn *conn, cronq_error *err)
{
    cronq_status status = conn->out.status;

    conn->due_count -= conn->unsent_count;
    conn->unsent_count = 0;
    drop_content(&conn->out);
    if (status == CRONQ_ENOMEM)
        return cq_fail_nomem(err);
    return cq_fail(err, status, "redis at %s: commands of more than %zu bytes at once",
                   conn->address, OUT_BYTES_LIMIT);
}

/* ---- moving bytes ---- */

static cronq_status receive(cq_conn *conn, size_t *count, cronq_error *err)
{
    char *to = cq_buf_reserve(&conn->in, READ_BYTES);
    cronq_status status;

    if (!to)
        return cq_fail_nomem(err);
    status = cq_stream_read(&conn->stream, to, READ_BYTES, count, err);
    if (!status)
        conn->in.len += *count;
    return status;
}

static bool may_drain(const cq_conn *conn)
{
    return conn->in.len < IN_BYTES_LIMIT - READ_BYTES;
}

/* The server takes no more now: wait until it does, reading what it sends. */
static cronq_status wait_to_send(cq_conn *conn, cronq_error *err)
{
    short events = may_drain(conn) ? POLLIN | POLLOUT : POLLOUT, ready = 0;
    cronq_status status =
        cq_stream_wait(&conn->stream, events, conn->write_timeout_ms, &ready, err);
    size_t count;

    if (status)
        return status;
    if (!ready)
        return cq_fail(err, CRONQ_EIO, "the server took nothing for %lld ms",
                       (long long)conn->write_timeout_ms);
    return ready & POLLIN ? receive(conn, &count, err) : CRONQ_OK;
}

static cronq_status send_all(cq_conn *conn, cronq_error *err)
{
    cronq_status status = CRONQ_OK;
    size_t sent = 0;

    while (!status && sent < conn->out.len) {
        size_t count = 0;

        status = cq_stream_write(&conn->stream, conn->out.data + sent,
                                 conn->out.len - sent, &count, err);
        sent += count;
        if (!status && count == 0)
            status = wait_to_send(conn, err);
    }
    return status;
}

/* Give the reader the next portion; false when there is none. */
static bool feed(cq_conn *conn, cronq_status *status, cronq_error *err)
{
    size_t len = conn->in.len - conn->in_pos;

    if (len == 0)
        return false;
    if (len > FEED_BYTES)
        len = FEED_BYTES;
    *status = cq_reader_feed(&conn->reader, conn->in.data + conn->in_pos, len, err);
    conn->in_pos += len;
    if (conn->in_pos == conn->in.len) {
        conn->in_pos = 0;
        drop_content(&conn->in);
    }
    return true;
}

/* Writing failed: a server that turned us away said why before it closed. */
static void hear_last_words(cq_conn *conn, cronq_error *why)
{
    cronq_error heard = { .code = CRONQ_OK };
    cronq_status status = CRONQ_OK;
    cq_reply *reply = NULL;
    cq_arena arena;
    size_t count;

    cq_arena_init(&arena, LAST_WORDS_BYTES);
    if (receive(conn, &count, &heard) == CRONQ_EAUTH)
        *why = heard;
    if (!heard.code && feed(conn, &status, NULL) && !status &&
        !cq_reader_next(&conn->reader, &arena, &reply, NULL) && reply &&
        reply->type == CQ_REPLY_ERROR) {
        status = cq_conn_reply_failure(reply, NULL);
        cq_fail(why, status == CRONQ_EPROTO ? CRONQ_EIO : status, "%.*s",
                CQ_FMT(reply->text));
    }
    cq_arena_release(&arena);
}

cronq_status cq_conn_flush(cq_conn *conn, cronq_error *err)
{
    cronq_error why = { .code = CRONQ_OK };

    assert(conn->args_missing == 0);
    if (cq_conn_broken(conn))
        return fail_broken(conn, err);
    if (conn->out.status)
        return drop_unsent(conn, err);
    if (conn->out.len == 0)
        return CRONQ_OK;
    if (send_all(conn, &why)) {
        hear_last_words(conn, &why);
        return break_off(conn, &why, err);
    }
    conn->unsent_count = 0;
    drop_content(&conn->out);
    return CRONQ_OK;
}

/* Look again and again before going to sleep, and let others run in between: a reply is
 * mostly there sooner than a sleeper would be woken, and a store that is busy does not
 * have to be woken either. Where it was in vain, rarely. */
static cronq_status look_out(cq_conn *conn, size_t *count, cronq_error *err)
{
    int64_t until_ns = cq_mono_ns() + LOOK_OUT_NS;
    cronq_status status;

    *count = 0;
    if (conn->unwatched > 0) {
        conn->unwatched--;
        return CRONQ_OK;
    }
    do {
        sched_yield();
        status = receive(conn, count, err);
    } while (!status && *count == 0 && cq_mono_ns() < until_ns);
    if (status)
        return status;
    if (*count)
        conn->vain = 0;
    else if (conn->vain < LOOK_OUT_TRIES + LOOK_OUT_RAREST)
        conn->vain++;
    conn->unwatched =
        conn->vain > LOOK_OUT_TRIES ? (1u << (conn->vain - LOOK_OUT_TRIES)) : 0;
    return CRONQ_OK;
}

/* The next reply; NULL when none began within begin_ms. Once it began, only silence for
 * the read timeout ends the waiting, and that is a failure. */
static cronq_status next_reply(cq_conn *conn, int64_t begin_ms, cq_arena *arena,
                               cq_reply **out, cronq_error *err)
{
    for (;;) {
        cronq_status status = cq_reader_next(&conn->reader, arena, out, err);
        size_t count = 0;
        bool begun;
        short ready;

        if (status || *out)
            return status;
        if (feed(conn, &status, err)) {
            if (status)
                return status;
            continue;
        }
        if (conn->due_count > 0 && begin_ms != 0)
            status = look_out(conn, &count, err);
        if (status)
            return status;
        if (count > 0)
            continue;
        /* Most likely it is not there yet: look only after waiting. */
        begun = cq_reader_amid(&conn->reader);
        status = cq_stream_wait(&conn->stream, POLLIN,
                                begun ? conn->read_timeout_ms : begin_ms, &ready, err);
        if (status)
            return status;
        if (!ready && !begun)
            return CRONQ_OK;
        if (!ready)
            return cq_fail(err, CRONQ_EIO, "a reply stopped in the middle for %lld ms",
                           (long long)conn->read_timeout_ms);
        status = receive(conn, &count, err);
        if (status)
            return status;
    }
}

static cronq_status read_reply(cq_conn *conn, int64_t begin_ms, bool must,
                               cq_arena *arena, cq_reply **out, cronq_error *err)
{
    cronq_error why = { .code = CRONQ_OK };
    cronq_status status = cq_conn_flush(conn, err);
    cq_reply *reply = NULL;

    if (status)
        return status;
    status = next_reply(conn, begin_ms, arena, &reply, &why);
    if (!status && !reply && must)
        status = cq_fail(&why, CRONQ_EIO, "no reply within %lld ms", (long long)begin_ms);
    if (status)
        return break_off(conn, &why, err);
    if (reply && conn->due_count > 0)
        conn->due_count--;
    if (reply && cq_reply_is_error(reply, "READONLY"))
        conn->demoted = true;
    *out = reply;
    return CRONQ_OK;
}

cronq_status cq_conn_read(cq_conn *conn, cq_arena *arena, cq_reply **out,
                          cronq_error *err)
{
    return read_reply(conn, conn->read_timeout_ms, true, arena, out, err);
}

cronq_status cq_conn_read_within(cq_conn *conn, int64_t timeout_ms, cq_arena *arena,
                                 cq_reply **out, cronq_error *err)
{
    return read_reply(conn, timeout_ms, false, arena, out, err);
}

cronq_status cq_conn_call(cq_conn *conn, cq_arena *arena, cq_reply **out,
                          cronq_error *err, int argc, ...)
{
    va_list args;

    cq_conn_command(conn, (size_t)argc);
    va_start(args, argc);
    for (int i = 0; i < argc; i++)
        cq_conn_arg_text(conn, va_arg(args, const char *));
    va_end(args);
    return cq_conn_read(conn, arena, out, err);
}

/* ---- opening ---- */

static int64_t shorter(int64_t a_ms, int64_t b_ms)
{
    if (a_ms < 0 || b_ms < 0)
        return a_ms < 0 ? b_ms : a_ms;
    return a_ms < b_ms ? a_ms : b_ms;
}

/* The greeting belongs to dialling: it does not wait longer than that. The password
 * passes through the out buffer, which must not grow meanwhile: growing leaves a copy
 * behind. */
static cronq_status greet(cq_conn *conn, const cq_endpoint *endpoint, cronq_error *err)
{
    char *password = NULL;
    cronq_status status = cq_endpoint_secret(endpoint, &password, err);
    size_t size = GREETING_BYTES + (endpoint->username ? strlen(endpoint->username) : 0) +
                  (password ? strlen(password) : 0);

    if (status)
        return status;
    if (!cq_buf_reserve(&conn->out, size)) {
        cq_wipe(&password);
        return cq_fail_nomem(err);
    }
    conn->read_timeout_ms = shorter(endpoint->read_timeout_ms, endpoint->dial_timeout_ms);
    conn->write_timeout_ms =
        shorter(endpoint->write_timeout_ms, endpoint->dial_timeout_ms);
    status = cq_handshake(conn, endpoint, password, &conn->server_version, err);
    cq_wipe(&password);
    conn->read_timeout_ms = endpoint->read_timeout_ms;
    conn->write_timeout_ms = endpoint->write_timeout_ms;
    explicit_bzero(conn->out.data, conn->out.cap);
    return status;
}

cronq_status cq_conn_open(const cq_endpoint *endpoint, cq_conn **out, cronq_error *err)
{
    cq_conn *conn = calloc(1, sizeof *conn);
    cronq_error why = { .code = CRONQ_OK };
    cronq_status status;

    if (!conn)
        return cq_fail_nomem(err);
    conn->stream.fd = -1;
    cq_endpoint_print(endpoint, conn->address, sizeof conn->address);
    cq_buf_init(&conn->out, OUT_BYTES_LIMIT);
    cq_buf_init(&conn->in, IN_BYTES_LIMIT);
    status = cq_reader_init(&conn->reader, &why);
    if (!status)
        status = cq_stream_open(&conn->stream, endpoint, &why);
    if (!status)
        status = greet(conn, endpoint, &why);
    if (status) {
        fail_at(conn, &why, err);
        cq_conn_free(conn);
        return status;
    }
    conn->counted = true;
    cq_connected_add(1);
    *out = conn;
    return CRONQ_OK;
}

void cq_conn_free(cq_conn *conn)
{
    if (!conn)
        return;
    if (conn->freed)
        conn->freed(conn, conn->freed_arg);
    if (conn->counted)
        cq_connected_add(-1);
    cq_stream_close(&conn->stream);
    cq_reader_release(&conn->reader);
    cq_buf_release(&conn->out);
    cq_buf_release(&conn->in);
    free(conn);
}

/* ---- what error replies mean ---- */

static const struct {
    const char *word;
    cronq_status status;
} failures[] = {
    { "NOAUTH", CRONQ_EAUTH },   { "WRONGPASS", CRONQ_EAUTH },
    { "NOPERM", CRONQ_EAUTH },   { "DENIED", CRONQ_EAUTH },
    { "OOM", CRONQ_EFULL },      { "LOADING", CRONQ_EIO },
    { "BUSY", CRONQ_EIO },       { "READONLY", CRONQ_EIO },
    { "MASTERDOWN", CRONQ_EIO }, { "CLUSTERDOWN", CRONQ_EIO },
    { "TRYAGAIN", CRONQ_EIO },   { "NOREPLICAS", CRONQ_EIO },
    { "MISCONF", CRONQ_EIO },    { "ERR max number of clients", CRONQ_EIO },
    { "MOVED", CRONQ_EIO },      { "ASK", CRONQ_EIO },
};

cronq_status cq_conn_reply_failure(const cq_reply *reply, cronq_error *err)
{
    cronq_status status = CRONQ_EPROTO;

    if (reply->type != CQ_REPLY_ERROR)
        return cq_fail(err, status, "redis: a reply of an unexpected kind");
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++)
        if (cq_reply_is_error(reply, failures[i].word))
            status = failures[i].status;
    return cq_fail(err, status, "redis: %.*s", CQ_FMT(reply->text));
}
