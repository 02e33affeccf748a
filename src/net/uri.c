/* SPDX-License-Identifier: MIT */
/* uri.c - where a Redis is and how to enter: reading URIs.
 *
 * A password must not get into an error text, not even when the URI is so wrong that the
 * password stands where something else is expected. So only what cannot be a part of
 * the password is quoted: nothing of what stands before the last '@', and a port only
 * when it is a number. */
#include "net/uri.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/un.h>

#define URI_BYTES_LIMIT   8192
#define HOST_BYTES_LIMIT  255
#define DEFAULT_PORT      6379
#define SENTINEL_PORT     26379
#define QUOTED_BYTES      80
#define SOCKET_PATH_LIMIT (sizeof((struct sockaddr_un *)0)->sun_path - 1)
#define QUOTE(s)          (int)((s).len < QUOTED_BYTES ? (s).len : QUOTED_BYTES), (s).data

typedef enum scheme_kind {
    SCHEME_TCP,
    SCHEME_SOCKET,
    SCHEME_SENTINEL,
    SCHEME_CLUSTER,
} scheme_kind;

typedef struct scheme {
    const char *name;
    scheme_kind kind;
    bool tls;
} scheme;

static const scheme schemes[] = {
    { "redis", SCHEME_TCP, false },
    { "rediss", SCHEME_TCP, true },
    { "redis-socket", SCHEME_SOCKET, false },
    { "unix", SCHEME_SOCKET, false },
    { "redis-sentinel", SCHEME_SENTINEL, false },
    { "redis-sentinels", SCHEME_SENTINEL, true },
    { "redis-cluster", SCHEME_CLUSTER, false },
    { "redis-clusters", SCHEME_CLUSTER, true },
};

/* The parts of a URI, still encoded, borrowed from it. data is NULL for what is absent.
 */
typedef struct uri_parts {
    const scheme *scheme;
    cq_str userinfo, host_port, path, query;
} uri_parts;

/* Cut text at the first of the stop bytes: returns what is before, leaves the rest. */
static cq_str take_until(cq_str *text, const char *stops)
{
    size_t len = 0;
    cq_str taken;

    while (len < text->len && !strchr(stops, text->data[len]))
        len++;
    taken = (cq_str){ text->data, len };
    *text = (cq_str){ text->data + len, text->len - len };
    return taken;
}

static cronq_status find_scheme(cq_str name, const scheme **found, cronq_error *err)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strlen(schemes[i].name) != name.len ||
            strncasecmp(schemes[i].name, name.data, name.len) != 0)
            continue;
        *found = &schemes[i];
        return CRONQ_OK;
    }
    return cq_fail(err, CRONQ_EINVAL,
                   "URI: the scheme \"%.*s\" is not known; use redis, rediss, unix, "
                   "redis-sentinel, redis-cluster or sqlite",
                   QUOTE(name));
}

static const char *last_at(cq_str text)
{
    return text.len ? memrchr(text.data, '@', text.len) : NULL;
}

/* Without a scheme only HOST:PORT is meant. */
static cronq_status split_bare(cq_str rest, uri_parts *parts, cronq_error *err)
{
    if (last_at(rest) || memchr(rest.data, '/', rest.len))
        return cq_fail(err, CRONQ_EINVAL,
                       "URI: without redis:// or unix:// in front only HOST:PORT is "
                       "accepted");
    if (!memchr(rest.data, ':', rest.len))
        return cq_fail(err, CRONQ_EINVAL,
                       "URI: neither a scheme (redis://) nor HOST:PORT");
    *parts = (uri_parts){ .scheme = &schemes[0], .host_port = rest };
    return CRONQ_OK;
}

static cronq_status split(cq_str rest, uri_parts *parts, cronq_error *err)
{
    const char *mark = memmem(rest.data, rest.len, "://", 3);
    cronq_status status;
    const char *at;
    cq_str name;

    if (!mark)
        return split_bare(rest, parts, err);
    *parts = (uri_parts){ .scheme = NULL };
    name = (cq_str){ rest.data, (size_t)(mark - rest.data) };
    status = find_scheme(name, &parts->scheme, err);
    if (status)
        return status;
    rest = (cq_str){ mark + 3, rest.len - name.len - 3 };
    parts->host_port = take_until(&rest, "/?#");
    at = last_at(parts->host_port);
    if (parts->host_port.len && last_at(rest))
        return cq_fail(err, CRONQ_EINVAL,
                       "URI: '@' must be written as %%40 behind the host, and '/', '?' "
                       "and '#' as %%2F, %%3F and %%23 in the user and the password");
    if (at) {
        cq_str all = parts->host_port;
        size_t len = (size_t)(at - all.data);

        parts->userinfo = (cq_str){ all.data, len };
        parts->host_port = (cq_str){ at + 1, all.len - len - 1 };
    }
    parts->path = take_until(&rest, "?#");
    if (rest.len && rest.data[0] == '?') {
        rest = (cq_str){ rest.data + 1, rest.len - 1 };
        parts->query = take_until(&rest, "#");
    }
    if (rest.len)
        return cq_fail(err, CRONQ_EINVAL, "URI: a part behind '#' has no meaning here");
    return CRONQ_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A decoded, NUL-terminated copy. */
static cronq_status decode(cq_str text, const char *part, char **out, cronq_error *err)
{
    char *copy = malloc(text.len + 1), *to = copy;

    if (!copy)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < text.len; i++) {
        int high, low, c = (unsigned char)text.data[i];

        if (c == '%') {
            high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            c = high < 0 || low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (c == 0) {
            explicit_bzero(copy, text.len + 1);
            free(copy);
            return cq_fail(err, CRONQ_EINVAL,
                           "URI: a '%%' in the %s is not followed by two hex digits "
                           "other than 00",
                           part);
        }
        *to++ = (char)c;
    }
    *to = '\0';
    *out = copy;
    return CRONQ_OK;
}

/* A decimal number from 0 to limit; -1 for anything else. */
static int64_t number(cq_str text, int64_t limit)
{
    int64_t value = 0;

    if (text.len == 0)
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -1;
        value = value * 10 + (text.data[i] - '0');
        if (value > limit)
            return -1;
    }
    return value;
}

static bool only_digits(cq_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return text.len > 0;
}

static cronq_status set_port(cq_endpoint *endpoint, cq_str text, cronq_error *err)
{
    int64_t port = number(text, UINT16_MAX);

    if (port > 0) {
        endpoint->port = (uint16_t)port;
        return CRONQ_OK;
    }
    if (only_digits(text))
        return cq_fail(err, CRONQ_EINVAL, "URI: port \"%.*s\" is not from 1 to %d",
                       QUOTE(text), UINT16_MAX);
    return cq_fail(err, CRONQ_EINVAL,
                   "URI: the port, behind ':', is not a number from 1 to %d (a password "
                   "is written USER:PASSWORD@HOST)",
                   UINT16_MAX);
}

static cronq_status set_db(cq_endpoint *endpoint, cq_str text, cronq_error *err)
{
    int64_t db = number(text, INT32_MAX);

    if (db < 0)
        return cq_fail(err, CRONQ_EINVAL, "URI: database \"%.*s\" is not from 0 to %d",
                       QUOTE(text), INT32_MAX);
    endpoint->db = (int32_t)db;
    return CRONQ_OK;
}

static cronq_status set_host(cq_endpoint *endpoint, cq_str text, cronq_error *err)
{
    cronq_status status;

    if (text.len == 0)
        return cq_fail(err, CRONQ_EINVAL, "URI: the host is empty");
    if (text.len > HOST_BYTES_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "URI: the host has %zu bytes, at most %d",
                       text.len, HOST_BYTES_LIMIT);
    status = decode(text, "host", &endpoint->host, err);
    if (status)
        return status;
    for (const char *p = endpoint->host; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return cq_fail(err, CRONQ_EINVAL,
                           "URI: byte %zu of the host is a space or a control byte",
                           (size_t)(p - endpoint->host) + 1);
    return CRONQ_OK;
}

/* "[::1]" and what follows it. */
static cronq_status split_brackets(cq_str text, cq_str *host, cq_str *port,
                                   cronq_error *err)
{
    const char *end = memchr(text.data, ']', text.len);
    size_t len = end ? (size_t)(end - text.data) + 1 : 0;

    if (!end || (len < text.len && end[1] != ':'))
        return cq_fail(err, CRONQ_EINVAL,
                       "URI: the host begins with '[' but is not [IPV6] or [IPV6]:PORT");
    *host = (cq_str){ text.data + 1, len - 2 };
    *port = (cq_str){ NULL, 0 };
    if (len < text.len)
        *port = (cq_str){ end + 2, text.len - len - 1 };
    return CRONQ_OK;
}

static cronq_status set_host_port(cq_endpoint *endpoint, cq_str text, cronq_error *err)
{
    cq_str rest = text, host, port = { NULL, 0 };
    cronq_status status = CRONQ_OK;

    if (text.len && text.data[0] == '[') {
        status = split_brackets(text, &host, &port, err);
    } else {
        host = take_until(&rest, ":");
        if (rest.len)
            port = (cq_str){ rest.data + 1, rest.len - 1 };
        if (port.len && memchr(port.data, ':', port.len))
            status = cq_fail(err, CRONQ_EINVAL,
                             "URI: more than one ':' in HOST:PORT; an IPv6 address is "
                             "written [::1]");
    }
    if (!status)
        status = set_host(endpoint, host, err);
    if (!status && port.data)
        status = set_port(endpoint, port, err);
    return status;
}

static cronq_status set_socket(cq_endpoint *endpoint, const uri_parts *parts,
                               cronq_error *err)
{
    cronq_status status;

    if (parts->host_port.len || parts->path.len < 2)
        return cq_fail(
            err, CRONQ_EINVAL,
            "URI: the path of a socket must be absolute: unix:///run/redis.sock");
    status = decode(parts->path, "path", &endpoint->socket_path, err);
    if (status)
        return status;
    if (strlen(endpoint->socket_path) > SOCKET_PATH_LIMIT)
        return cq_fail(err, CRONQ_EINVAL,
                       "URI: the path of the socket has %zu bytes, at most %zu",
                       strlen(endpoint->socket_path), SOCKET_PATH_LIMIT);
    return CRONQ_OK;
}

/* Asynq has USER:PASSWORD, :PASSWORD and nothing; a user alone is one without password.
 */
static cronq_status set_userinfo(cq_endpoint *endpoint, cq_str text, cronq_error *err)
{
    cq_str rest = text, user = take_until(&rest, ":");
    cronq_status status = CRONQ_OK;

    if (user.len)
        status = decode(user, "user", &endpoint->username, err);
    if (!status && rest.len > 1)
        status = decode((cq_str){ rest.data + 1, rest.len - 1 }, "password",
                        &endpoint->password, err);
    return status;
}

/* HOST[:PORT],… into the seeds. The ports' default was set. */
static cronq_status set_seeds(cq_endpoint *endpoint, cq_str list, cronq_error *err)
{
    uint16_t standard = endpoint->port;
    cronq_status status = CRONQ_OK;
    size_t count = 1;

    for (size_t i = 0; i < list.len; i++)
        count += list.data[i] == ',';
    if (count > CQ_SEEDS_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "URI: %zu hosts, at most %d", count,
                       CQ_SEEDS_LIMIT);
    endpoint->seeds = calloc(count, sizeof *endpoint->seeds);
    if (!endpoint->seeds)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < count && !status; i++) {
        cq_str one = take_until(&list, ",");

        if (list.len)
            list = (cq_str){ list.data + 1, list.len - 1 };
        endpoint->port = standard;
        status = set_host_port(endpoint, one, err);
        endpoint->seeds[i] = (cq_address){ endpoint->host, endpoint->port };
        endpoint->host = NULL;
        endpoint->seed_count = i + 1;
    }
    return status;
}

static cronq_status set_parameter(cq_endpoint *endpoint, cq_str key, cq_str value,
                                  cronq_error *err)
{
    if (cq_str_eq(key, CQ_STR("db")))
        return set_db(endpoint, value, err);
    if (endpoint->topology != CQ_TOPOLOGY_SENTINEL)
        return cq_fail(err, CRONQ_EINVAL,
                       "URI: the parameter \"%.*s\" is not known; there is db",
                       QUOTE(key));
    if (!cq_str_eq(key, CQ_STR("master")))
        return cq_fail(err, CRONQ_EINVAL,
                       "URI: the parameter \"%.*s\" is not known; there are master and "
                       "db",
                       QUOTE(key));
    if (endpoint->master_name)
        return cq_fail(err, CRONQ_EINVAL, "URI: master is given twice");
    return decode(value, "master", &endpoint->master_name, err);
}

static cronq_status set_query(cq_endpoint *endpoint, cq_str query, cronq_error *err)
{
    while (query.len) {
        cq_str pair = take_until(&query, "&"), key = take_until(&pair, "=");
        cronq_status status;

        if (query.len)
            query = (cq_str){ query.data + 1, query.len - 1 };
        if (pair.len)
            pair = (cq_str){ pair.data + 1, pair.len - 1 };
        status = set_parameter(endpoint, key, pair, err);
        if (status)
            return status;
    }
    return CRONQ_OK;
}

static cronq_status set_place(cq_endpoint *endpoint, const uri_parts *parts,
                              cronq_error *err)
{
    switch (parts->scheme->kind) {
    case SCHEME_SOCKET:
        return set_socket(endpoint, parts, err);
    case SCHEME_SENTINEL:
        endpoint->topology = CQ_TOPOLOGY_SENTINEL;
        endpoint->port = SENTINEL_PORT;
        return set_seeds(endpoint, parts->host_port, err);
    case SCHEME_CLUSTER:
        endpoint->topology = CQ_TOPOLOGY_CLUSTER;
        return set_seeds(endpoint, parts->host_port, err);
    default:
        return set_host_port(endpoint, parts->host_port, err);
    }
}

static cronq_status check(const cq_endpoint *endpoint, cronq_error *err)
{
    if (endpoint->topology == CQ_TOPOLOGY_SENTINEL &&
        !(endpoint->master_name && *endpoint->master_name))
        return cq_fail(err, CRONQ_EINVAL,
                       "URI: sentinels need the name of the master: ?master=NAME");
    return CRONQ_OK;
}

cronq_status cq_endpoint_read_uri(cq_endpoint *endpoint, const char *uri, bool *tls,
                                  cronq_error *err)
{
    size_t len = uri ? strnlen(uri, URI_BYTES_LIMIT + 1) : 0;
    cronq_status status;
    uri_parts parts = { .scheme = NULL };

    endpoint->port = DEFAULT_PORT;
    if (len == 0)
        return cq_fail(err, CRONQ_EINVAL, "URI: empty");
    if (len > URI_BYTES_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "URI: more than %d bytes", URI_BYTES_LIMIT);
    status = split((cq_str){ uri, len }, &parts, err);
    if (!status)
        status = set_userinfo(endpoint, parts.userinfo, err);
    if (!status)
        status = set_place(endpoint, &parts, err);
    if (!status && parts.scheme->kind != SCHEME_SOCKET && parts.path.len > 1)
        status =
            set_db(endpoint, (cq_str){ parts.path.data + 1, parts.path.len - 1 }, err);
    if (!status)
        status = set_query(endpoint, parts.query, err);
    if (!status)
        status = check(endpoint, err);
    if (!status)
        *tls = parts.scheme->tls;
    return status;
}
