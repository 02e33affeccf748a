/* SPDX-License-Identifier: MIT */
/* base/json.h - writing JSON text (RFC 8259): log lines and --json output.
 *
 * Commas are put in by themselves: a value after another value, or a key after a value,
 * gets one. Nesting is the caller's to balance. */
#ifndef CQ_BASE_JSON_H
#define CQ_BASE_JSON_H

#include "base/buf.h"

/* A string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void cq_json_string(cq_buf *out, cq_str text);

void cq_json_open(cq_buf *out, char bracket);  /* '{' or '[' */
void cq_json_close(cq_buf *out, char bracket); /* '}' or ']' */
void cq_json_key(cq_buf *out, const char *key);
void cq_json_int(cq_buf *out, int64_t value);
void cq_json_bool(cq_buf *out, bool value);
void cq_json_null(cq_buf *out);
void cq_json_double(cq_buf *out,
                    double value); /* shortest that reads back; NaN is null */

/* Key and value in one. A NULL text is written as null. */
void cq_json_key_text(cq_buf *out, const char *key, const char *text);
void cq_json_key_int(cq_buf *out, const char *key, int64_t value);
void cq_json_key_bool(cq_buf *out, const char *key, bool value);

#endif
