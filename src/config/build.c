/* SPDX-License-Identifier: MIT */
/* build.c - from values to the options of server and log. */
#include "config/build.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_LIMIT_BYTES 8192

/* Indices of the choices in keys.h. */
enum { COMPAT_NONE, COMPAT_SEED };

void *cq_build_take(cq_build *build, size_t count, size_t size)
{
    void *memory = cq_arena_calloc(build->arena, count ? count : 1, size);

    if (!memory)
        cq_find_nomem(build->findings);
    return memory;
}

const char *cq_build_text(cq_build *build, const char *format, ...)
{
    char text[TEXT_LIMIT_BYTES];
    const char *copy;
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    copy = cq_arena_dup(build->arena, text, strlen(text));
    if (!copy)
        cq_find_nomem(build->findings);
    return copy;
}

static const cq_value *get(const cq_build *build, cq_key key)
{
    return &build->root->values[key];
}

static int64_t number(const cq_build *build, cq_key key)
{
    return get(build, key)->number;
}

/* NULL when not given or empty. */
static const char *text(const cq_build *build, cq_key key)
{
    const cq_value *value = get(build, key);

    return value->given && value->len ? value->text : NULL;
}

/* What the server would refuse, without a line. */
static void check_group_period(cq_build *build, cq_key key)
{
    const cq_value *value = get(build, key);

    if (value->number > 0 && value->number < 1000)
        cq_find_error(build->findings, value->mark, cq_key_rows[key].path,
                      "%lld ms is out of range; at least 1 s, or 0",
                      (long long)value->number);
}

static void build_groups(cq_build *build)
{
    static const cronq_join_kind kinds[] = { CRONQ_JOIN_LINES, CRONQ_JOIN_JSON_ARRAY };
    cronq_server_options *server = &build->content->server;
    const char *type = text(build, CQ_K_AGGREGATE_TYPE);
    cronq_join *join;

    check_group_period(build, CQ_K_WORK_GRACE);
    check_group_period(build, CQ_K_WORK_GROUP_DELAY);
    server->group_grace_ms = number(build, CQ_K_WORK_GRACE);
    server->group_max_delay_ms = number(build, CQ_K_WORK_GROUP_DELAY);
    server->group_max_size = (uint32_t)number(build, CQ_K_WORK_GROUP_SIZE);
    if (!get(build, CQ_K_WORK_AGGREGATE)->given || !type)
        return;
    join = cq_build_take(build, 1, sizeof *join);
    if (!join)
        return;
    join->type = server->namespace_name
                     ? cq_build_text(build, "%s:%s", server->namespace_name, type)
                     : type;
    join->kind = kinds[number(build, CQ_K_AGGREGATE_JOIN)];
    server->aggregator = cronq_join_payloads;
    server->aggregator_arg = join;
}

static void build_queues(cq_build *build)
{
    const cq_value *value = get(build, CQ_K_WORK_QUEUES);
    cronq_queue *queues;

    if (value->count == 0)
        return;
    queues = cq_build_take(build, value->count, sizeof *queues);
    for (size_t i = 0; queues && i < value->count; i++)
        queues[i] =
            (cronq_queue){ value->pairs[i].name, (uint32_t)value->pairs[i].number };
    build->content->server.queues = queues;
    build->content->server.queue_count = queues ? value->count : 0;
}

static void build_retry(cq_build *build)
{
    static const cronq_retry_kind kinds[] = { CRONQ_RETRY_DEFAULT,
                                              CRONQ_RETRY_EXPONENTIAL,
                                              CRONQ_RETRY_FIXED };
    static const cq_key keys[] = { CQ_K_RETRY_BASE, CQ_K_RETRY_CAP };
    cronq_server_options *server = &build->content->server;

    server->retry_kind = kinds[number(build, CQ_K_RETRY_DELAY)];
    server->retry_base_ms = number(build, CQ_K_RETRY_BASE);
    server->retry_cap_ms = number(build, CQ_K_RETRY_CAP);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (get(build, keys[i])->given && server->retry_kind == CRONQ_RETRY_DEFAULT)
            cq_find_warning(build->findings, get(build, keys[i])->mark,
                            cq_key_rows[keys[i]].path,
                            "has no effect without Delay: exponential or fixed");
}

static void build_notice(cq_build *build)
{
    const cq_value *command = get(build, CQ_K_NOTICE_COMMAND);
    const char *url = text(build, CQ_K_NOTICE_URL);
    int64_t timeout_ms = number(build, CQ_K_NOTICE_TIMEOUT);

    if (!get(build, CQ_K_WORK_NOTICE)->given || command->is_wrong)
        return;
    if (command->given == (url != NULL)) {
        cq_find_error(build->findings, get(build, CQ_K_WORK_NOTICE)->mark,
                      "WorkConf.OnArchive", "needs a Command or a URL, one of the two");
        return;
    }
    if (url) {
        cronq_http_options *http = cq_build_take(build, 1, sizeof *http);

        if (http)
            *http = *CRONQ_HTTP_OPTIONS(.url = url,
                                        .secret_file = text(build, CQ_K_NOTICE_SECRET),
                                        .allow_private =
                                            number(build, CQ_K_NOTICE_PRIVATE) != 0,
                                        .timeout_ms = timeout_ms);
        build->content->notice_http = http;
    } else {
        cronq_command_options *options = cq_build_take(build, 1, sizeof *options);

        if (options)
            *options = *CRONQ_COMMAND_OPTIONS(.argv = (const char *const *)command->texts,
                                              .timeout_ms = timeout_ms);
        build->content->notice_command = options;
    }
}

void cq_build_server(cq_build *build)
{
    cronq_server_options *server = &build->content->server;

    *server =
        *CRONQ_SERVER_OPTIONS(.store = &build->content->store,
                              .namespace_name = text(build, CQ_K_WORK_NAMESPACE),
                              .concurrency =
                                  (uint32_t)number(build, CQ_K_WORK_CONCURRENCY),
                              .strict_priority = number(build, CQ_K_WORK_STRICT) != 0,
                              .seed_compat =
                                  number(build, CQ_K_WORK_COMPAT) == COMPAT_SEED,
                              .supervise = !get(build, CQ_K_WORK_SUPERVISE)->given ||
                                           number(build, CQ_K_WORK_SUPERVISE) != 0,
                              .shutdown_timeout_ms = number(build, CQ_K_WORK_SHUTDOWN),
                              .task_check_interval_ms = number(build, CQ_K_WORK_CHECK),
                              .delayed_check_interval_ms =
                                  number(build, CQ_K_WORK_DELAYED),
                              .health_check_interval_ms = number(build, CQ_K_WORK_HEALTH),
                              .janitor_interval_ms = number(build, CQ_K_WORK_JANITOR),
                              .janitor_batch_count =
                                  (uint32_t)number(build, CQ_K_WORK_JANITOR_BATCH));
    build_queues(build);
    build_retry(build);
    build_groups(build);
    build_notice(build);
}

void cq_build_log(cq_build *build)
{
    static const cronq_log_mode modes[] = { CRONQ_LOG_MODE_CONSOLE, CRONQ_LOG_MODE_FILE,
                                            CRONQ_LOG_MODE_VOLUME };
    static const cronq_log_encoding encodings[] = { CRONQ_LOG_ENCODING_JSON,
                                                    CRONQ_LOG_ENCODING_PLAIN };
    static const cronq_log_level levels[] = { CRONQ_LOG_DEBUG, CRONQ_LOG_INFO,
                                              CRONQ_LOG_WARN, CRONQ_LOG_ERROR,
                                              CRONQ_LOG_OFF };
    const cq_value *encoding = get(build, CQ_K_LOG_ENCODING),
                   *level = get(build, CQ_K_LOG_LEVEL);
    const char *service = text(build, CQ_K_LOG_SERVICE);

    build->content->log =
        *CRONQ_LOG_FILE_OPTIONS(.mode = modes[number(build, CQ_K_LOG_MODE)],
                                .encoding = encoding->given ? encodings[encoding->number]
                                                            : CRONQ_LOG_ENCODING_DEFAULT,
                                .level =
                                    level->given ? levels[level->number] : CRONQ_LOG_INFO,
                                .path = text(build, CQ_K_LOG_PATH),
                                .service_name = service ? service : build->content->name,
                                .max_content_bytes =
                                    (uint32_t)number(build, CQ_K_LOG_CONTENT));
}

/* Absent keys of a section that is there have their defaults; absent sections start
 * nothing. */
void cq_build_devserver(cq_build *build)
{
    const cq_value *enabled = get(build, CQ_K_DEV_ENABLED),
                   *metrics = get(build, CQ_K_DEV_ENABLE_METRICS);
    cq_config_content *content = build->content;

    content->has_devserver =
        get(build, CQ_K_DEV)->given && (!enabled->given || enabled->number);
    content->has_metrics = !metrics->given || metrics->number;
    content->devserver =
        *CRONQ_DEVSERVER_OPTIONS(.host = text(build, CQ_K_DEV_HOST),
                                 .port = (int32_t)number(build, CQ_K_DEV_PORT),
                                 .metrics_path = text(build, CQ_K_DEV_METRICS),
                                 .health_path = text(build, CQ_K_DEV_HEALTH),
                                 .health_response = text(build, CQ_K_DEV_RESPONSE));
}

static const cronq_header *headers_of(cq_build *build, const cq_value *value)
{
    cronq_header *headers = cq_build_take(build, value->count, sizeof *headers);

    for (size_t i = 0; headers && i < value->count; i++)
        headers[i] = (cronq_header){ value->pairs[i].name, value->pairs[i].text };
    return headers;
}

void cq_build_telemetry(cq_build *build)
{
    enum { BATCHER_HTTP, BATCHER_FILE };
    const cq_value *sampler = get(build, CQ_K_TEL_SAMPLER),
                   *headers = get(build, CQ_K_TEL_HEADERS);
    const char *name = text(build, CQ_K_TEL_NAME);
    cq_config_content *content = build->content;

    content->has_telemetry = get(build, CQ_K_TELEMETRY)->given;
    content->telemetry = (cronq_config_telemetry){
        .struct_size = sizeof content->telemetry,
        .name = name ? name : content->name,
        .endpoint = text(build, CQ_K_TEL_ENDPOINT),
        .http_path = text(build, CQ_K_TEL_PATH),
        .headers = headers_of(build, headers),
        .header_count = headers->count,
        .has_ratio = sampler->given,
        .ratio = (double)sampler->number / 1e9,
        .is_file = number(build, CQ_K_TEL_BATCHER) == BATCHER_FILE,
        .is_secure = number(build, CQ_K_TEL_SECURE) != 0,
        .is_disabled = number(build, CQ_K_TEL_DISABLED) != 0,
        .retry_links = number(build, CQ_K_TEL_RETRY_LINKS) != 0,
    };
    if (content->telemetry.is_file && !content->telemetry.endpoint)
        cq_find_error(build->findings, get(build, CQ_K_TEL_BATCHER)->mark,
                      cq_key_rows[CQ_K_TEL_BATCHER].path,
                      "file needs an Endpoint: the path of the file");
}
