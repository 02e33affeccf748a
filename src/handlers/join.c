/* SPDX-License-Identifier: MIT */
/* join.c - an aggregator that puts payloads one after the other. */
#include <cronq/handlers.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

#include <jansson.h>

#define JOINED_LIMIT_BYTES ((size_t)256 << 20)

static bool is_json(cronq_bytes payload)
{
    const size_t flags = JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL;
    json_t *value =
        payload.len ? json_loadb(payload.data, payload.len, flags, NULL) : NULL;
    bool is_one = value != NULL;

    json_decref(value);
    return is_one;
}

static void add_line(cq_buf *out, cronq_bytes payload)
{
    cq_buf_append(out, payload.data, payload.len);
    cq_buf_append_char(out, '\n');
}

static void add_element(cq_buf *out, cronq_bytes payload, bool is_first)
{
    if (!is_first)
        cq_buf_append_char(out, ',');
    if (is_json(payload))
        cq_buf_append(out, payload.data, payload.len);
    else
        cq_json_string(out, (cq_str){ payload.data, payload.len });
}

static void join(const cronq_aggregation *aggregation, cronq_join_kind kind, cq_buf *out)
{
    const bool is_array = kind == CRONQ_JOIN_JSON_ARRAY;

    if (is_array)
        cq_buf_append_char(out, '[');
    for (size_t i = 0; i < cronq_aggregation_count(aggregation); i++) {
        cronq_bytes payload = cronq_aggregation_payload(aggregation, i);

        if (is_array)
            add_element(out, payload, i == 0);
        else
            add_line(out, payload);
    }
    if (is_array)
        cq_buf_append_char(out, ']');
}

cronq_status cronq_join_payloads(cronq_aggregation *aggregation, void *arg,
                                 cronq_error *err)
{
    const cronq_join *how = arg;
    cronq_status status;
    cq_buf out;

    if (!aggregation || !how || !how->type)
        return cq_fail(err, CRONQ_EINVAL, "aggregation, join or its type is NULL");
    cq_buf_init(&out, JOINED_LIMIT_BYTES);
    join(aggregation, how->kind, &out);
    if (out.status)
        status = cq_fail(err, out.status, "the joined payloads: %s",
                         cronq_status_text(out.status));
    else
        status = cronq_aggregation_merge(
            aggregation, CRONQ_TASK(.type = how->type, .payload = { out.data, out.len }),
            err);
    cq_buf_release(&out);
    return status;
}
