/* SPDX-License-Identifier: MIT */
/* handlers/signature.h - signing requests as Standard Webhooks has it. */
#ifndef CQ_HANDLERS_SIGNATURE_H
#define CQ_HANDLERS_SIGNATURE_H

#include "base/buf.h"

#define CQ_SIGNATURE_BYTES 64

/* "v1,BASE64" of the HMAC-SHA256 of "ID.TIMESTAMP.BODY"; the secret is read from the
 * file: "whsec_" and base64, or any text without its last line break. EIO: it can not be
 * read; EINVAL: it is empty, over 4 KiB, or no base64. */
cronq_status cq_signature_make(const char *secret_file, const char *id, int64_t at_s,
                               cronq_bytes body, char out[CQ_SIGNATURE_BYTES],
                               cronq_error *err);

#endif
