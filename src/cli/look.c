/* SPDX-License-Identifier: MIT */
/* cli/look.c - what the subcommands that look at a store and repair it share. */
#include "cli/look.h"

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A file that was named is not made by looking: the name may be misspelt. */
int cq_cli_look(cq_cli *cli, cq_cli_work *work)
{
    const char *uri = cq_cli_need_uri(cli);
    const cronq_store_options *store =
        CRONQ_STORE_OPTIONS(.must_exist = cq_cli_uri(cli) != NULL);
    cronq_inspector *inspector = NULL;
    cronq_error err;
    int code;

    if (!uri)
        return CQ_CLI_USAGE;
    code = cronq_inspector_new(uri, store, &inspector, &err) ? cq_cli_report(cli, &err)
                                                             : work(cli, inspector);
    cronq_inspector_free(inspector);
    return code;
}

/* ---- leave ---- */

static bool says_yes(void)
{
    char line[16];

    if (!fgets(line, sizeof line, stdin))
        return false;
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, "y") == 0 || strcmp(line, "yes") == 0;
}

static void ask(const char *what)
{
    cq_buf question;

    cq_buf_init(&question, 1 << 13);
    cq_cli_clean(&question, cq_str_of(what));
    fprintf(stderr, "%s? [y/N] ", cq_buf_text(&question));
    fflush(stderr);
    cq_buf_release(&question);
}

int cq_cli_confirm(const cq_cli *cli, const char *format, ...)
{
    cronq_error what;
    va_list args;

    if (cq_cli_has(cli, "yes"))
        return CQ_CLI_OK;
    va_start(args, format);
    cq_vfail(&what, CRONQ_EINVAL, format, args);
    va_end(args);
    if (cli->json || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return cq_cli_misuse(cli, "%s: --yes is needed to do it", what.text);
    ask(what.text);
    return says_yes() ? CQ_CLI_OK : cq_cli_fail(cli, CQ_CLI_RUNTIME, "nothing was done");
}

/* ---- which tasks ---- */

cronq_state cq_cli_state(const cq_cli *cli)
{
    return (cronq_state)(cq_cli_number(cli, "state", -1) + 1);
}

cronq_filter cq_cli_filter(const cq_cli *cli)
{
    const char *part = cq_cli_text(cli, "payload");

    return (cronq_filter){ .group = cq_cli_text(cli, "group"),
                           .type_prefix = cq_cli_text(cli, "type"),
                           .id_prefix = cq_cli_text(cli, "id"),
                           .payload_part = { part, part ? strlen(part) : 0 },
                           .older_than_ms = cq_cli_number(cli, "older", 0) };
}

bool cq_cli_filters(const cq_cli *cli)
{
    static const char *const names[] = { "state",   "type",  "id",
                                         "payload", "older", "group" };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (cq_cli_has(cli, names[i]))
            return true;
    return false;
}

/* ---- JSON ---- */

static void base64(cq_buf *out, cronq_bytes bytes)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = bytes.data;

    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        unsigned three = (unsigned)at[i] << 16 | (n > 1 ? (unsigned)at[i + 1] << 8 : 0) |
                         (n > 2 ? at[i + 2] : 0u);

        for (size_t d = 0; d < 4; d++)
            cq_buf_append_char(out, d <= n ? digits[three >> (18 - 6 * d) & 63] : '=');
    }
}

void cq_cli_bytes_json(cq_buf *out, const char *name, cronq_bytes bytes)
{
    bool text = cq_utf8_valid(bytes.data, bytes.len);
    char key[64];
    cq_buf encoded;

    cq_json_key(out, name);
    if (text && bytes.data)
        cq_json_string(out, (cq_str){ bytes.data, bytes.len });
    else
        cq_json_null(out);
    if (text)
        return;
    snprintf(key, sizeof key, "%s_base64", name);
    cq_buf_init(&encoded, out->limit);
    base64(&encoded, bytes);
    cq_json_key(out, key);
    cq_json_string(out, cq_buf_str(&encoded));
    if (encoded.status && !out->status)
        out->status = encoded.status;
    cq_buf_release(&encoded);
}

static void headers_json(cq_buf *out, const cronq_task_info *info)
{
    cq_json_key(out, "headers");
    cq_json_open(out, '{');
    for (size_t i = 0; i < cronq_task_info_header_count(info); i++) {
        cronq_header header = cronq_task_info_header_at(info, i);

        cq_json_string(out, cq_str_of(header.key));
        cq_buf_append_char(out, ':');
        cq_json_string(out, cq_str_of(header.value));
    }
    cq_json_close(out, '}');
}

typedef int64_t number_getter(const cronq_task_info *info);

static int64_t max_retry(const cronq_task_info *info)
{
    return cronq_task_info_max_retry(info);
}

static int64_t retry_count(const cronq_task_info *info)
{
    return cronq_task_info_retry_count(info);
}

static const struct {
    const char *key;
    number_getter *get;
} numbers[] = {
    { "max_retry", max_retry },
    { "retry_count", retry_count },
    { "timeout_ms", cronq_task_info_timeout_ms },
    { "deadline_at_ms", cronq_task_info_deadline_at_ms },
    { "retain_for_ms", cronq_task_info_retain_for_ms },
    { "next_at_ms", cronq_task_info_next_at_ms },
    { "pending_since_at_ms", cronq_task_info_pending_since_ms },
    { "last_failed_at_ms", cronq_task_info_last_failed_at_ms },
    { "archived_at_ms", cronq_task_info_archived_at_ms },
    { "completed_at_ms", cronq_task_info_completed_at_ms },
    { "kept_until_at_ms", cronq_task_info_kept_until_ms },
};

static const struct {
    const char *key;
    bool (*get)(const cronq_task_info *info);
} flags[] = {
    { "unique", cronq_task_info_is_unique },
    { "orphaned", cronq_task_info_is_orphaned },
    { "cancelled", cronq_task_info_is_cancelled },
    { "merging", cronq_task_info_is_merging },
};

static void failures_json(cq_buf *out, const cronq_task_info *info)
{
    cq_json_key(out, "failures");
    cq_json_open(out, '[');
    for (size_t i = 0; i < cronq_task_info_failure_count(info); i++) {
        cronq_failure failure = cronq_task_info_failure_at(info, i);

        cq_json_open(out, '{');
        cq_json_key_int(out, "at_ms", failure.at_ms);
        cq_json_key_int(out, "attempt", failure.attempt);
        cq_json_key_text(out, "host", failure.host);
        cq_json_key_text(out, "text", failure.text);
        cq_json_close(out, '}');
    }
    cq_json_close(out, ']');
}

void cq_cli_task_json(cq_buf *out, const cronq_task_info *info, bool failures)
{
    cq_json_open(out, '{');
    cq_json_key_text(out, "id", cronq_task_info_id(info));
    cq_json_key_text(out, "type", cronq_task_info_type(info));
    cq_json_key_text(out, "queue", cronq_task_info_queue(info));
    cq_json_key_text(out, "state", cronq_state_name(cronq_task_info_state(info)));
    cq_json_key_text(out, "group", cronq_task_info_group(info));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        cq_json_key_int(out, numbers[i].key, numbers[i].get(info));
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        cq_json_key_bool(out, flags[i].key, flags[i].get(info));
    cq_json_key_text(out, "error", cronq_task_info_error(info));
    if (failures)
        failures_json(out, info);
    headers_json(out, info);
    cq_cli_bytes_json(out, "payload", cronq_task_info_payload(info));
    cq_cli_bytes_json(out, "result", cronq_task_info_result(info));
    cq_json_close(out, '}');
}

void cq_cli_count(cq_buf *out, uint64_t count, const char *thing)
{
    cq_buf_printf(out, "%llu %s%s", (unsigned long long)count, thing,
                  count == 1 ? "" : "s");
}
