/* SPDX-License-Identifier: MIT */
/* build_store.c - from values to the URI and the options of the store. */
#include "config/build.h"

#include "base/state.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define LIST_BYTES         8192
#define EMBEDDED_URI_BYTES 8192

/* Indices of the choices in keys.h. */
enum { MODE_SINGLE, MODE_SENTINEL, MODE_CLUSTER, MODE_EMBEDDED };
enum { NETWORK_TCP, NETWORK_UNIX };

static const cq_value *get(const cq_build *build, cq_key key)
{
    return &build->root->values[key];
}

static int64_t number(const cq_build *build, cq_key key)
{
    return get(build, key)->number;
}

/* NULL when not given or empty. */
static const char *text(const cq_build *build, cq_key key)
{
    const cq_value *value = get(build, key);

    return value->given && value->len ? value->text : NULL;
}

/* HOST, HOST:PORT, [IPv6]:PORT, :PORT; what a URI could misread is refused. */
static bool is_host_and_port(const char *addr)
{
    const char *colon = strrchr(addr, ':');
    const char *bracket = strrchr(addr, ']');
    char *end;
    unsigned long port;

    for (const char *at = addr; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr(".-_:[]", *at))
            return false;
    if (!colon || (bracket && colon < bracket))
        return true;
    if (!bracket && memchr(addr, ':', (size_t)(colon - addr)))
        return false;
    port = strtoul(colon + 1, &end, 10);
    return isdigit((unsigned char)colon[1]) && *end == '\0' && port > 0 && port < 65536;
}

static const char *tls_suffix(const cq_build *build)
{
    return number(build, CQ_K_WORK_TLS) ? "s" : "";
}

static const char *tcp_uri(cq_build *build, const cq_value *addr)
{
    if (strstr(addr->text, "://") || strchr(addr->text, '@')) {
        cq_find_error(build->findings, addr->mark, "WorkConf.Addr",
                      "is a URI; write HOST:PORT, and use Username, Password and DB");
        return NULL;
    }
    if (!is_host_and_port(addr->text)) {
        cq_quoted quoted;

        cq_find_error(build->findings, addr->mark, "WorkConf.Addr",
                      "%s is not HOST:PORT with a port of 1 to 65535",
                      cq_quote(&quoted, cq_str_of(addr->text)));
        return NULL;
    }
    return cq_build_text(build, "redis%s://%s%s/%lld", tls_suffix(build),
                         addr->text[0] == ':' ? "localhost" : "", addr->text,
                         (long long)number(build, CQ_K_WORK_DB));
}

static const char *unix_uri(cq_build *build, const cq_value *addr)
{
    char escaped[3 * 1024 + 1];
    size_t len = 0;

    if (addr->text[0] != '/') {
        cq_find_error(build->findings, addr->mark, "WorkConf.Addr",
                      "with Network: unix it must be an absolute path");
        return NULL;
    }
    for (const char *at = addr->text; *at && len + 4 < sizeof escaped; at++) {
        bool plain = isalnum((unsigned char)*at) || strchr("/.-_~", *at);

        len += (size_t)snprintf(escaped + len, sizeof escaped - len,
                                plain ? "%c" : "%%%02X", (unsigned char)*at);
    }
    return cq_build_text(build, "redis-socket://%s?db=%lld", escaped,
                         (long long)number(build, CQ_K_WORK_DB));
}

/* What an unnamed mode would be, from the keys that are there. */
static int64_t guess_mode(const cq_build *build)
{
    if (get(build, CQ_K_WORK_ADDR)->given)
        return MODE_SINGLE;
    if (text(build, CQ_K_WORK_MASTER) || get(build, CQ_K_WORK_SENTINELS)->count)
        return MODE_SENTINEL;
    if (get(build, CQ_K_WORK_ADDRS)->count)
        return MODE_CLUSTER;
    return text(build, CQ_K_WORK_PATH) ? MODE_EMBEDDED : -1;
}

static cq_mark mark_of_mode(const cq_build *build)
{
    static const cq_key keys[] = { CQ_K_WORK_MODE, CQ_K_WORK_MASTER, CQ_K_WORK_SENTINELS,
                                   CQ_K_WORK_ADDRS, CQ_K_WORK_PATH };

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (get(build, keys[i])->given)
            return get(build, keys[i])->mark;
    return build->root->mark;
}

/* "a:1,b:2" of a list of addresses; NULL: reported. */
static const char *join(cq_build *build, cq_key key, char out[LIST_BYTES])
{
    const cq_value *value = get(build, key);
    size_t len = 0;

    out[0] = '\0';
    if (!value->count) {
        cq_find_error(build->findings, mark_of_mode(build), "WorkConf.Mode",
                      "needs %s, a list of HOST:PORT", cq_key_rows[key].path);
        return NULL;
    }
    for (size_t i = 0; i < value->count; i++) {
        if (!value->texts[i][0] || value->texts[i][0] == ':' ||
            !is_host_and_port(value->texts[i])) {
            cq_quoted quoted;

            cq_find_error(build->findings, value->mark, cq_key_rows[key].path,
                          "%s is not HOST:PORT with a port of 1 to 65535",
                          cq_quote(&quoted, cq_str_of(value->texts[i])));
            return NULL;
        }
        len += (size_t)snprintf(out + len, LIST_BYTES - len, "%s%s", i ? "," : "",
                                value->texts[i]);
        if (len >= LIST_BYTES) {
            cq_find_error(build->findings, value->mark, cq_key_rows[key].path,
                          "has more than %d bytes together", LIST_BYTES - 1);
            return NULL;
        }
    }
    return out;
}

static const char *sentinel_uri(cq_build *build)
{
    const char *master = text(build, CQ_K_WORK_MASTER);
    char list[LIST_BYTES], escaped[3 * 1024 + 1];
    size_t len = 0;

    if (!join(build, CQ_K_WORK_SENTINELS, list))
        return NULL;
    if (!master) {
        cq_find_error(build->findings, mark_of_mode(build), "WorkConf.Mode",
                      "sentinel needs WorkConf.MasterName");
        return NULL;
    }
    for (const char *at = master; *at && len + 4 < sizeof escaped; at++) {
        bool plain = isalnum((unsigned char)*at) || strchr(".-_~", *at);

        len += (size_t)snprintf(escaped + len, sizeof escaped - len,
                                plain ? "%c" : "%%%02X", (unsigned char)*at);
    }
    return cq_build_text(build, "redis-sentinel%s://%s/%lld?master=%s", tls_suffix(build),
                         list, (long long)number(build, CQ_K_WORK_DB), escaped);
}

static const char *cluster_uri(cq_build *build)
{
    char list[LIST_BYTES];

    if (!join(build, CQ_K_WORK_ADDRS, list))
        return NULL;
    if (number(build, CQ_K_WORK_DB)) {
        cq_find_error(build->findings, get(build, CQ_K_WORK_DB)->mark, "WorkConf.DB",
                      "a cluster has only database 0");
        return NULL;
    }
    return cq_build_text(build, "redis-cluster%s://%s", tls_suffix(build), list);
}

/* Without a path the store that the program has when nobody names one. */
static const char *embedded_uri(cq_build *build)
{
    const char *path = text(build, CQ_K_WORK_PATH), *uri = NULL;
    cronq_error err;
    cq_buf buf;

    cq_buf_init(&buf, EMBEDDED_URI_BYTES);
    if (path)
        cq_sqlite_uri(&buf, path);
    else if (cq_state_uri(&buf, &err))
        cq_find_error(build->findings, mark_of_mode(build), "WorkConf.Mode", "%s",
                      err.text);
    if (buf.len && !buf.status)
        uri = cq_build_text(build, "%s", cq_buf_text(&buf));
    cq_buf_release(&buf);
    return uri;
}

static const char *build_uri(cq_build *build)
{
    const cq_value *mode = get(build, CQ_K_WORK_MODE), *addr = get(build, CQ_K_WORK_ADDR);
    int64_t kind = mode->given ? mode->number : guess_mode(build);

    if (mode->is_wrong)
        return NULL;
    if (kind == MODE_SENTINEL)
        return sentinel_uri(build);
    if (kind == MODE_CLUSTER)
        return cluster_uri(build);
    if (kind == MODE_EMBEDDED)
        return embedded_uri(build);
    if (addr->given)
        return number(build, CQ_K_WORK_NETWORK) == NETWORK_UNIX ? unix_uri(build, addr)
                                                                : tcp_uri(build, addr);
    if (kind == MODE_SINGLE && !addr->is_wrong)
        cq_find_error(build->findings, mode->mark, "WorkConf.Mode",
                      "single needs WorkConf.Addr");
    return NULL;
}

/* What is said about TLS without switching it on was meant to protect something. */
static const cronq_tls_options *build_tls(cq_build *build)
{
    static const cronq_tls_version versions[] = { CRONQ_TLS_1_2, CRONQ_TLS_1_3 };
    static const cq_key keys[] = { CQ_K_WORK_TLS_CA,      CQ_K_WORK_TLS_DIR,
                                   CQ_K_WORK_TLS_CERT,    CQ_K_WORK_TLS_KEY,
                                   CQ_K_WORK_TLS_NAME,    CQ_K_WORK_TLS_VERSION,
                                   CQ_K_WORK_TLS_INSECURE };
    cronq_tls_options *tls;

    if (!number(build, CQ_K_WORK_TLS)) {
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
            if (get(build, keys[i])->given)
                cq_find_error(build->findings, get(build, keys[i])->mark,
                              cq_key_rows[keys[i]].path, "needs WorkConf.TLS: true");
        return NULL;
    }
    tls = cq_build_take(build, 1, sizeof *tls);
    if (tls)
        *tls = *CRONQ_TLS_OPTIONS(.ca_file = text(build, CQ_K_WORK_TLS_CA),
                                  .ca_dir = text(build, CQ_K_WORK_TLS_DIR),
                                  .cert_file = text(build, CQ_K_WORK_TLS_CERT),
                                  .key_file = text(build, CQ_K_WORK_TLS_KEY),
                                  .server_name = text(build, CQ_K_WORK_TLS_NAME),
                                  .min_version =
                                      versions[number(build, CQ_K_WORK_TLS_VERSION)],
                                  .insecure_skip_verify =
                                      number(build, CQ_K_WORK_TLS_INSECURE) != 0);
    return tls;
}

void cq_build_store(cq_build *build)
{
    cronq_store_options *store = &build->content->store;

    build->content->uri = build_uri(build);
    *store = *CRONQ_STORE_OPTIONS(
            .username = text(build, CQ_K_WORK_USERNAME),
            .password = text(build, CQ_K_WORK_PASSWORD),
            .password_file = text(build, CQ_K_WORK_PASSWORD_FILE),
            .pool_size = (uint32_t)number(build, CQ_K_WORK_POOL),
            .dial_timeout_ms = number(build, CQ_K_WORK_DIAL),
            .read_timeout_ms = number(build, CQ_K_WORK_READ),
            .write_timeout_ms = number(build, CQ_K_WORK_WRITE), .tls = build_tls(build),
            .sentinel_username = text(build, CQ_K_WORK_SENTINEL_USER),
            .sentinel_password = text(build, CQ_K_WORK_SENTINEL_PASSWORD),
            .max_redirects = (uint32_t)number(build, CQ_K_WORK_REDIRECTS),
            .wait_replica_count = (uint32_t)number(build, CQ_K_WAIT_REPLICAS),
            .wait_timeout_ms = number(build, CQ_K_WAIT_TIMEOUT),
            .archive_max_count = (uint32_t)number(build, CQ_K_ARCHIVE_SIZE),
            .archive_max_age_ms = number(build, CQ_K_ARCHIVE_AGE));
}
