/* SPDX-License-Identifier: MIT */
/* cli/cron.c - cronq cron: when expressions activate, and whether they are right. */
#include "base/clock.h"
#include "base/json.h"
#include "base/rfc3339.h"
#include "cli/told.h"

#include <cronq/cron.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT_BYTES  ((size_t)16 << 20)
#define PRINT_LIMIT_BYTES ((size_t)16 << 20)
#define LINE_LIMIT_BYTES  ((size_t)4 << 10) /* of a verdict */
#define TIMES_MAX         100000
#define INSTANT_BYTES     64 /* as text */

/* What `next` prints. */
typedef struct found {
    const cronq_cron *cron;
    int64_t *times_ms;
    size_t count;
    bool exhausted, stuck;
} found;

/* The recorded rule of the reference, which may stay at one instant (see docs/cron.md).
 */
static void find(found *to, int64_t after_ms, size_t wanted)
{
    while (to->count < wanted) {
        int64_t at_ms = cronq_cron_next_compat(to->cron, after_ms);

        to->exhausted = at_ms == CRONQ_CRON_NEVER;
        if (to->exhausted)
            return;
        to->stuck = to->stuck || at_ms <= after_ms;
        to->times_ms[to->count++] = after_ms = at_ms;
    }
}

static void append_time(cq_buf *out, const cronq_cron *cron, int64_t at_ms)
{
    cq_rfc3339_print_s(out, at_ms / CQ_MS_PER_S, 0, cronq_cron_offset_s(cron, at_ms));
}

static void append_json(cq_buf *out, const found *times, const char *spec)
{
    cq_buf text;

    cq_buf_init(&text, INSTANT_BYTES);
    cq_json_open(out, '{');
    cq_json_key_text(out, "spec", spec);
    cq_json_key(out, "next");
    cq_json_open(out, '[');
    for (size_t i = 0; i < times->count; i++) {
        cq_buf_reset(&text);
        append_time(&text, times->cron, times->times_ms[i]);
        cq_json_string(out, cq_buf_str(&text));
    }
    cq_json_close(out, ']');
    cq_json_key(out, "next_unix");
    cq_json_open(out, '[');
    for (size_t i = 0; i < times->count; i++)
        cq_json_int(out, times->times_ms[i] / CQ_MS_PER_S);
    cq_json_close(out, ']');
    cq_json_key_bool(out, "exhausted", times->exhausted);
    cq_json_close(out, '}');
    cq_buf_release(&text);
}

static int print_found(const cq_cli *cli, const found *times)
{
    cq_buf out;

    if (times->stuck)
        fprintf(stderr,
                "%s: clocks are set back here, and the reference stays at one time; "
                "a scheduler of cronq goes on\n",
                cli->path);
    if (times->exhausted && !cli->json)
        fprintf(stderr, "%s: no %stime within five years\n", cli->path,
                times->count ? "later " : "");
    if (times->count == 0 && !cli->json)
        return CQ_CLI_OK;
    cq_buf_init(&out, PRINT_LIMIT_BYTES);
    if (cli->json)
        append_json(&out, times, cli->args[0]);
    for (size_t i = 0; i < times->count && !cli->json; i++) {
        append_time(&out, times->cron, times->times_ms[i]);
        cq_buf_append_char(&out, '\n');
    }
    return cq_cli_print(cli, &out);
}

/* The second in which --from lies; the next activation is later than that. */
static int take_from(const cq_cli *cli, int64_t *from_ms)
{
    const char *text = cq_cli_text(cli, "from");
    int64_t from_s = 0;
    int32_t ns;
    cronq_error err;

    *from_ms = cq_wall_ns() / CQ_NS_PER_MS;
    if (!text)
        return CQ_CLI_OK;
    if (cq_rfc3339_parse_s(cq_str_of(text), &from_s, &ns, &err))
        return cq_cli_misuse(cli, "--from: %s", err.text);
    *from_ms = from_s * CQ_MS_PER_S;
    return CQ_CLI_OK;
}

static int run_next(cq_cli *cli)
{
    size_t wanted = (size_t)cq_cli_number(cli, "number", 0);
    found times = { 0 };
    cronq_cron *cron;
    cronq_error err;
    int64_t from_ms;
    int code = take_from(cli, &from_ms);

    if (code)
        return code;
    if (cronq_cron_parse(cli->args[0], cq_cli_text(cli, "tz"), &cron, &err))
        return cq_cli_report(cli, &err);
    times = (found){ .cron = cron, .times_ms = calloc(wanted, sizeof(int64_t)) };
    if (times.times_ms) {
        find(&times, from_ms, wanted);
        code = print_found(cli, &times);
    } else {
        code = cq_cli_fail(cli, CQ_CLI_RUNTIME, "out of memory");
    }
    free(times.times_ms);
    cronq_cron_free(cron);
    return code;
}

static int read_file(const cq_cli *cli, const char *name, cq_buf *out)
{
    FILE *stream = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
    int error = stream ? 0 : errno;
    char block[8192];
    size_t got;

    while (!error && (got = fread(block, 1, sizeof block, stream)) > 0 && !out->status)
        cq_buf_append(out, block, got);
    if (!error && ferror(stream))
        error = errno;
    if (stream && stream != stdin)
        fclose(stream);
    if (error)
        return cq_cli_fail(cli, CQ_CLI_USAGE, "cannot read %.200s: %s", name,
                           strerror(error));
    if (out->status)
        return cq_cli_fail(cli, CQ_CLI_USAGE, "%.200s: %s (the limit is %zu bytes)", name,
                           cronq_status_text(out->status), FILE_LIMIT_BYTES);
    return CQ_CLI_OK;
}

/* What is wrong with a line, or NULL. It ends with a NUL, and may have others. */
static const char *judge(const char *line, size_t len, bool *never, cronq_error *err)
{
    cronq_cron *cron;

    *never = false;
    if (strlen(line) != len)
        return "there is a NUL byte in it";
    if (cronq_cron_parse(line, NULL, &cron, err))
        return err->text;
    *never = cronq_cron_next(cron, cq_wall_ns() / CQ_NS_PER_MS) == CRONQ_CRON_NEVER;
    cronq_cron_free(cron);
    return NULL;
}

static int print_verdict(const cq_cli *cli, size_t number, const char *wrong, bool never)
{
    cq_buf out;

    cq_buf_init(&out, LINE_LIMIT_BYTES);
    if (cli->json) {
        cq_json_open(&out, '{');
        cq_json_key_int(&out, "line", (int64_t)number);
        cq_json_key_bool(&out, "ok", !wrong);
        if (wrong)
            cq_json_key_text(&out, "error", wrong);
        else
            cq_json_key_bool(&out, "never", never);
        cq_json_close(&out, '}');
    } else {
        cq_buf_printf(&out, "%zu: %s", number, wrong ? wrong : "ok");
        if (never)
            cq_buf_append_text(&out, ", but there is no time within five years");
    }
    return cq_cli_print(cli, &out);
}

/* Each line is cut off with a NUL in its place. */
static int check_lines(const cq_cli *cli, char *text, size_t len)
{
    char *end = text + len;
    int code = CQ_CLI_OK;

    for (size_t number = 1; text < end; number++) {
        char *line = text, *stop = memchr(text, '\n', (size_t)(end - text));
        const char *wrong;
        cronq_error err;
        bool never;

        stop = stop ? stop : end;
        text = stop + 1;
        if (stop > line && stop[-1] == '\r')
            stop--;
        *stop = '\0';
        if (line[strspn(line, " \t")] == '#' || line + strspn(line, " \t") == stop)
            continue;
        wrong = judge(line, (size_t)(stop - line), &never, &err);
        if (wrong)
            code = CQ_CLI_CONFIG;
        if (print_verdict(cli, number, wrong, never))
            return CQ_CLI_RUNTIME;
    }
    return code;
}

static int run_check(cq_cli *cli)
{
    cq_buf text;
    int code;

    cq_buf_init(&text, FILE_LIMIT_BYTES);
    code = read_file(cli, cli->args[0], &text);
    /* One byte more, for the NUL of a last line without its newline. */
    if (!code && !cq_buf_text(&text))
        code = cq_cli_fail(cli, CQ_CLI_RUNTIME, "%s", cronq_status_text(text.status));
    if (!code)
        code = check_lines(cli, text.data, text.len);
    cq_buf_release(&text);
    return code;
}

/* clang-format off */
static const cq_cli_option next_options[] = {
    { "from", 0, "TIME", CQ_CLI_TEXT, .help = "times later than this: 2026-01-31T09:00:00+01:00 (default: now)" },
    { "tz", 0, "ZONE", CQ_CLI_TEXT, .help = "of the fields, unless TZ= is before them, and of what is printed (default: Local)" },
    { "number", 'n', "N", CQ_CLI_INT, .min = 1, .max = TIMES_MAX, .preset = "10", .help = "how many" },
    { 0 },
};
/* clang-format on */

static const cq_cli_command next_command = {
    .name = "next",
    .summary = "Print when a cron expression activates",
    .args = "SPEC",
    .min_args = 1,
    .max_args = 1,
    .details =
        "SPEC is one argument: five fields, six with seconds first, @every 90s, or\n"
        "@daily and the like; TZ=ZONE and a space may be before them.\n"
        "\n"
        "  cronq cron next '30 2 * * mon-fri' --tz Europe/Berlin -n 3",
    .options = next_options,
    .run = run_next,
};

static const cq_cli_command check_command = {
    .name = "check",
    .summary = "Check cron expressions, one a line",
    .args = "FILE|-",
    .min_args = 1,
    .max_args = 1,
    .details =
        "Prints a verdict for each line but blank ones and comments (#). Exit code 3\n"
        "when one is wrong. With --json a verdict is an object on a line.",
    .run = run_check,
};

static const cq_cli_command *const verbs[] = {
    &cq_cli_cron_list, &cq_cli_cron_history, &next_command, &check_command, NULL,
};

const cq_cli_command cq_cli_cron = {
    .name = "cron",
    .summary = "Look at cron entries, their pushes, and cron expressions",
    .verbs = verbs,
};
