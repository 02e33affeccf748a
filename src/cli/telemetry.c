/* SPDX-License-Identifier: MIT */
/* telemetry.c - the tracer and the exporter that a file and OTEL_* variables ask for.
 *
 * The variables are those of OpenTelemetry's specification; odd values are warned about
 * and ignored, as it wants. */
#include "cli/telemetry.h"

#include "base/error.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define ARENA_LIMIT_BYTES ((size_t)1 << 20)
#define PAIR_LIMIT_COUNT  100
#define LONGEST_MS        86400000
#define QUEUE_LIMIT_COUNT 1000000 /* as cronq/otlp.h has it */
#define TRACES_PATH       "/v1/traces"
#define DEFAULT_ENDPOINT  "http://localhost:4318"

typedef struct plan {
    cq_arena *arena;
    const cronq_logger *logger;
    cronq_otlp_options otlp;
    double ratio; /* as in cronq_tracer_options */
    bool out_of_memory;
} plan;

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* The one about traces wins over the one about everything. */
static const char *variable_of_traces(const char *rest)
{
    char name[64];
    const char *value;

    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_TRACES_%s", rest);
    value = variable(name);
    if (value)
        return value;
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s", rest);
    return variable(name);
}

static bool is_true(const char *value)
{
    return value && strcasecmp(value, "true") == 0;
}

/* ---- "key=value,key=value", percent-encoded ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; blanks around it are taken away. */
static char *decode(char *text)
{
    char *to = text + strspn(text, " \t"), *start = to, *end;

    for (const char *from = to; *from; from++) {
        int high = *from == '%' ? hex_digit(from[1]) : -1;
        int low = high >= 0 ? hex_digit(from[2]) : -1;

        if (low < 0 || (high | low) == 0) {
            *to++ = *from;
            continue;
        }
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    for (end = to; end > start && (end[-1] == ' ' || end[-1] == '\t');)
        *--end = '\0';
    return start;
}

/* As an HTTP header may be; the exporter refuses others. */
static bool is_header(const cronq_header *pair)
{
    if (!*pair->key || strpbrk(pair->key, ": "))
        return false;
    for (const char *text = pair->key; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            return false;
    for (const char *text = pair->value; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            return false;
    return true;
}

static cronq_header *read_pairs(plan *p, const char *name, const char *value,
                                size_t *count)
{
    cronq_header *pairs = cq_arena_calloc(p->arena, PAIR_LIMIT_COUNT, sizeof *pairs);
    char *rest = cq_arena_dup(p->arena, value, strlen(value)), *piece;

    if (!pairs || !rest) {
        p->out_of_memory = true;
        return NULL;
    }
    while ((piece = strsep(&rest, ",")) && *count < PAIR_LIMIT_COUNT) {
        char *equals = strchr(piece, '=');

        if (!equals) {
            CQ_WARN(p->logger, "%s: a pair without = is ignored", name);
            continue;
        }
        *equals = '\0';
        pairs[(*count)++] = (cronq_header){ decode(piece), decode(equals + 1) };
    }
    return pairs;
}

/* ---- where to ---- */

static const char *join(plan *p, const char *a, const char *b, const char *c)
{
    size_t size = strlen(a) + strlen(b) + strlen(c) + 1;
    char *text = cq_arena_alloc(p->arena, size);

    if (!text)
        p->out_of_memory = true;
    else
        snprintf(text, size, "%s%s%s", a, b, c);
    return text;
}

static const char *without_slash(plan *p, const char *url)
{
    size_t len = strlen(url);
    const char *copy;

    while (len && url[len - 1] == '/')
        len--;
    copy = cq_arena_dup(p->arena, url, len);
    if (!copy)
        p->out_of_memory = true;
    return copy ? copy : "";
}

static void take_endpoint_of_file(plan *p, const cronq_config_telemetry *file)
{
    const char *path = file->http_path ? file->http_path : TRACES_PATH;
    const char *scheme = strstr(file->endpoint, "://");
    const char *slash = *path == '/' ? "" : "/";

    if (file->is_file) {
        p->otlp.path = file->endpoint;
        return;
    }
    if (scheme && strchr(scheme + 3, '/'))
        p->otlp.url = file->endpoint;
    else
        p->otlp.url = join(p,
                           scheme            ? ""
                           : file->is_secure ? "https://"
                                             : "http://",
                           without_slash(p, file->endpoint), join(p, slash, path, ""));
}

/* value, when it is a URL; the text is not shown, it may hold a password. */
static const char *url_of(plan *p, const char *name, const char *value)
{
    if (!value || strncmp(value, "http://", 7) == 0 || strncmp(value, "https://", 8) == 0)
        return value;
    CQ_WARN(p->logger, "%s: does not begin with http:// or https://; ignored", name);
    return NULL;
}

static void take_endpoint_of_environment(plan *p)
{
    const char *exporter = variable("OTEL_TRACES_EXPORTER");
    const char *whole = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    const char *base = variable("OTEL_EXPORTER_OTLP_ENDPOINT");

    if (exporter && strcmp(exporter, "otlp") != 0) {
        if (strcmp(exporter, "none") != 0)
            CQ_WARN(p->logger, "OTEL_TRACES_EXPORTER: otlp and none are known; ignored");
        return;
    }
    whole = url_of(p, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", whole);
    base = url_of(p, "OTEL_EXPORTER_OTLP_ENDPOINT", base);
    if (!base && exporter)
        base = DEFAULT_ENDPOINT;
    if (whole)
        p->otlp.url = whole;
    else if (base)
        p->otlp.url = join(p, without_slash(p, base), TRACES_PATH, "");
}

/* ---- the rest ---- */

/* Those that are headers; the others are named by their place, since they may be secrets.
 */
static void read_headers(plan *p, const char *value)
{
    size_t count = 0, kept = 0;
    cronq_header *pairs = read_pairs(p, "OTEL_EXPORTER_OTLP_HEADERS", value, &count);

    for (size_t i = 0; pairs && i < count; i++)
        if (is_header(&pairs[i]))
            pairs[kept++] = pairs[i];
        else
            CQ_WARN(p->logger,
                    "OTEL_EXPORTER_OTLP_HEADERS: number %zu is no HTTP header; ignored",
                    i);
    p->otlp.headers = pairs;
    p->otlp.header_count = kept;
}

/* service.name is taken out: it is said once, and OTEL_SERVICE_NAME wins. */
static void read_resource(plan *p, const char *value)
{
    size_t count = 0, kept = 0;
    cronq_header *pairs = read_pairs(p, "OTEL_RESOURCE_ATTRIBUTES", value, &count);

    for (size_t i = 0; pairs && i < count; i++)
        if (strcmp(pairs[i].key, "service.name") != 0)
            pairs[kept++] = pairs[i];
        else if (*pairs[i].value)
            p->otlp.service_name = pairs[i].value;
    p->otlp.resource = pairs;
    p->otlp.resource_count = kept;
}

static void take_ratio(plan *p, const cronq_config_telemetry *file)
{
    const char *sampler = variable("OTEL_TRACES_SAMPLER"),
               *arg = variable("OTEL_TRACES_SAMPLER_ARG");
    double ratio = 1;
    char *end;

    if (file && file->has_ratio) {
        ratio = file->ratio;
    } else if (sampler && strstr(sampler, "always_off")) {
        ratio = 0;
    } else if (sampler && strstr(sampler, "traceidratio") && arg) {
        ratio = strtod(arg, &end);
        if (*end || !(ratio >= 0 && ratio <= 1)) {
            CQ_WARN(p->logger, "OTEL_TRACES_SAMPLER_ARG: no number from 0 to 1; ignored");
            ratio = 1;
        }
    } else if (sampler && !strstr(sampler, "always_on")) {
        CQ_WARN(p->logger, "OTEL_TRACES_SAMPLER: not known, or without an argument; all "
                           "traces are sampled");
    }
    p->ratio = ratio > 0 ? ratio : CRONQ_SAMPLE_NONE;
}

static void take_protocol(plan *p)
{
    const char *protocol = variable_of_traces("PROTOCOL");

    if (!protocol || strcmp(protocol, "http/protobuf") == 0)
        return;
    if (strcmp(protocol, "http/json") == 0)
        p->otlp.encoding = CRONQ_OTLP_JSON;
    else
        CQ_WARN(p->logger, "OTEL_EXPORTER_OTLP_PROTOCOL: http/protobuf and http/json are "
                           "built; http/protobuf is used");
}

static int64_t take_number(plan *p, const char *name, const char *value, int64_t limit)
{
    char *end = NULL;
    long long number = value ? strtoll(value, &end, 10) : 0;

    if (!value || (*end == '\0' && number > 0 && number <= limit))
        return number;
    CQ_WARN(p->logger, "%s: not from 1 to %lld; ignored", name, (long long)limit);
    return 0;
}

static void take_numbers(plan *p)
{
    cronq_otlp_options *otlp = &p->otlp;
    int64_t queue, batch;

    otlp->timeout_ms = take_number(p, "OTEL_EXPORTER_OTLP_TIMEOUT",
                                   variable_of_traces("TIMEOUT"), LONGEST_MS);
    otlp->delay_ms = take_number(p, "OTEL_BSP_SCHEDULE_DELAY",
                                 variable("OTEL_BSP_SCHEDULE_DELAY"), LONGEST_MS);
    queue = take_number(p, "OTEL_BSP_MAX_QUEUE_SIZE", variable("OTEL_BSP_MAX_QUEUE_SIZE"),
                        QUEUE_LIMIT_COUNT);
    batch = take_number(p, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                        variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), QUEUE_LIMIT_COUNT);
    otlp->queue_limit_count = (uint32_t)queue;
    otlp->batch_count = (uint32_t)batch;
}

static void take_all(plan *p, const cronq_config_telemetry *file, const char *service)
{
    const char *name = variable("OTEL_SERVICE_NAME");
    const char *resource = variable("OTEL_RESOURCE_ATTRIBUTES");
    const char *headers = variable_of_traces("HEADERS");

    p->otlp.struct_size = sizeof p->otlp;
    p->otlp.logger = *p->logger;
    p->otlp.service_name = service;
    p->otlp.ca_file = variable_of_traces("CERTIFICATE");
    if (resource)
        read_resource(p, resource);
    if (file || name)
        p->otlp.service_name = file ? file->name : name;
    if (file && file->header_count) {
        p->otlp.headers = file->headers;
        p->otlp.header_count = file->header_count;
    } else if (headers) {
        read_headers(p, headers);
    }
    if (file && file->endpoint)
        take_endpoint_of_file(p, file);
    else
        take_endpoint_of_environment(p);
    take_protocol(p);
    take_numbers(p);
    take_ratio(p, file);
}

cronq_status cq_telemetry_start(const cronq_config_telemetry *file, const char *service,
                                const cronq_logger *logger, cq_telemetry *out,
                                cronq_error *err)
{
    plan p = { .arena = &out->arena, .logger = logger };
    cronq_status status = CRONQ_OK;
    bool exports;

    if ((file && file->is_disabled) || is_true(variable("OTEL_SDK_DISABLED")))
        return CRONQ_OK;
    cq_arena_init(&out->arena, ARENA_LIMIT_BYTES);
    take_all(&p, file, service);
    exports = p.otlp.url || p.otlp.path;
    if (p.out_of_memory)
        return cq_fail_nomem(err);
    if (!exports && !file)
        return CRONQ_OK;
    if (exports)
        status = cronq_otlp_new(&p.otlp, &out->otlp, err);
    if (status)
        return status;
    return cronq_tracer_new(
        CRONQ_TRACER_OPTIONS(.write = exports ? cronq_otlp_write : NULL,
                             .write_arg = out->otlp, .sample_ratio = p.ratio,
                             .retry_links = file && file->retry_links),
        &out->tracer, err);
}

void cq_telemetry_stop(cq_telemetry *telemetry)
{
    cronq_tracer_free(telemetry->tracer);
    cronq_otlp_free(telemetry->otlp);
    cq_arena_release(&telemetry->arena);
}
