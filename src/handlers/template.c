/* SPDX-License-Identifier: MIT */
/* template.c - arguments of a command, some of which a task fills in. */
#include "handlers/template.h"

#include "base/error.h"
#include "base/json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define VALUE_MAX_BYTES ((size_t)128 << 10) /* the kernel takes no longer argument */
#define MEMBER          "payload."

typedef enum source {
    SOURCE_NONE,
    SOURCE_PAYLOAD,
    SOURCE_MEMBER,
    SOURCE_TASK_ID,
    SOURCE_QUEUE,
    SOURCE_TYPE,
    SOURCE_RETRY,
    SOURCE_MAX_RETRY
} source;

static const struct {
    const char *name;
    source source;
} names[] = {
    { "payload", SOURCE_PAYLOAD }, { "task_id", SOURCE_TASK_ID },
    { "queue", SOURCE_QUEUE },     { "type", SOURCE_TYPE },
    { "retry", SOURCE_RETRY },     { "max_retry", SOURCE_MAX_RETRY },
};
#define NAME_COUNT (sizeof names / sizeof names[0])

/* What is filled in: an argument, and the payload when it was read as JSON. */
typedef struct filling {
    const cronq_attempt *attempt;
    cq_arena *arena;
    json_t *object;
    bool is_read;
} filling;

/* The text between the braces. */
static source source_of(cq_str name)
{
    for (size_t i = 0; i < NAME_COUNT; i++)
        if (cq_str_eq(name, cq_str_of(names[i].name)))
            return names[i].source;
    if (name.len > strlen(MEMBER) && cq_str_starts(name, CQ_STR(MEMBER)))
        return SOURCE_MEMBER;
    return SOURCE_NONE;
}

/* The whole argument; name is what is between the braces. */
static source parse(const char *arg, cq_str *name)
{
    size_t len = strlen(arg);

    if (len < 3 || arg[0] != '{' || arg[len - 1] != '}' ||
        strcspn(arg + 1, "{}") != len - 2)
        return SOURCE_NONE;
    *name = (cq_str){ arg + 1, len - 2 };
    return source_of(*name);
}

cronq_status cq_template_check(const char *arg, bool *is_placeholder, cronq_error *err)
{
    cq_str name;
    bool is_whole = parse(arg, &name) != SOURCE_NONE;

    for (const char *at = arg; !is_whole && (at = strchr(at, '{')); at++) {
        size_t len = strcspn(at + 1, "{}");

        if (at[1 + len] == '}' && source_of((cq_str){ at + 1, len }))
            return cq_fail(err, CRONQ_EINVAL,
                           "{%.*s} must be an argument by itself, not a part of one",
                           len < 80 ? (int)len : 80, at + 1);
    }
    *is_placeholder = is_whole;
    return CRONQ_OK;
}

static const char *number(const filling *f, int32_t value)
{
    char text[16];

    snprintf(text, sizeof text, "%d", (int)value);
    return cq_arena_dup(f->arena, text, strlen(text));
}

static cronq_status read_object(filling *f, cronq_error *err)
{
    cronq_bytes payload = cronq_attempt_payload(f->attempt);

    if (!f->is_read)
        f->object = json_loadb(payload.data ? payload.data : "", payload.len,
                               JSON_REJECT_DUPLICATES, NULL);
    f->is_read = true;
    if (json_is_object(f->object))
        return CRONQ_OK;
    return cq_fail(err, CRONQ_EINVAL, "the payload is not a JSON object");
}

/* A text as it is, all else as compact JSON. */
static cronq_status read_member(filling *f, cq_str key, cq_str *out, bool *is_text,
                                cronq_error *err)
{
    char *name, *dumped = NULL;
    const json_t *member;
    cronq_status status = read_object(f, err);

    if (status)
        return status;
    name = cq_arena_dup(f->arena, key.data, key.len);
    if (!name)
        return cq_fail_nomem(err);
    member = json_object_get(f->object, name);
    if (!member || json_is_null(member))
        return cq_fail(err, CRONQ_EINVAL, "the payload has no member \"%.80s\"", name);
    *is_text = json_is_string(member);
    if (*is_text) {
        *out = (cq_str){ json_string_value(member), json_string_length(member) };
        return CRONQ_OK;
    }
    dumped = json_dumps(member, JSON_COMPACT | JSON_ENCODE_ANY);
    if (dumped)
        *out = (cq_str){ cq_arena_dup(f->arena, dumped, strlen(dumped)), strlen(dumped) };
    free(dumped);
    return dumped && out->data ? CRONQ_OK : cq_fail_nomem(err);
}

static cq_str of_attempt(const filling *f, source from)
{
    cronq_bytes payload = cronq_attempt_payload(f->attempt);

    switch (from) {
    case SOURCE_PAYLOAD:
        return (cq_str){ payload.len ? payload.data : "", payload.len };
    case SOURCE_TASK_ID:
        return cq_str_of(cronq_attempt_task_id(f->attempt));
    case SOURCE_QUEUE:
        return cq_str_of(cronq_attempt_queue(f->attempt));
    case SOURCE_TYPE:
        return cq_str_of(cronq_attempt_type(f->attempt));
    case SOURCE_RETRY:
        return cq_str_of(number(f, cronq_attempt_retry_count(f->attempt)));
    default:
        return cq_str_of(number(f, cronq_attempt_max_retry(f->attempt)));
    }
}

static cronq_status check_value(cq_str value, bool options_over, cronq_error *err)
{
    if (memchr(value.data, '\0', value.len))
        return cq_fail(err, CRONQ_EINVAL, "it has a NUL character");
    if (value.len >= VALUE_MAX_BYTES)
        return cq_fail(err, CRONQ_EINVAL, "it has %zu bytes, at most %zu", value.len,
                       VALUE_MAX_BYTES - 1);
    if (!options_over && value.len > 0 && value.data[0] == '-')
        return cq_fail(
            err, CRONQ_EINVAL,
            "it begins with \"-\" and could be taken for an option; put \"--\" "
            "before it in the command");
    return CRONQ_OK;
}

static cronq_status fill_one(filling *f, const char *arg, bool options_over,
                             const char **out, cronq_error *err)
{
    cq_str name = { NULL, 0 }, value = { NULL, 0 };
    source from = parse(arg, &name);
    cronq_error why = { 0 };
    cronq_status status = CRONQ_OK;
    bool is_text;

    *out = arg;
    if (from == SOURCE_NONE)
        return CRONQ_OK;
    if (from == SOURCE_MEMBER)
        status = read_member(
            f, (cq_str){ name.data + strlen(MEMBER), name.len - strlen(MEMBER) }, &value,
            &is_text, &why);
    else
        value = of_attempt(f, from);
    if (!status && !value.data)
        return cq_fail_nomem(err);
    if (!status)
        status = check_value(value, options_over, &why);
    if (status)
        return cq_fail(err, status, "%.100s: %s", arg, why.text);
    *out = cq_arena_dup(f->arena, value.data, value.len);
    return *out ? CRONQ_OK : cq_fail_nomem(err);
}

cronq_status cq_template_fill(const char *const *argv, bool options_over,
                              const cronq_attempt *attempt, cq_arena *arena,
                              const char *const **out, cronq_error *err)
{
    filling f = { attempt, arena, NULL, false };
    cronq_status status = CRONQ_OK;
    const char **filled;
    size_t count = 0;

    while (argv[count])
        count++;
    filled = cq_arena_calloc(arena, count + 1, sizeof *filled);
    if (!filled)
        return cq_fail_nomem(err);
    for (size_t i = 0; i < count && !status; i++) {
        status = fill_one(&f, argv[i], options_over, &filled[i], err);
        options_over |= strcmp(argv[i], "--") == 0;
    }
    json_decref(f.object);
    if (!status)
        *out = filled;
    return status;
}

/* By a buffer of its own: the writer of JSON puts commas between values. */
static void append_text(cq_buf *out, cq_str text)
{
    cq_buf quoted;

    cq_buf_init(&quoted, out->limit);
    cq_json_string(&quoted, text);
    cq_buf_append_str(out, cq_buf_str(&quoted));
    if (quoted.status && !out->status)
        out->status = quoted.status;
    cq_buf_release(&quoted);
}

static cronq_status expand_member(filling *f, cq_str key, cq_buf *out, cronq_error *err)
{
    cq_str value = { NULL, 0 };
    bool is_text = false;
    cronq_status status = read_member(f, key, &value, &is_text, err);

    if (status)
        return status;
    if (is_text)
        append_text(out, value);
    else
        cq_buf_append_str(out, value);
    return CRONQ_OK;
}

static cronq_status expand_one(filling *f, source from, cq_str name, cq_buf *out,
                               cronq_error *err)
{
    size_t skip = strlen(MEMBER);
    cronq_error why = { 0 };
    cronq_status status = CRONQ_OK;

    if (from == SOURCE_MEMBER)
        status =
            expand_member(f, (cq_str){ name.data + skip, name.len - skip }, out, &why);
    else if (from == SOURCE_PAYLOAD || from == SOURCE_RETRY || from == SOURCE_MAX_RETRY)
        cq_buf_append_str(out, of_attempt(f, from));
    else
        append_text(out, of_attempt(f, from));
    if (status)
        return cq_fail(err, status, "{%.*s}: %s", name.len < 80 ? (int)name.len : 80,
                       name.data, why.text);
    return out->status ? cq_fail(err, CRONQ_EINVAL, "the body is longer than %zu bytes",
                                 out->limit)
                       : CRONQ_OK;
}

cronq_status cq_template_expand(const char *text, const cronq_attempt *attempt,
                                cq_arena *arena, cq_buf *out, cronq_error *err)
{
    filling f = { attempt, arena, NULL, false };
    cronq_status status = CRONQ_OK;

    while (*text && !status) {
        size_t len = *text == '{' ? strcspn(text + 1, "{}") : 0;
        cq_str name = { text + 1, len };
        source from = len > 0 && text[1 + len] == '}' ? source_of(name) : SOURCE_NONE;

        if (from == SOURCE_NONE) {
            size_t plain = 1 + strcspn(text + 1, "{");

            cq_buf_append(out, text, plain);
            text += plain;
        } else {
            status = expand_one(&f, from, name, out, err);
            text += len + 2;
        }
    }
    json_decref(f.object);
    return status;
}
