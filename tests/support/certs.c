/* SPDX-License-Identifier: MIT */
/* support/certs.c - certificates of a test's own, good and bad. */
#include "support/certs.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HERE  "IP:127.0.0.1,DNS:localhost"
#define DAY_S (24L * 3600)

static const struct {
    const char *name, *issuer, *names; /* names NULL: an authority */
    long from_s, until_s;              /* from now */
} rows[] = {
    { "ca", "ca", NULL, -DAY_S, DAY_S },
    { "server", "ca", HERE, -DAY_S, DAY_S },
    { "elsewhere", "ca", "DNS:elsewhere.example", -DAY_S, DAY_S },
    { "expired", "ca", HERE, -2 * DAY_S, -DAY_S },
    { "client", "ca", "DNS:client", -DAY_S, DAY_S },
    { "self", "self", HERE, -DAY_S, DAY_S },
    { "other", "other", NULL, -DAY_S, DAY_S },
    { "stranger", "other", "DNS:stranger", -DAY_S, DAY_S },
};

enum { ROWS = sizeof rows / sizeof rows[0] };

typedef struct identity {
    X509 *cert;
    EVP_PKEY *key;
} identity;

static void must(int done, const char *what)
{
    if (done <= 0)
        fail_msg("certificates: %s", what);
}

const char *certs_path(const char *dir, const char *name, const char *suffix)
{
    static char ring[16][128];
    static unsigned at;
    char *out = ring[at++ % 16];

    snprintf(out, sizeof ring[0], "%s/%s.%s", dir, name, suffix);
    return out;
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *extension;
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    must(extension && X509_add_ext(cert, extension, -1), value);
    X509_EXTENSION_free(extension);
}

static void make(identity *made, size_t row, const identity *issuer)
{
    X509_NAME *name;

    made->key = EVP_EC_gen("P-256");
    made->cert = X509_new();
    must(made->key && made->cert, "memory");
    X509_set_version(made->cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made->cert), (long)row + 1);
    X509_gmtime_adj(X509_getm_notBefore(made->cert), rows[row].from_s);
    X509_gmtime_adj(X509_getm_notAfter(made->cert), rows[row].until_s);
    X509_set_pubkey(made->cert, made->key);
    name = X509_get_subject_name(made->cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               (const unsigned char *)rows[row].name, -1, -1, 0);
    X509_set_issuer_name(made->cert, X509_get_subject_name(issuer->cert));
    add_extension(made->cert, issuer->cert, NID_basic_constraints,
                  rows[row].names ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (rows[row].names)
        add_extension(made->cert, issuer->cert, NID_subject_alt_name, rows[row].names);
    must(X509_sign(made->cert, issuer->key, EVP_sha256()), "signing");
}

static void save(const identity *made, const char *dir, const char *name)
{
    FILE *file = fopen(certs_path(dir, name, "pem"), "w");

    must(file && PEM_write_X509(file, made->cert), "writing");
    fclose(file);
    file = fopen(certs_path(dir, name, "key"), "w");
    must(file && PEM_write_PrivateKey(file, made->key, NULL, NULL, 0, NULL, NULL),
         "writing");
    fclose(file);
}

char *certs_make(void)
{
    char *dir = strdup("/tmp/cronq-certs-XXXXXX");
    identity made[ROWS] = { { NULL, NULL } };

    if (!dir || !mkdtemp(dir))
        fail_msg("certificates: no directory");
    for (size_t i = 0; i < ROWS; i++) {
        size_t issuer = 0;

        while (strcmp(rows[issuer].name, rows[i].issuer) != 0)
            issuer++;
        make(&made[i], i, &made[issuer]);
        save(&made[i], dir, rows[i].name);
    }
    for (size_t i = 0; i < ROWS; i++) {
        X509_free(made[i].cert);
        EVP_PKEY_free(made[i].key);
    }
    return dir;
}

void certs_remove(char *dir)
{
    if (!dir)
        return;
    for (size_t i = 0; i < ROWS; i++) {
        unlink(certs_path(dir, rows[i].name, "pem"));
        unlink(certs_path(dir, rows[i].name, "key"));
    }
    rmdir(dir);
    free(dir);
}
