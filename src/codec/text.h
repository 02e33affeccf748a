/* SPDX-License-Identifier: MIT */
/* codec/text.h - small texts that keys and options share. */
#ifndef CQ_CODEC_TEXT_H
#define CQ_CODEC_TEXT_H

#include "base/buf.h"

/* In lower case. */
void cq_append_hex(cq_buf *out, const unsigned char *bytes, size_t len);

/* With zeros in front up to width digits; a sign is not counted. */
void cq_append_padded(cq_buf *out, int64_t value, int width);

/* Nothing but white space, as Unicode defines it; text is UTF-8. */
bool cq_is_blank(cq_str text);

#endif
