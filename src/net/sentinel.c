/* SPDX-License-Identifier: MIT */
/* sentinel.c - where the master is now, as sentinels tell it.
 *
 * Invariants: known holds at least the sentinels of the URI and at most KNOWN_LIMIT; it
 * only grows. master is the last answer; it is believed for BELIEVED_MS unless it is
 * doubted. listening is the connection of the thread, so that freeing can end its wait;
 * the thread alone uses it otherwise. */
#include "net/sentinel.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>

#define KNOWN_LIMIT      100
#define BELIEVED_MS      1000
#define PATIENCE_MS      1000 /* with one sentinel; there are others */
#define QUIET_MS         5000 /* then it is asked for a sign of life */
#define ANSWER_MS        3000
#define FIRST_DELAY_MS   100
#define LONGEST_DELAY_MS 5000
#define ARENA_BYTES      ((size_t)1 << 20)
#define HOST_BYTES       256
#define CHANNEL          "+switch-master"

struct cq_sentinel {
    cq_endpoint endpoint;
    cronq_logger logger;
    cq_moved_fn *moved;
    void *moved_arg;

    pthread_mutex_t lock; /* over all that follows */
    pthread_cond_t ended;
    cq_address known[KNOWN_LIMIT];
    size_t known_count;
    size_t first; /* to be asked first */
    char master_host[HOST_BYTES];
    uint16_t master_port; /* 0: not known yet */
    int64_t believed_until_ms;
    bool ending, has_thread;
    pthread_t thread;
    cq_conn *listening;
};

/* ---- life ---- */

/* With the lock, or alone. */
static void learn(cq_sentinel *sentinel, const char *host, uint16_t port)
{
    char *copy;

    for (size_t i = 0; i < sentinel->known_count; i++)
        if (sentinel->known[i].port == port && strcmp(sentinel->known[i].host, host) == 0)
            return;
    if (sentinel->known_count == KNOWN_LIMIT || strlen(host) >= HOST_BYTES)
        return;
    copy = strdup(host);
    if (copy) /* else we know one less */
        sentinel->known[sentinel->known_count++] = (cq_address){ copy, port };
}

cronq_status cq_sentinel_new(const cq_endpoint *endpoint, const cronq_logger *logger,
                             cq_moved_fn *moved, void *arg, cq_sentinel **out,
                             cronq_error *err)
{
    cq_sentinel *sentinel = calloc(1, sizeof *sentinel);
    cronq_status status = sentinel ? cq_endpoint_copy(&sentinel->endpoint, endpoint, err)
                                   : cq_fail_nomem(err);

    if (status) {
        free(sentinel);
        return status;
    }
    if (logger)
        sentinel->logger = *logger;
    sentinel->moved = moved;
    sentinel->moved_arg = arg;
    pthread_mutex_init(&sentinel->lock, NULL);
    cq_cond_init(&sentinel->ended);
    for (size_t i = 0; i < endpoint->seed_count; i++)
        learn(sentinel, endpoint->seeds[i].host, endpoint->seeds[i].port);
    *out = sentinel;
    return CRONQ_OK;
}

void cq_sentinel_free(cq_sentinel *sentinel)
{
    if (!sentinel)
        return;
    pthread_mutex_lock(&sentinel->lock);
    sentinel->ending = true;
    if (sentinel->listening)
        cq_conn_shut(sentinel->listening);
    pthread_cond_broadcast(&sentinel->ended);
    pthread_mutex_unlock(&sentinel->lock);
    if (sentinel->has_thread)
        pthread_join(sentinel->thread, NULL);
    for (size_t i = 0; i < sentinel->known_count; i++)
        free(sentinel->known[i].host);
    pthread_cond_destroy(&sentinel->ended);
    pthread_mutex_destroy(&sentinel->lock);
    cq_endpoint_release(&sentinel->endpoint);
    free(sentinel);
}

/* ---- asking ---- */

static int64_t at_most(int64_t timeout_ms, int64_t most_ms)
{
    return timeout_ms < 0 || timeout_ms > most_ms ? most_ms : timeout_ms;
}

/* A sentinel is entered with credentials of its own, and has no databases. */
static cronq_status enter(cq_sentinel *sentinel, size_t index, cq_conn **out,
                          cronq_error *err)
{
    const cq_endpoint *from = &sentinel->endpoint;
    cq_endpoint to = *from;
    cq_address address;
    char host[HOST_BYTES];

    pthread_mutex_lock(&sentinel->lock);
    address = sentinel->known[index];
    snprintf(host, sizeof host, "%s", address.host);
    pthread_mutex_unlock(&sentinel->lock);
    /* Borrowed from us for the call. */
    to.host = host;
    to.port = address.port;
    to.username = from->sentinel_username;
    to.password = from->sentinel_password;
    to.password_file = NULL;
    to.db = 0;
    to.dial_timeout_ms = at_most(from->dial_timeout_ms, PATIENCE_MS);
    to.read_timeout_ms = at_most(from->read_timeout_ms, PATIENCE_MS);
    to.write_timeout_ms = at_most(from->write_timeout_ms, PATIENCE_MS);
    return cq_conn_open(&to, out, err);
}

static bool port_of(cq_str text, uint16_t *port)
{
    long value = text.len && text.len < 6 ? strtol(text.data, NULL, 10) : 0;

    *port = (uint16_t)value;
    return value > 0 && value <= UINT16_MAX;
}

static bool host_of(cq_str text, char out[HOST_BYTES])
{
    if (text.len == 0 || text.len >= HOST_BYTES || memchr(text.data, '\0', text.len))
        return false;
    snprintf(out, HOST_BYTES, "%.*s", CQ_FMT(text));
    return true;
}

static cronq_status ask_master(cq_sentinel *sentinel, cq_conn *conn, cq_arena *arena,
                               char host[HOST_BYTES], uint16_t *port, cronq_error *err)
{
    const char *name = sentinel->endpoint.master_name;
    cronq_status status;
    cq_reply *reply;

    status = cq_conn_call(conn, arena, &reply, err, 3, "SENTINEL",
                          "GET-MASTER-ADDR-BY-NAME", name);
    if (status)
        return status;
    if (reply->type == CQ_REPLY_ERROR)
        return cq_conn_reply_failure(reply, err);
    if (reply->type != CQ_REPLY_ARRAY || reply->count != 2)
        return cq_fail(err, CRONQ_EIO, "the sentinel knows no master \"%s\"", name);
    if (!host_of(reply->elements[0].text, host) ||
        !port_of(reply->elements[1].text, port))
        return cq_fail(err, CRONQ_EPROTO, "the sentinel tells no address of the master");
    return CRONQ_OK;
}

/* The value that follows the name in a flat list of pairs. */
static cq_str field(const cq_reply *pairs, const char *name)
{
    for (size_t i = 0; pairs->type == CQ_REPLY_ARRAY && i + 1 < pairs->count; i += 2)
        if (cq_str_eq(pairs->elements[i].text, cq_str_of(name)))
            return pairs->elements[i + 1].text;
    return (cq_str){ NULL, 0 };
}

/* Those that it does not tell of stay unknown: that is no failure. */
static void ask_sentinels(cq_sentinel *sentinel, cq_conn *conn, cq_arena *arena)
{
    char host[HOST_BYTES];
    cq_reply *reply;
    uint16_t port;

    if (cq_conn_call(conn, arena, &reply, NULL, 3, "SENTINEL", "SENTINELS",
                     sentinel->endpoint.master_name) ||
        reply->type != CQ_REPLY_ARRAY)
        return;
    pthread_mutex_lock(&sentinel->lock);
    for (size_t i = 0; i < reply->count; i++)
        if (host_of(field(&reply->elements[i], "ip"), host) &&
            port_of(field(&reply->elements[i], "port"), &port))
            learn(sentinel, host, port);
    pthread_mutex_unlock(&sentinel->lock);
}

static cronq_status ask_one(cq_sentinel *sentinel, size_t index, char host[HOST_BYTES],
                            uint16_t *port, cronq_error *err)
{
    cronq_status status;
    cq_arena arena;
    cq_conn *conn;

    status = enter(sentinel, index, &conn, err);
    if (status)
        return status;
    cq_arena_init(&arena, ARENA_BYTES);
    status = ask_master(sentinel, conn, &arena, host, port, err);
    if (!status)
        ask_sentinels(sentinel, conn, &arena);
    cq_arena_release(&arena);
    cq_conn_free(conn);
    return status;
}

/* Each in turn, until one answers. */
static cronq_status ask(cq_sentinel *sentinel, char host[HOST_BYTES], uint16_t *port,
                        cronq_error *err)
{
    cronq_error why = { .code = CRONQ_EIO, .text = "there are none" };
    cronq_status status;
    size_t count, first;

    pthread_mutex_lock(&sentinel->lock);
    count = sentinel->known_count;
    first = sentinel->first;
    pthread_mutex_unlock(&sentinel->lock);
    for (size_t i = 0; i < count; i++) {
        size_t index = (first + i) % count;

        why.code = CRONQ_OK;
        status = ask_one(sentinel, index, host, port, &why);
        if (status)
            continue;
        pthread_mutex_lock(&sentinel->lock);
        sentinel->first = index;
        pthread_mutex_unlock(&sentinel->lock);
        return CRONQ_OK;
    }
    return cq_fail(err, why.code, "none of %zu sentinels tells the master; the last: %s",
                   count, why.text);
}

/* ---- listening ---- */

/* With the lock. Was another one known before? */
static bool keep_master(cq_sentinel *sentinel, const char *host, uint16_t port)
{
    bool other = sentinel->master_port && (sentinel->master_port != port ||
                                           strcmp(sentinel->master_host, host) != 0);

    snprintf(sentinel->master_host, HOST_BYTES, "%s", host);
    sentinel->master_port = port;
    sentinel->believed_until_ms = cq_mono_ms() + BELIEVED_MS;
    return other;
}

static void master_is(cq_sentinel *sentinel, const char *host, uint16_t port)
{
    bool other;

    pthread_mutex_lock(&sentinel->lock);
    other = keep_master(sentinel, host, port) && !sentinel->ending;
    pthread_mutex_unlock(&sentinel->lock);
    if (!other)
        return;
    CQ_INFO(&sentinel->logger, "sentinels: the master \"%s\" is at %s:%u now",
            sentinel->endpoint.master_name, host, port);
    sentinel->moved(sentinel->moved_arg, host, port);
}

/* "NAME OLD-IP OLD-PORT NEW-IP NEW-PORT" */
static void hear(cq_sentinel *sentinel, cq_str text)
{
    cq_str name = cq_str_of(sentinel->endpoint.master_name), words[4];
    char host[HOST_BYTES];
    size_t count = 0;
    uint16_t port;

    if (!cq_str_starts(text, name) || text.len == name.len || text.data[name.len] != ' ')
        return;
    text = (cq_str){ text.data + name.len + 1, text.len - name.len - 1 };
    for (; count < 4 && text.len; count++) {
        const char *end = memchr(text.data, ' ', text.len);
        size_t len = end ? (size_t)(end - text.data) : text.len;

        words[count] = (cq_str){ text.data, len };
        text.data += len + (end != NULL);
        text.len -= len + (end != NULL);
    }
    if (count == 4 && host_of(words[2], host) && port_of(words[3], &port))
        master_is(sentinel, host, port);
}

static bool is_ending(cq_sentinel *sentinel)
{
    bool ending;

    pthread_mutex_lock(&sentinel->lock);
    ending = sentinel->ending;
    pthread_mutex_unlock(&sentinel->lock);
    return ending;
}

/* False when it is ending: then it stays the caller's. */
static bool set_listening(cq_sentinel *sentinel, cq_conn *conn)
{
    bool ending;

    pthread_mutex_lock(&sentinel->lock);
    ending = sentinel->ending;
    sentinel->listening = ending ? NULL : conn;
    pthread_mutex_unlock(&sentinel->lock);
    return !ending;
}

static void ask_for_life(cq_conn *conn)
{
    cq_conn_command(conn, 1); /* leaves with the next reading */
    cq_conn_arg_text(conn, "PING");
}

/* A sentinel that hangs, or that no way leads to any more, is as quiet as one that has
 * nothing to tell: it is asked, and whatever it answers is a sign of life. */
static cronq_status receive_all(cq_sentinel *sentinel, cq_conn *conn, cq_arena *arena)
{
    cronq_status status = CRONQ_OK;
    bool asked = false;
    cq_reply *reply;

    while (!status && !is_ending(sentinel)) {
        cq_arena_reset(arena);
        status =
            cq_conn_read_within(conn, asked ? ANSWER_MS : QUIET_MS, arena, &reply, NULL);
        if (!status && !reply && asked)
            return CRONQ_EIO;
        asked = !reply;
        if (!status && !reply)
            ask_for_life(conn);
        if (!status && reply && reply->type == CQ_REPLY_ARRAY && reply->count == 3 &&
            cq_str_eq(reply->elements[0].text, CQ_STR("message")))
            hear(sentinel, reply->elements[2].text);
    }
    return status;
}

/* Subscribed first, then asked: so no move is missed in between. */
static cronq_status listen_to(cq_sentinel *sentinel, size_t index)
{
    char host[HOST_BYTES];
    cronq_status status;
    cq_arena arena;
    cq_reply *reply;
    uint16_t port = 0;
    cq_conn *conn;

    status = enter(sentinel, index, &conn, NULL);
    if (status)
        return status;
    cq_arena_init(&arena, ARENA_BYTES);
    if (set_listening(sentinel, conn)) {
        status = cq_conn_call(conn, &arena, &reply, NULL, 2, "SUBSCRIBE", CHANNEL);
        if (!status && reply->type == CQ_REPLY_ERROR)
            status = cq_conn_reply_failure(reply, NULL);
        if (!status)
            status = ask_one(sentinel, index, host, &port, NULL);
        if (!status)
            master_is(sentinel, host, port);
        if (!status)
            status = receive_all(sentinel, conn, &arena);
        set_listening(sentinel, NULL);
    }
    cq_arena_release(&arena);
    cq_conn_free(conn);
    return status;
}

static void nap(cq_sentinel *sentinel, int64_t delay_ms)
{
    int64_t until_ns = cq_mono_ns() + delay_ms * CQ_NS_PER_MS;

    pthread_mutex_lock(&sentinel->lock);
    while (!sentinel->ending && cq_mono_ns() < until_ns)
        cq_cond_wait_until(&sentinel->ended, &sentinel->lock, until_ns);
    pthread_mutex_unlock(&sentinel->lock);
}

static void *run(void *arg)
{
    cq_sentinel *sentinel = arg;
    int64_t delay_ms = FIRST_DELAY_MS;
    size_t index = 0, count;

    while (!is_ending(sentinel)) {
        int64_t began_ms = cq_mono_ms();

        pthread_mutex_lock(&sentinel->lock);
        count = sentinel->known_count;
        pthread_mutex_unlock(&sentinel->lock);
        listen_to(sentinel, index++ % count);
        if (cq_mono_ms() - began_ms > LONGEST_DELAY_MS)
            delay_ms = FIRST_DELAY_MS;
        nap(sentinel, delay_ms);
        delay_ms = delay_ms * 2 > LONGEST_DELAY_MS ? LONGEST_DELAY_MS : delay_ms * 2;
    }
    return NULL;
}

/* With the lock. Without the thread moves are found when connections break. */
static void start_listening(cq_sentinel *sentinel)
{
    if (!sentinel->has_thread && !sentinel->ending)
        sentinel->has_thread =
            !cq_thread_start(&sentinel->thread, "cronq-sentinel", run, sentinel, NULL);
}

/* ---- finding ---- */

cronq_status cq_sentinel_find(cq_sentinel *sentinel, cq_endpoint *out, cronq_error *err)
{
    char host[HOST_BYTES];
    uint16_t port;
    bool believed;
    cronq_status status;

    pthread_mutex_lock(&sentinel->lock);
    believed = sentinel->master_port && cq_mono_ms() < sentinel->believed_until_ms;
    memcpy(host, sentinel->master_host, HOST_BYTES);
    port = sentinel->master_port;
    pthread_mutex_unlock(&sentinel->lock);
    if (!believed) {
        status = ask(sentinel, host, &port, err);
        if (status)
            return status;
        master_is(sentinel, host, port);
    }
    pthread_mutex_lock(&sentinel->lock);
    start_listening(sentinel);
    pthread_mutex_unlock(&sentinel->lock);
    return cq_endpoint_copy_at(out, &sentinel->endpoint, host, port, err);
}

cronq_status cq_sentinel_check(cq_sentinel *sentinel, cq_conn *conn, cronq_error *err)
{
    cronq_status status;
    cq_arena arena;
    cq_reply *reply;

    cq_arena_init(&arena, ARENA_BYTES);
    status = cq_conn_call(conn, &arena, &reply, err, 1, "ROLE");
    if (!status && reply->type == CQ_REPLY_ERROR)
        status = cq_conn_reply_failure(reply, err);
    else if (!status && (reply->type != CQ_REPLY_ARRAY || reply->count < 1 ||
                         !cq_str_eq(reply->elements[0].text, CQ_STR("master"))))
        status =
            cq_fail(err, CRONQ_EIO,
                    "redis: the server that sentinels call the master of \"%s\" is a "
                    "replica",
                    sentinel->endpoint.master_name);
    cq_arena_release(&arena);
    return status;
}

void cq_sentinel_doubt(cq_sentinel *sentinel)
{
    pthread_mutex_lock(&sentinel->lock);
    sentinel->believed_until_ms = 0;
    sentinel->first = (sentinel->first + 1) % sentinel->known_count;
    pthread_mutex_unlock(&sentinel->lock);
}
