/* SPDX-License-Identifier: MIT */
/* expand.c - putting the environment into a value. */
#include "config/tree.h"

#include <ctype.h>
#include <stdlib.h>

#define NAME_BYTES 200

static size_t name_length(cq_str text)
{
    size_t len = 0;

    while (len < text.len &&
           (isalpha((unsigned char)text.data[len]) || text.data[len] == '_' ||
            (len > 0 && isdigit((unsigned char)text.data[len]))))
        len++;
    return len;
}

/* inside is what stands between the braces. */
static bool expand_one(cq_buf *out, cq_str inside, cq_mark mark, cq_findings *findings)
{
    size_t len = name_length(inside);
    bool has_default = inside.len >= len + 2 && memcmp(inside.data + len, ":-", 2) == 0;
    char name[NAME_BYTES];
    const char *value;
    cq_quoted quoted;

    if (len == 0 || len >= sizeof name || (len < inside.len && !has_default)) {
        cq_find_error(findings, mark, NULL,
                      "%s in ${}: write ${NAME} or ${NAME:-text}; a dollar sign is $$",
                      cq_quote(&quoted, inside));
        return false;
    }
    memcpy(name, inside.data, len);
    name[len] = '\0';
    value = getenv(name);
    if (value && (*value || !has_default)) {
        cq_buf_append_text(out, value);
        return true;
    }
    if (has_default) {
        cq_buf_append(out, inside.data + len + 2, inside.len - len - 2);
        return true;
    }
    cq_find_error(findings, mark, NULL,
                  "${%s}: this variable is not set; ${%s:-text} gives a default", name,
                  name);
    return false;
}

bool cq_expand(cq_buf *out, cq_str text, cq_mark mark, cq_findings *findings)
{
    const char *at = text.data, *end = text.data + text.len, *brace;

    while (at < end) {
        if (end - at >= 2 && at[0] == '$' && at[1] == '$') {
            cq_buf_append_char(out, '$');
            at += 2;
        } else if (end - at >= 2 && at[0] == '$' && at[1] == '{') {
            brace = memchr(at, '}', (size_t)(end - at));
            if (!brace) {
                cq_find_error(findings, mark, NULL, "a ${ has no }; a dollar sign is $$");
                return false;
            }
            at += 2;
            if (!expand_one(out, (cq_str){ at, (size_t)(brace - at) }, mark, findings))
                return false;
            at = brace + 1;
        } else {
            cq_buf_append_char(out, *at++);
        }
    }
    if (out->status == CRONQ_OK)
        return true;
    if (out->status == CRONQ_ENOMEM)
        cq_find_nomem(findings);
    cq_find_error(findings, mark, NULL,
                  "with its variables put in, this value has more than %zu bytes",
                  CQ_YAML_MAX_BYTES);
    return false;
}
