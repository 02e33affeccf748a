/* SPDX-License-Identifier: MIT */
/* endpoint.c - where a Redis is and how to enter: the options, copies, and secrets. */
#include "net/uri.h"

#include "base/error.h"
#include "base/options.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEXT_BYTES_LIMIT  8192
#define SECRET_BYTES      4096 /* of a password file */
#define POOL_SIZE_LIMIT   10000
#define CONNECTIONS_A_CPU 10
#define DIAL_TIMEOUT_MS   5000
#define READ_TIMEOUT_MS   3000
#define WAIT_TIMEOUT_MS   1000
#define REPLICAS_LIMIT    1000
#define REDIRECTS         8
#define REDIRECTS_LIMIT   100

void cq_wipe(char **secret)
{
    if (*secret)
        explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

static cronq_status replace(char **to, const char *name, const char *text,
                            cronq_error *err)
{
    char *copy;

    if (!text || !*text)
        return CRONQ_OK;
    if (strnlen(text, TEXT_BYTES_LIMIT + 1) > TEXT_BYTES_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "store options: %s has more than %d bytes",
                       name, TEXT_BYTES_LIMIT);
    copy = strdup(text);
    if (!copy)
        return cq_fail_nomem(err);
    cq_wipe(to);
    *to = copy;
    return CRONQ_OK;
}

static cronq_status read_texts(cq_endpoint *endpoint, const cronq_store_options *options,
                               cronq_error *err)
{
    const struct {
        char **to;
        const char *name, *text;
    } rows[] = {
        { &endpoint->username, "username", options->username },
        { &endpoint->password, "password", options->password },
        { &endpoint->password_file, "password_file", options->password_file },
        { &endpoint->sentinel_username, "sentinel_username", options->sentinel_username },
        { &endpoint->sentinel_password, "sentinel_password", options->sentinel_password },
    };
    cronq_status status = CRONQ_OK;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && !status; i++)
        status = replace(rows[i].to, rows[i].name, rows[i].text, err);
    return status;
}

static uint32_t default_pool_size(void)
{
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof cpus, &cpus) ? 1 : CPU_COUNT(&cpus);

    if (count > POOL_SIZE_LIMIT / CONNECTIONS_A_CPU)
        return POOL_SIZE_LIMIT;
    return (uint32_t)(count < 1 ? 1 : count) * CONNECTIONS_A_CPU;
}

static int64_t timeout_or(int64_t timeout_ms, int64_t fallback_ms)
{
    if (timeout_ms < 0)
        return CRONQ_NEVER;
    return timeout_ms ? timeout_ms : fallback_ms;
}

static void read_numbers(cq_endpoint *endpoint, const cronq_store_options *options)
{
    if (options->db)
        endpoint->db = options->db;
    endpoint->pool_size = options->pool_size ? options->pool_size : default_pool_size();
    endpoint->dial_timeout_ms = timeout_or(options->dial_timeout_ms, DIAL_TIMEOUT_MS);
    endpoint->read_timeout_ms = timeout_or(options->read_timeout_ms, READ_TIMEOUT_MS);
    endpoint->write_timeout_ms =
        timeout_or(options->write_timeout_ms, endpoint->read_timeout_ms);
    endpoint->max_redirects = options->max_redirects ? options->max_redirects : REDIRECTS;
    endpoint->wait_replica_count = options->wait_replica_count;
    endpoint->wait_timeout_ms =
        options->wait_timeout_ms > 0 ? options->wait_timeout_ms : WAIT_TIMEOUT_MS;
}

static cronq_status check_numbers(const cronq_store_options *options, cronq_error *err)
{
    if (options->db < 0)
        return cq_fail(err, CRONQ_EINVAL, "store options: db %d is below 0", options->db);
    if (options->pool_size > POOL_SIZE_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "store options: pool_size %u is above %d",
                       options->pool_size, POOL_SIZE_LIMIT);
    if (options->max_redirects > REDIRECTS_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "store options: max_redirects %u is above %d",
                       options->max_redirects, REDIRECTS_LIMIT);
    if (options->wait_replica_count > REPLICAS_LIMIT)
        return cq_fail(err, CRONQ_EINVAL,
                       "store options: wait_replica_count %u is above %d",
                       options->wait_replica_count, REPLICAS_LIMIT);
    if (options->wait_timeout_ms < 0)
        return cq_fail(err, CRONQ_EINVAL,
                       "store options: wait_timeout_ms %lld is below 0",
                       (long long)options->wait_timeout_ms);
    return CRONQ_OK;
}

static cronq_status read_options(cq_endpoint *endpoint, const cronq_store_options *given,
                                 bool tls, cronq_error *err)
{
    cronq_store_options options;
    cronq_status status =
        cq_options_copy(&options, sizeof options, given, "cronq_store_options", err);

    if (!status)
        status = check_numbers(&options, err);
    if (!status)
        status = read_texts(endpoint, &options, err);
    if (status)
        return status;
    read_numbers(endpoint, &options);
    /* A reply to a WAIT must not be given up before its time is over. */
    if (endpoint->wait_replica_count && endpoint->read_timeout_ms >= 0 &&
        endpoint->read_timeout_ms <= endpoint->wait_timeout_ms)
        return cq_fail(
            err, CRONQ_EINVAL,
            "store options: wait_timeout_ms %lld is not below the read timeout "
            "of %lld ms",
            (long long)endpoint->wait_timeout_ms, (long long)endpoint->read_timeout_ms);
    if (endpoint->topology == CQ_TOPOLOGY_CLUSTER && endpoint->db)
        return cq_fail(err, CRONQ_EINVAL, "a cluster has no database %d, only 0",
                       endpoint->db);
    if (options.tls || tls)
        status = cq_tls_new(options.tls, &endpoint->tls, err);
    return status;
}

cronq_status cq_endpoint_init(cq_endpoint *endpoint, const char *uri,
                              const cronq_store_options *options, cronq_error *err)
{
    cq_endpoint made = { .port = 0 };
    bool tls = false;
    cronq_status status = cq_endpoint_read_uri(&made, uri, &tls, err);

    if (!status)
        status = read_options(&made, options, tls, err);
    if (status) {
        cq_endpoint_release(&made);
        return status;
    }
    *endpoint = made;
    return CRONQ_OK;
}

void cq_endpoint_release(cq_endpoint *endpoint)
{
    for (size_t i = 0; i < endpoint->seed_count; i++)
        free(endpoint->seeds[i].host);
    free(endpoint->seeds);
    free(endpoint->host);
    free(endpoint->socket_path);
    free(endpoint->username);
    free(endpoint->password_file);
    free(endpoint->master_name);
    free(endpoint->sentinel_username);
    cq_wipe(&endpoint->password);
    cq_wipe(&endpoint->sentinel_password);
    cq_tls_free(endpoint->tls);
    *endpoint = (cq_endpoint){ .port = 0 };
}

static bool copy_text(char **to, const char *text)
{
    *to = text ? strdup(text) : NULL;
    return !text || *to;
}

static bool copy_seeds(cq_endpoint *made, const cq_endpoint *from)
{
    made->seed_count = 0;
    made->seeds = calloc(from->seed_count + 1, sizeof *made->seeds);
    if (!made->seeds)
        return false;
    for (size_t i = 0; i < from->seed_count; i++, made->seed_count++) {
        made->seeds[i].port = from->seeds[i].port;
        if (!copy_text(&made->seeds[i].host, from->seeds[i].host))
            return false;
    }
    return true;
}

cronq_status cq_endpoint_copy(cq_endpoint *endpoint, const cq_endpoint *from,
                              cronq_error *err)
{
    cq_endpoint made = *from;
    bool done;

    made.tls = cq_tls_share(from->tls);
    /* Each is written, so that a release after a failure frees nothing of from's. */
    done = copy_seeds(&made, from);
    done = copy_text(&made.host, from->host) && done;
    done = copy_text(&made.socket_path, from->socket_path) && done;
    done = copy_text(&made.username, from->username) && done;
    done = copy_text(&made.password, from->password) && done;
    done = copy_text(&made.password_file, from->password_file) && done;
    done = copy_text(&made.master_name, from->master_name) && done;
    done = copy_text(&made.sentinel_username, from->sentinel_username) && done;
    done = copy_text(&made.sentinel_password, from->sentinel_password) && done;
    if (!done) {
        cq_endpoint_release(&made);
        return cq_fail_nomem(err);
    }
    *endpoint = made;
    return CRONQ_OK;
}

cronq_status cq_endpoint_copy_at(cq_endpoint *endpoint, const cq_endpoint *from,
                                 const char *host, uint16_t port, cronq_error *err)
{
    cronq_status status = cq_endpoint_copy(endpoint, from, err);

    if (status)
        return status;
    free(endpoint->host);
    endpoint->port = port;
    endpoint->topology = CQ_TOPOLOGY_SINGLE;
    if (copy_text(&endpoint->host, host))
        return CRONQ_OK;
    cq_endpoint_release(endpoint);
    return cq_fail_nomem(err);
}

/* ---- secrets ---- */

/* The file's first line. */
static cronq_status read_secret(const char *path, char **out, cronq_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char *text = calloc(1, SECRET_BYTES + 2);
    ssize_t got = fd >= 0 && text ? read(fd, text, SECRET_BYTES + 1) : -1;
    int error = errno;

    if (fd >= 0)
        close(fd);
    if (!text)
        return cq_fail_nomem(err);
    if (got >= 0 && got <= SECRET_BYTES) {
        text[strcspn(text, "\r\n")] = '\0';
        *out = text;
        return CRONQ_OK;
    }
    explicit_bzero(text, SECRET_BYTES);
    free(text);
    if (got > SECRET_BYTES)
        return cq_fail(err, CRONQ_EAUTH, "the password file %s has more than %d bytes",
                       path, SECRET_BYTES);
    return cq_fail_errno(err, CRONQ_EAUTH, error, "cannot read the password file %s",
                         path);
}

cronq_status cq_endpoint_secret(const cq_endpoint *endpoint, char **out, cronq_error *err)
{
    char *copy = NULL;

    if (endpoint->password_file)
        return read_secret(endpoint->password_file, out, err);
    if (!copy_text(&copy, endpoint->password))
        return cq_fail_nomem(err);
    *out = copy;
    return CRONQ_OK;
}

void cq_endpoint_print(const cq_endpoint *endpoint, char *out, size_t size)
{
    if (endpoint->socket_path)
        snprintf(out, size, "%s", endpoint->socket_path);
    else if (!endpoint->host)
        snprintf(out, size, "%s",
                 endpoint->master_name ? endpoint->master_name : "the cluster");
    else if (strchr(endpoint->host, ':'))
        snprintf(out, size, "[%s]:%u", endpoint->host, endpoint->port);
    else
        snprintf(out, size, "%s:%u", endpoint->host, endpoint->port);
}
