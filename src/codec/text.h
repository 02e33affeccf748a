/* SPDX-License-Identifier: MIT */
/* codec/text.h - small texts that keys and options share: numbers, hex digits, escapes.
 */
#ifndef CQ_CODEC_TEXT_H
#define CQ_CODEC_TEXT_H

#include "base/buf.h"

/* In lower case. */
void cq_append_hex(cq_buf *out, const unsigned char *bytes, size_t len);

/* With zeros in front up to width digits; a sign is not counted. */
void cq_append_padded(cq_buf *out, int64_t value, int width);

/* Nothing but white space, as Unicode defines it; text is UTF-8. */
bool cq_is_blank(cq_str text);

/* Would Go print it as it is? Unicode 15.0: letters, marks, numbers, punctuation, symbols
 * and the ASCII space. */
bool cq_is_printable(uint32_t rune);

/* One character, or one byte that is none, at the start of text (len > 0), as it stands
 * within Go's %q: itself or an escape, with a NUL. Returns the length of what it is for;
 * *chars is the number of characters written. */
#define CQ_ESCAPE_ROOM 11
size_t cq_go_escape(const char *text, size_t len, char out[CQ_ESCAPE_ROOM],
                    size_t *chars);

#endif
