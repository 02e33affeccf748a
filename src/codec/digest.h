/* SPDX-License-Identifier: MIT */
/* codec/digest.h - a short name for what something is made of. */
#ifndef CQ_CODEC_DIGEST_H
#define CQ_CODEC_DIGEST_H

#include "base/buf.h"

/* Append 32 hex digits: SHA-256, cut to its first half, over all parts, each with its
 * length before it, so that parts cannot run into one another. A part without data
 * differs from an empty one. EUNSUPPORTED in out when there is no SHA-256. */
void cq_digest(cq_buf *out, const cronq_bytes *parts, size_t count);

#endif
