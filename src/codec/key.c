/* SPDX-License-Identifier: MIT */
/* key.c - names of keys in the store, and which names are allowed in them. */
#include "codec/key.h"

#include "base/civil.h"
#include "base/error.h"
#include "base/utf8.h"
#include "codec/text.h"

#include <openssl/evp.h>
#include <stdio.h>

void cq_key_prefix(cq_buf *out, cq_str queue)
{
    cq_buf_append_str(out, CQ_STR("asynq:{"));
    cq_buf_append_str(out, queue);
    cq_buf_append_str(out, CQ_STR("}:"));
}

void cq_key_of(cq_buf *out, cq_str queue, const char *name)
{
    cq_key_prefix(out, queue);
    cq_buf_append_text(out, name);
}

void cq_key_task(cq_buf *out, cq_str queue, cq_str id)
{
    cq_key_of(out, queue, "t:");
    cq_buf_append_str(out, id);
}

void cq_key_group(cq_buf *out, cq_str queue, cq_str group)
{
    cq_key_of(out, queue, "g:");
    cq_buf_append_str(out, group);
}

void cq_key_aggregation_set(cq_buf *out, cq_str queue, cq_str group, cq_str set_id)
{
    cq_key_group(out, queue, group);
    cq_buf_append_char(out, ':');
    cq_buf_append_str(out, set_id);
}

/* MD5 names the payload, it secures nothing; a host may still forbid it. */
static void append_md5(cq_buf *out, cronq_bytes payload)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (out->status)
        return;
    if (EVP_Digest(payload.data, payload.len, digest, &len, EVP_md5(), NULL) != 1) {
        out->status = CRONQ_EUNSUPPORTED;
        return;
    }
    cq_append_hex(out, digest, len);
}

void cq_key_unique(cq_buf *out, cq_str queue, cq_str type, cronq_bytes payload)
{
    cq_key_of(out, queue, "unique:");
    cq_buf_append_str(out, type);
    cq_buf_append_char(out, ':');
    if (payload.data)
        append_md5(out, payload);
}

void cq_key_daily(cq_buf *out, cq_str queue, const char *name, int64_t now_s)
{
    cq_civil day = cq_civil_of(now_s);

    cq_key_of(out, queue, name);
    cq_buf_append_char(out, ':');
    cq_append_padded(out, day.year, 4);
    cq_buf_append_char(out, '-');
    cq_append_padded(out, day.month, 2);
    cq_buf_append_char(out, '-');
    cq_append_padded(out, day.day, 2);
}

static void append_process(cq_buf *out, const char *prefix, cq_str host, int pid,
                           cq_str server_id)
{
    cq_buf_append_text(out, prefix);
    cq_buf_append_char(out, '{');
    cq_buf_append_str(out, host);
    cq_buf_append_char(out, ':');
    cq_buf_append_int(out, pid);
    cq_buf_append_char(out, ':');
    cq_buf_append_str(out, server_id);
    cq_buf_append_char(out, '}');
}

void cq_key_server(cq_buf *out, cq_str host, int pid, cq_str server_id)
{
    append_process(out, CQ_KEY_SERVERS ":", host, pid, server_id);
}

void cq_key_workers(cq_buf *out, cq_str host, int pid, cq_str server_id)
{
    append_process(out, CQ_KEY_WORKERS ":", host, pid, server_id);
}

void cq_key_scheduler(cq_buf *out, cq_str scheduler_id)
{
    cq_buf_append_text(out, CQ_KEY_SCHEDULERS ":{");
    cq_buf_append_str(out, scheduler_id);
    cq_buf_append_char(out, '}');
}

void cq_key_history(cq_buf *out, cq_str entry_id)
{
    cq_buf_append_text(out, "asynq:scheduler_history:");
    cq_buf_append_str(out, entry_id);
}

/* Names: one row says what each may hold. */
typedef struct name_rule {
    const char *field;
    size_t limit_bytes;
    bool no_braces; /* they would end the hash tag early */
} name_rule;

static const name_rule queue_rule = { "queue", CQ_NAME_LIMIT_BYTES, true };
static const name_rule type_rule = { "task type", CQ_ID_LIMIT_BYTES, false };
static const name_rule id_rule = { "task id", CQ_ID_LIMIT_BYTES, false };
static const name_rule group_rule = { "group", CQ_ID_LIMIT_BYTES, false };

static bool has_control(cq_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7F)
            return true;
    return false;
}

static bool has_brace(cq_str text)
{
    return text.len &&
           (memchr(text.data, '{', text.len) || memchr(text.data, '}', text.len));
}

static cronq_status refuse(const name_rule *rule, cq_str value, const char *reason,
                           cronq_error *err)
{
    char shown[CQ_QUOTED_ROOM];

    return cq_fail(err, CRONQ_EINVAL, "%s %s %s", rule->field, cq_quoted(value, shown),
                   reason);
}

static cronq_status check_name(const name_rule *rule, cq_str name, cronq_error *err)
{
    char reason[80];

    if (name.len > rule->limit_bytes) {
        snprintf(reason, sizeof reason, "has %zu bytes; at most %zu are allowed",
                 name.len, rule->limit_bytes);
        return refuse(rule, name, reason, err);
    }
    if (!cq_utf8_valid(name.data, name.len))
        return refuse(rule, name, "is not valid UTF-8", err);
    if (cq_is_blank(name))
        return refuse(rule, name, "is blank", err);
    if (has_control(name))
        return refuse(rule, name, "has a control character", err);
    if (rule->no_braces && has_brace(name))
        return refuse(rule, name, "has a brace, which would break the keys' hash tag",
                      err);
    return CRONQ_OK;
}

cronq_status cq_check_queue(cq_str name, cronq_error *err)
{
    return check_name(&queue_rule, name, err);
}

cronq_status cq_check_type(cq_str type, cronq_error *err)
{
    return check_name(&type_rule, type, err);
}

cronq_status cq_check_task_id(cq_str id, cronq_error *err)
{
    return check_name(&id_rule, id, err);
}

cronq_status cq_check_group(cq_str group, cronq_error *err)
{
    return check_name(&group_rule, group, err);
}
