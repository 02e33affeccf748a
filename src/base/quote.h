/* SPDX-License-Identifier: MIT */
/* base/quote.h - text within quotes, escaped as Go does it: what the reference writes,
 * and how every error shows the value it is about. */
#ifndef CQ_BASE_QUOTE_H
#define CQ_BASE_QUOTE_H

#include "base/buf.h"

/* The whole text in double quotes, as Go's %q prints it. */
void cq_go_quote(cq_buf *out, cq_str text);

/* A value for an error text: quoted, escaped, valid UTF-8, at most 80 characters in all;
 * what is cut ends in "…". The second form writes to room, with a NUL, and returns it. */
#define CQ_QUOTED_CHARS 80
#define CQ_QUOTED_ROOM  (CQ_QUOTED_CHARS * 4 + 1)
void cq_quote_value(cq_buf *out, cq_str value);
const char *cq_quoted(cq_str value, char room[CQ_QUOTED_ROOM]);

/* Would Go print it as it is? Unicode 15.0: letters, marks, numbers, punctuation, symbols
 * and the ASCII space. */
bool cq_is_printable(uint32_t rune);

#endif
