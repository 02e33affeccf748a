/* SPDX-License-Identifier: MIT */
/* signature.c - signing requests as Standard Webhooks has it. */
#include "handlers/signature.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SECRET_BYTES 4096
#define DIGEST_BYTES 32
#define PREFIX       "whsec_"

typedef struct secret {
    unsigned char data[SECRET_BYTES + 1];
    size_t len;
} secret;

static cronq_status read_file(const char *path, secret *out, cronq_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, out->data, sizeof out->data);
    int code = errno;

    if (fd >= 0)
        close(fd);
    if (got < 0)
        return cq_fail_errno(err, CRONQ_EIO, code, "cannot read the secret file %.200s",
                             path);
    if (got > SECRET_BYTES)
        return cq_fail(err, CRONQ_EINVAL, "the secret file %.200s has over %d bytes",
                       path, SECRET_BYTES);
    out->len = (size_t)got;
    if (out->len > 0 && out->data[out->len - 1] == '\n')
        out->len--;
    if (out->len > 0 && out->data[out->len - 1] == '\r')
        out->len--;
    return CRONQ_OK;
}

/* What comes after the prefix, decoded in place; false: it is no base64. */
static bool decode(secret *key)
{
    unsigned char decoded[SECRET_BYTES];
    size_t skip = strlen(PREFIX), len = key->len - skip, pad = 0;
    int got;

    while (pad < 2 && pad < len && key->data[key->len - 1 - pad] == '=')
        pad++;
    got = len % 4 ? -1 : EVP_DecodeBlock(decoded, key->data + skip, (int)len);
    if (got < 0 || (size_t)got < pad)
        return false;
    key->len = (size_t)got - pad;
    memcpy(key->data, decoded, key->len);
    OPENSSL_cleanse(decoded, sizeof decoded);
    return true;
}

static cronq_status read_secret(const char *path, secret *out, cronq_error *err)
{
    cronq_status status = read_file(path, out, err);

    if (status)
        return status;
    if (out->len >= strlen(PREFIX) && memcmp(out->data, PREFIX, strlen(PREFIX)) == 0 &&
        !decode(out))
        return cq_fail(err, CRONQ_EINVAL,
                       "the secret file %.200s: no base64 after " PREFIX, path);
    if (out->len == 0)
        return cq_fail(err, CRONQ_EINVAL, "the secret file %.200s is empty", path);
    return CRONQ_OK;
}

static bool digest(const secret *key, cq_str head, cronq_bytes body,
                   unsigned char out[DIGEST_BYTES])
{
    EVP_MAC *kind = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = kind ? EVP_MAC_CTX_new(kind) : NULL;
    char name[] = "SHA256";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("digest", name, 0),
                            OSSL_PARAM_construct_end() };
    size_t len = 0;
    bool done = mac && EVP_MAC_init(mac, key->data, key->len, params) &&
                EVP_MAC_update(mac, (const void *)head.data, head.len) &&
                EVP_MAC_update(mac, body.data, body.len) &&
                EVP_MAC_final(mac, out, &len, DIGEST_BYTES);

    EVP_MAC_CTX_free(mac);
    EVP_MAC_free(kind);
    return done && len == DIGEST_BYTES;
}

cronq_status cq_signature_make(const char *secret_file, const char *id, int64_t at_s,
                               cronq_bytes body, char out[CQ_SIGNATURE_BYTES],
                               cronq_error *err)
{
    unsigned char sum[DIGEST_BYTES], text[CQ_SIGNATURE_BYTES - 3];
    char *head;
    secret key;
    cronq_status status = read_secret(secret_file, &key, err);
    bool done;
    int len;

    if (status)
        return status;
    len = asprintf(&head, "%s.%lld.", id, (long long)at_s);
    done = len >= 0 && digest(&key, (cq_str){ head, (size_t)len }, body, sum);
    OPENSSL_cleanse(&key, sizeof key);
    if (len >= 0)
        free(head);
    if (!done)
        return cq_fail(err, CRONQ_ENOMEM, "the request can not be signed");
    EVP_EncodeBlock(text, sum, sizeof sum);
    snprintf(out, CQ_SIGNATURE_BYTES, "v1,%s", (const char *)text);
    return CRONQ_OK;
}
