/* SPDX-License-Identifier: MIT */
/* digest.c - a short name for what something is made of. */
#include "codec/digest.h"

#include "codec/text.h"

#include <openssl/evp.h>

#define DIGEST_BYTES 16

static bool add_part(EVP_MD_CTX *context, cronq_bytes part)
{
    uint64_t len = part.data ? part.len : UINT64_MAX;
    unsigned char prefix[8];

    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)(len >> (8 * i));
    return EVP_DigestUpdate(context, prefix, sizeof prefix) == 1 &&
           (!part.data || EVP_DigestUpdate(context, part.data, part.len) == 1);
}

void cq_digest(cq_buf *out, const cronq_bytes *parts, size_t count)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;

    for (size_t i = 0; good && i < count; i++)
        good = add_part(context, parts[i]);
    good = good && EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    if (good)
        cq_append_hex(out, digest, DIGEST_BYTES);
    else if (!out->status)
        out->status = CRONQ_EUNSUPPORTED;
}
