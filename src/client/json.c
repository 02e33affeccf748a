/* SPDX-License-Identifier: MIT */
/* json.c - pushing payloads that are JSON (jansson). */
#include "base/error.h"
#include "base/options.h"
#include "client/internal.h"

#include <errno.h>
#include <jansson.h>

#define DUMP_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY)

static cronq_status write_json(const cronq_client *client, const json_t *value,
                               cq_buf *out, cronq_error *err)
{
    size_t size;
    char *to;

    errno = 0; /* jansson says only that it failed */
    size = json_dumpb(value, NULL, 0, DUMP_FLAGS);
    if (size == 0 && errno == ENOMEM)
        return cq_fail_nomem(err);
    if (size == 0)
        return cq_fail(err, CRONQ_EINVAL,
                       "payload: the value cannot be written as JSON (a loop, or a text "
                       "that is not UTF-8)");
    if (size > client->payload_limit_bytes)
        return cq_fail(err, CRONQ_ETOOBIG, "payload has %zu bytes as JSON; at most %zu",
                       size, client->payload_limit_bytes);
    to = cq_buf_reserve(out, size);
    if (!to)
        return cq_fail_nomem(err);
    if (json_dumpb(value, to, size, DUMP_FLAGS) != size)
        return cq_fail_nomem(err);
    out->len = size;
    return CRONQ_OK;
}

static cronq_status push_json(cronq_client *client, const cronq_task *task,
                              const json_t *value, const cq_ask *ask,
                              cronq_task_info **info, cronq_error *err)
{
    cronq_task copy;
    cq_buf text;
    cronq_status status;

    if (!client || !task || !value)
        return cq_fail(err, CRONQ_EINVAL, "%s is NULL",
                       !client ? "client"
                       : !task ? "task"
                               : "the JSON payload");
    status = cq_options_copy(&copy, sizeof copy, task, "cronq_task", err);
    if (status)
        return status;
    if (copy.payload.data || copy.payload.len)
        return cq_fail(err, CRONQ_EINVAL,
                       "the task has a payload of %zu bytes beside the JSON one",
                       copy.payload.len);
    cq_buf_init(&text, client->payload_limit_bytes);
    status = write_json(client, value, &text, err);
    copy.payload = (cronq_bytes){ text.data, text.len };
    if (!status)
        status = cq_client_push_one(client, &copy, ask, info, err);
    cq_buf_release(&text);
    return status;
}

cronq_status cronq_client_push_json(cronq_client *client, const cronq_task *task,
                                    const struct json_t *payload, cronq_task_info **info,
                                    cronq_error *err)
{
    return push_json(client, task, payload, &(cq_ask){ 0 }, info, err);
}

cronq_status cronq_client_push_json_in(cronq_client *client, const cronq_task *task,
                                       const struct json_t *payload, int64_t delay_ms,
                                       cronq_task_info **info, cronq_error *err)
{
    cq_ask ask = { .when = CQ_WHEN_IN, .when_ms = delay_ms };

    return push_json(client, task, payload, &ask, info, err);
}

cronq_status cronq_client_push_json_at(cronq_client *client, const cronq_task *task,
                                       const struct json_t *payload, int64_t at_ms,
                                       cronq_task_info **info, cronq_error *err)
{
    cq_ask ask = { .when = CQ_WHEN_AT, .when_ms = at_ms };

    return push_json(client, task, payload, &ask, info, err);
}

static cronq_status push_pack(cronq_client *client, const cronq_task *task,
                              const cq_ask *ask, cronq_task_info **info, cronq_error *err,
                              const char *format, va_list args)
{
    json_error_t why;
    json_t *value;
    cronq_status status;

    if (!format)
        return cq_fail(err, CRONQ_EINVAL, "the pack format is NULL");
    value = json_vpack_ex(&why, 0, format, args);
    if (!value && json_error_code(&why) == json_error_out_of_memory)
        return cq_fail_nomem(err);
    if (!value)
        return cq_fail(err, CRONQ_EINVAL, "pack format \"%.80s\", position %d: %s",
                       format, why.position, why.text);
    status = push_json(client, task, value, ask, info, err);
    json_decref(value);
    return status;
}

cronq_status cronq_client_push_pack(cronq_client *client, const cronq_task *task,
                                    cronq_task_info **info, cronq_error *err,
                                    const char *format, ...)
{
    cronq_status status;
    va_list args;

    va_start(args, format);
    status = push_pack(client, task, &(cq_ask){ 0 }, info, err, format, args);
    va_end(args);
    return status;
}

cronq_status cronq_client_push_pack_in(cronq_client *client, const cronq_task *task,
                                       int64_t delay_ms, cronq_task_info **info,
                                       cronq_error *err, const char *format, ...)
{
    cq_ask ask = { .when = CQ_WHEN_IN, .when_ms = delay_ms };
    cronq_status status;
    va_list args;

    va_start(args, format);
    status = push_pack(client, task, &ask, info, err, format, args);
    va_end(args);
    return status;
}

cronq_status cronq_client_push_pack_at(cronq_client *client, const cronq_task *task,
                                       int64_t at_ms, cronq_task_info **info,
                                       cronq_error *err, const char *format, ...)
{
    cq_ask ask = { .when = CQ_WHEN_AT, .when_ms = at_ms };
    cronq_status status;
    va_list args;

    va_start(args, format);
    status = push_pack(client, task, &ask, info, err, format, args);
    va_end(args);
    return status;
}
