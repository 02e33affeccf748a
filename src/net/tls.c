/* SPDX-License-Identifier: MIT */
/* tls.c - how to talk TLS: certificates to trust and to show, shared by connections.
 *
 * Bytes go through a BIO of our own, because OpenSSL's writes with write(2), which raises
 * SIGPIPE. The queue of OpenSSL's errors is the thread's: it is emptied before each call,
 * so that what is found there afterwards is ours. */
#include "net/tls.h"

#include "base/error.h"
#include "base/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define REASON_BYTES 256

struct cq_tls {
    _Atomic uint32_t users;
    SSL_CTX *context;
    char *server_name;
    bool verifies;
};

/* ---- bytes ---- */

static int to_retry(BIO *bio, ssize_t done, int retry)
{
    BIO_clear_retry_flags(bio);
    if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
    return (int)done;
}

static int fd_of(BIO *bio)
{
    return (int)(intptr_t)BIO_get_data(bio);
}

static int bio_write(BIO *bio, const char *data, int size)
{
    return to_retry(bio, send(fd_of(bio), data, (size_t)size, MSG_NOSIGNAL),
                    BIO_FLAGS_WRITE);
}

static int bio_read(BIO *bio, char *data, int size)
{
    ssize_t got = recv(fd_of(bio), data, (size_t)size, 0);

    if (got == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return to_retry(bio, got, BIO_FLAGS_READ);
}

static long bio_control(BIO *bio, int what, long number, void *pointer)
{
    (void)number, (void)pointer;
    if (what == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return what == BIO_CTRL_FLUSH;
}

/* One for all sessions and never freed: they outlive what they were opened with, and
 * OpenSSL has numbers for few kinds. */
static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
    int type = BIO_get_new_index();
    BIO_METHOD *made =
        type < 0 ? NULL : BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "cronq");

    if (made && BIO_meth_set_write(made, bio_write) &&
        BIO_meth_set_read(made, bio_read) && BIO_meth_set_ctrl(made, bio_control))
        method = made;
    else
        BIO_meth_free(made);
}

/* ---- what was wrong ---- */

/* "no such file", "key values mismatch": the innermost reason, never data. */
static const char *reason(char out[REASON_BYTES])
{
    unsigned long code = ERR_peek_error();
    const char *text = ERR_reason_error_string(code);

    if (ERR_SYSTEM_ERROR(code))
        text = strerrordesc_np(ERR_GET_REASON(code));
    snprintf(out, REASON_BYTES, "%s", text ? text : "unknown reason");
    return out;
}

static cronq_status fail_file(const char *option, const char *path, cronq_error *err)
{
    char why[REASON_BYTES];

    return cq_fail(err, CRONQ_EINVAL, "TLS: %s \"%s\" cannot be used: %s", option, path,
                   reason(why));
}

/* Reasons that mean "I do not accept who you are". */
static bool is_refusal(int code)
{
    switch (code) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return true;
    default:
        return false;
    }
}

static cronq_status fail_protocol(const SSL *ssl, cronq_error *err)
{
    unsigned long error = ERR_peek_error();
    int code = ERR_GET_REASON(error);
    long verdict = SSL_get_verify_result(ssl);
    char why[REASON_BYTES];

    if (ERR_GET_LIB(error) == ERR_LIB_SSL && code == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return cq_fail(err, CRONQ_EIO,
                       "the server closed the connection without a TLS goodbye");
    if (code == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return cq_fail(err, CRONQ_EAUTH, "TLS: the server's certificate is refused: %s",
                       X509_verify_cert_error_string(verdict));
    if (code == SSL_R_WRONG_VERSION_NUMBER || code == SSL_R_PACKET_LENGTH_TOO_LONG)
        return cq_fail(err, CRONQ_EIO, "TLS: the server does not speak TLS on this port");
    if (is_refusal(code))
        return cq_fail(err, CRONQ_EAUTH, "TLS: the server refuses us: %s", reason(why));
    return cq_fail(err, CRONQ_EIO, "TLS: %s", reason(why));
}

/* What a call that did not succeed means: wait (*events), or fail. */
static cronq_status judge(SSL *ssl, int result, const char *doing, short *events,
                          cronq_error *err)
{
    int system_error = errno;

    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
        *events = POLLIN;
        return CRONQ_OK;
    case SSL_ERROR_WANT_WRITE:
        *events = POLLOUT;
        return CRONQ_OK;
    case SSL_ERROR_ZERO_RETURN:
        return cq_fail(err, CRONQ_EIO, "the server closed the connection");
    case SSL_ERROR_SYSCALL:
        if (!system_error)
            return cq_fail(err, CRONQ_EIO, "the server closed the connection");
        return cq_fail_errno(err, CRONQ_EIO, system_error, "%s", doing);
    default:
        return fail_protocol(ssl, err);
    }
}

/* ---- the context ---- */

static bool given(const char *text)
{
    return text && *text;
}

static cronq_status load_authorities(cq_tls *tls, const cronq_tls_options *options,
                                     cronq_error *err)
{
    SSL_CTX *context = tls->context;

    if (given(options->ca_file) && !SSL_CTX_load_verify_file(context, options->ca_file))
        return fail_file("ca_file", options->ca_file, err);
    if (given(options->ca_dir) && !SSL_CTX_load_verify_dir(context, options->ca_dir))
        return fail_file("ca_dir", options->ca_dir, err);
    if (!given(options->ca_file) && !given(options->ca_dir) &&
        !SSL_CTX_set_default_verify_paths(context))
        return cq_fail(err, CRONQ_EINVAL, "TLS: the system has no authorities to trust");
    return CRONQ_OK;
}

/* An encrypted key is refused: there is nobody to ask. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

static cronq_status load_ours(cq_tls *tls, const cronq_tls_options *options,
                              cronq_error *err)
{
    const char *key = options->key_file;

    if (given(options->cert_file) != given(key))
        return cq_fail(err, CRONQ_EINVAL, "TLS: cert_file and key_file go together");
    if (!given(key))
        return CRONQ_OK;
    SSL_CTX_set_default_passwd_cb(tls->context, no_passphrase);
    if (!SSL_CTX_use_certificate_chain_file(tls->context, options->cert_file))
        return fail_file("cert_file", options->cert_file, err);
    if (!SSL_CTX_use_PrivateKey_file(tls->context, key, SSL_FILETYPE_PEM) ||
        !SSL_CTX_check_private_key(tls->context))
        return fail_file("key_file", key, err);
    return CRONQ_OK;
}

static cronq_status set_version(cq_tls *tls, cronq_tls_version least, cronq_error *err)
{
    int version = least == CRONQ_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;

    if (least != CRONQ_TLS_VERSION_DEFAULT && least != CRONQ_TLS_1_2 &&
        least != CRONQ_TLS_1_3)
        return cq_fail(err, CRONQ_EINVAL, "TLS: min_version %d is not 12 or 13",
                       (int)least);
    if (!SSL_CTX_set_min_proto_version(tls->context, version))
        return cq_fail(err, CRONQ_EINVAL, "TLS: version 1.%d is switched off here",
                       (int)least % 10);
    return CRONQ_OK;
}

static cronq_status fill(cq_tls *tls, const cronq_tls_options *options, cronq_error *err)
{
    cronq_status status;

    pthread_once(&method_once, make_method);
    tls->context = SSL_CTX_new(TLS_client_method());
    if (!tls->context || !method)
        return cq_fail_nomem(err);
    if (given(options->server_name)) {
        tls->server_name = strdup(options->server_name);
        if (!tls->server_name)
            return cq_fail_nomem(err);
    }
    tls->verifies = !options->insecure_skip_verify;
    SSL_CTX_set_verify(tls->context, tls->verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       NULL);
    SSL_CTX_set_mode(tls->context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                       SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(tls->context, SSL_SESS_CACHE_OFF);
    status = set_version(tls, options->min_version, err);
    if (!status && tls->verifies)
        status = load_authorities(tls, options, err);
    if (!status)
        status = load_ours(tls, options, err);
    return status;
}

cronq_status cq_tls_new(const cronq_tls_options *given_options, cq_tls **out,
                        cronq_error *err)
{
    cronq_tls_options options;
    cronq_status status = cq_options_copy(&options, sizeof options, given_options,
                                          "cronq_tls_options", err);
    cq_tls *tls;

    if (status)
        return status;
    tls = calloc(1, sizeof *tls);
    if (!tls)
        return cq_fail_nomem(err);
    atomic_init(&tls->users, 1);
    ERR_clear_error();
    status = fill(tls, &options, err);
    ERR_clear_error();
    if (status) {
        cq_tls_free(tls);
        return status;
    }
    *out = tls;
    return CRONQ_OK;
}

cq_tls *cq_tls_share(cq_tls *tls)
{
    if (tls)
        atomic_fetch_add(&tls->users, 1);
    return tls;
}

void cq_tls_free(cq_tls *tls)
{
    if (!tls || atomic_fetch_sub(&tls->users, 1) > 1)
        return;
    SSL_CTX_free(tls->context);
    free(tls->server_name);
    free(tls);
}

bool cq_tls_verifies(const cq_tls *tls)
{
    return tls->verifies;
}

/* ---- sessions ---- */

static bool is_ip(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, address) == 1 ||
           inet_pton(AF_INET6, host, address) == 1;
}

/* Whom the certificate must name; a name, not an IP, is also told to the server. */
static bool expect_host(const cq_tls *tls, SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (is_ip(host))
        return !tls->verifies || X509_VERIFY_PARAM_set1_ip_asc(param, host);
    /* SSL_set_tlsext_host_name, but for its cast: the name is copied. */
    if (!SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                  (void *)(uintptr_t)host))
        return false;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return !tls->verifies || X509_VERIFY_PARAM_set1_host(param, host, 0);
}

cronq_status cq_tls_open(cq_tls *tls, int fd, const char *host, cq_tls_session **out,
                         cronq_error *err)
{
    const char *name = tls->server_name ? tls->server_name : host;
    SSL *ssl = SSL_new(tls->context);
    BIO *bio = ssl ? BIO_new(method) : NULL;

    ERR_clear_error();
    if (!bio || !name || !expect_host(tls, ssl, name)) {
        BIO_free(bio);
        SSL_free(ssl);
        return cq_fail(err, CRONQ_EINVAL, "TLS: the server's name \"%s\" cannot be used",
                       name ? name : "");
    }
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    *out = ssl;
    return CRONQ_OK;
}

void cq_tls_close(cq_tls_session *session)
{
    if (!session)
        return;
    ERR_clear_error();
    /* After a failure OpenSSL refuses this by itself. */
    if (SSL_is_init_finished(session))
        (void)SSL_shutdown(session);
    ERR_clear_error();
    SSL_free(session);
}

cronq_status cq_tls_handshake(cq_tls_session *session, short *events, cronq_error *err)
{
    int result;

    ERR_clear_error();
    errno = 0;
    result = SSL_do_handshake(session);
    *events = 0;
    return result == 1 ? CRONQ_OK : judge(session, result, "TLS failed", events, err);
}

/* What is left inside of a record would not wake poll(2). */
cronq_status cq_tls_read(cq_tls_session *session, void *data, size_t size, size_t *count,
                         short *events, cronq_error *err)
{
    size_t total = 0, got = 0;
    int result = 1;

    *events = 0;
    do {
        ERR_clear_error();
        errno = 0;
        result = SSL_read_ex(session, (char *)data + total, size - total, &got);
        total += result > 0 ? got : 0;
    } while (result > 0 && total < size && SSL_pending(session) > 0);
    *count = total;
    return result > 0 ? CRONQ_OK : judge(session, result, "reading failed", events, err);
}

cronq_status cq_tls_write(cq_tls_session *session, const void *data, size_t size,
                          size_t *count, short *events, cronq_error *err)
{
    int result;

    ERR_clear_error();
    errno = 0;
    *events = 0;
    *count = 0;
    result = SSL_write_ex(session, data, size, count);
    return result > 0 ? CRONQ_OK : judge(session, result, "writing failed", events, err);
}

bool cq_tls_pending(const cq_tls_session *session)
{
    return SSL_pending(session) > 0;
}
