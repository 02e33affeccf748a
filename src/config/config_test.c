/* SPDX-License-Identifier: MIT */
/* config_test.c - good files become options, bad ones a list of all that is wrong. */
#include "base/buf.h"
#include "config/tree.h"

#include <cronq/config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS(rows) (sizeof(rows) / sizeof(rows)[0])

static cronq_config *new_config(void)
{
    cronq_config *config = NULL;

    assert_int_equal(cronq_config_new(&config, NULL), CRONQ_OK);
    return config;
}

static cronq_status parse(cronq_config *config, const char *text, cronq_error *err)
{
    return cronq_config_parse(config, "t.yaml", (cronq_bytes){ text, strlen(text) }, err);
}

static cronq_config *good(const char *text)
{
    cronq_config *config = new_config();
    cronq_error err = { 0 };

    if (parse(config, text, &err) != CRONQ_OK)
        fail_msg("%s", err.text);
    assert_int_equal(cronq_config_error_count(config), 0);
    assert_null(cronq_config_error_at(config, 0));
    return config;
}

/* The file has exactly this fault. */
static void expect_fault(const char *text, cronq_status status, const char *fault)
{
    cronq_config *config = new_config();
    cronq_error err = { 0 };

    if (parse(config, text, &err) != status)
        fail_msg("%s\n-- %s, wanted %s", text, err.text, cronq_status_name(status));
    if (cronq_config_error_count(config) != 1 ||
        !strstr(cronq_config_error_at(config, 0), fault))
        fail_msg("%s\n-- %zu faults: %s\n-- wanted: %s", text,
                 cronq_config_error_count(config), cronq_config_error_at(config, 0),
                 fault);
    assert_string_equal(err.text, cronq_config_error_at(config, 0));
    assert_null(cronq_config_server_options(config));
    assert_null(cronq_config_name(config));
    assert_int_equal(cronq_config_task_count(config), 0);
    cronq_config_free(config);
}

static void expect_warning(const char *text, const char *warning)
{
    cronq_config *config = good(text);

    assert_int_equal(cronq_config_warning_count(config), 1);
    if (!strstr(cronq_config_warning_at(config, 0), warning))
        fail_msg("%s\n-- wanted: %s", cronq_config_warning_at(config, 0), warning);
    cronq_config_free(config);
}

static void smallest_file_has_all_defaults(void **state)
{
    cronq_config *config = good("Name: a");
    const cronq_server_options *server = cronq_config_server_options(config);
    cronq_server_options wanted =
        *CRONQ_SERVER_OPTIONS(.store = cronq_config_store_options(config),
                              .supervise = true);
    const cronq_log_file_options *log = cronq_config_log_options(config);

    (void)state;
    assert_string_equal(cronq_config_name(config), "a");
    assert_null(cronq_config_uri(config));
    assert_memory_equal(server, &wanted, sizeof wanted);
    assert_int_equal(log->mode, CRONQ_LOG_MODE_CONSOLE);
    assert_int_equal(log->encoding, CRONQ_LOG_ENCODING_DEFAULT);
    assert_int_equal(log->level, CRONQ_LOG_INFO);
    assert_string_equal(log->service_name, "a");
    assert_int_equal(cronq_config_warning_count(config), 0);
    assert_null(cronq_config_task_at(config, 0));
    cronq_config_free(config);
}

static void a_dev_server_section_starts_one(void **state)
{
    static const struct {
        const char *text;
        bool served, metrics;
    } rows[] = {
        { "Name: a", false, false },
        { "Name: a\nDevServer:", false, false },
        { "Name: a\nDevServer: {}", true, true },
        { "Name: a\nDevServer: {Enabled: false, Port: 7}", false, false },
        { "Name: a\nDevServer: {Enabled: yes}", true, true },
        { "Name: a\nDevServer: {EnableMetrics: false}", true, false },
    };
    const cronq_devserver_options *options;
    cronq_config *config;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        config = good(rows[i].text);
        assert_int_equal(cronq_config_devserver_options(config) != NULL, rows[i].served);
        assert_int_equal(cronq_config_has_metrics(config), rows[i].metrics);
        cronq_config_free(config);
    }
    config = good("Name: a\n"
                  "devserver:\n"
                  "  Host: 0.0.0.0\n"
                  "  Port: 9101\n"
                  "  MetricsPath: /m\n"
                  "  HealthPath: /h\n"
                  "  HealthResponse: fine\n");
    options = cronq_config_devserver_options(config);
    assert_string_equal(options->host, "0.0.0.0");
    assert_int_equal(options->port, 9101);
    assert_string_equal(options->metrics_path, "/m");
    assert_string_equal(options->health_path, "/h");
    assert_string_equal(options->health_response, "fine");
    cronq_config_free(config);
    expect_fault("Name: a\nDevServer: {Port: 65536}", CRONQ_EINVAL, "DevServer.Port");
}

static void work_conf_fills_every_option(void **state)
{
    cronq_config *config = good("Name: a\n"
                                "workconf:\n"
                                "  Mode: Single\n"
                                "  ADDR: 10.0.0.1:7000\n"
                                "  Username: u\n"
                                "  Password: p\n"
                                "  DB: 2\n"
                                "  PoolSize: 7\n"
                                "  DialTimeout: 500ms\n"
                                "  ReadTimeout: -1\n"
                                "  WriteTimeout: 4\n"
                                "  Namespace: no\n"
                                "  Concurrency: 12\n"
                                "  TaskCheckInterval: 2\n"
                                "  Queues: {no: 6, low: 1}\n"
                                "  StrictPriority: Yes\n"
                                "  ShutdownTimeout: 1m30s\n"
                                "  HealthCheckInterval: 16\n"
                                "  DelayedTaskCheckInterval: 6\n"
                                "  GroupGracePeriod: 60\n"
                                "  GroupMaxDelay: 300\n"
                                "  GroupMaxSize: 0\n"
                                "  JanitorInterval: 1500us\n"
                                "  JanitorBatchSize: 50\n"
                                "  Archive: {Size: 500, Age: 720h}\n"
                                "  TLS: false\n"
                                "  Compat: seed\n"
                                "  Retry: {Delay: exponential, Base: 2, Cap: 1h}\n");
    const cronq_server_options *server = cronq_config_server_options(config);
    const cronq_store_options *store = cronq_config_store_options(config);

    (void)state;
    assert_string_equal(cronq_config_uri(config), "redis://10.0.0.1:7000/2");
    assert_string_equal(store->username, "u");
    assert_string_equal(store->password, "p");
    assert_int_equal(store->pool_size, 7);
    assert_int_equal(store->dial_timeout_ms, 500);
    assert_int_equal(store->read_timeout_ms, CRONQ_NEVER);
    assert_int_equal(store->write_timeout_ms, 4000);
    assert_int_equal(store->archive_max_count, 500);
    assert_int_equal(store->archive_max_age_ms, 30LL * 24 * 3600 * 1000);
    assert_ptr_equal(server->store, store);
    assert_string_equal(server->namespace_name, "no");
    assert_int_equal(server->concurrency, 12);
    assert_int_equal(server->task_check_interval_ms, 2000);
    assert_int_equal(server->queue_count, 2);
    assert_string_equal(server->queues[0].name, "no");
    assert_int_equal(server->queues[0].weight, 6);
    assert_true(server->strict_priority);
    assert_int_equal(server->shutdown_timeout_ms, 90000);
    assert_int_equal(server->health_check_interval_ms, 16000);
    assert_int_equal(server->delayed_check_interval_ms, 6000);
    assert_int_equal(server->janitor_interval_ms, 2);
    assert_int_equal(server->janitor_batch_count, 50);
    assert_true(server->seed_compat);
    assert_int_equal(server->retry_kind, CRONQ_RETRY_EXPONENTIAL);
    assert_int_equal(server->retry_base_ms, 2000);
    assert_int_equal(server->retry_cap_ms, 3600000);
    assert_int_equal(cronq_config_warning_count(config), 0);
    cronq_config_free(config);
}

static void log_section_fills_every_option(void **state)
{
    cronq_config *config =
        good("Name: a\nLog: {ServiceName: s, Mode: volume, Encoding: plain, Path: /x, "
             "Level: severe, MaxContentLength: 99}");
    const cronq_log_file_options *log = cronq_config_log_options(config);

    (void)state;
    assert_int_equal(log->mode, CRONQ_LOG_MODE_VOLUME);
    assert_int_equal(log->encoding, CRONQ_LOG_ENCODING_PLAIN);
    assert_int_equal(log->level, CRONQ_LOG_OFF);
    assert_string_equal(log->path, "/x");
    assert_string_equal(log->service_name, "s");
    assert_int_equal(log->max_content_bytes, 99);
    cronq_config_free(config);
}

static void store_becomes_a_uri_without_secrets(void **state)
{
    static const struct {
        const char *conf, *uri;
    } rows[] = {
        { "{Addr: localhost}", "redis://localhost/0" },
        { "{Mode: , Addr: 'h:1'}", "redis://h:1/0" },
        { "{Addr: ':6380', Password: hunter2}", "redis://localhost:6380/0" },
        { "{Addr: '[::1]:6379', DB: 5}", "redis://[::1]:6379/5" },
        { "{Addr: '[::1]'}", "redis://[::1]/0" },
        { "{Network: unix, Addr: '/run/a b/r%.sock', DB: 1}",
          "redis-socket:///run/a%20b/r%25.sock?db=1" },
        { "{Addr: 'h:1', Addrs: [], SentinelAddrs: ['s:1']}", "redis://h:1/0" },
        { "{Addr: 'h:1', TLS: true}", "rediss://h:1/0" },
        { "{MasterName: 'm/1', SentinelAddrs: ['s:1', '[::1]:2'], DB: 3}",
          "redis-sentinel://s:1,[::1]:2/3?master=m%2F1" },
        { "{MasterName: m, SentinelAddrs: [s], TLS: yes}",
          "redis-sentinels://s/0?master=m" },
        { "{Addrs: ['a:1', b], Password: hunter2}", "redis-cluster://a:1,b" },
        { "{Addrs: [a], TLS: true}", "redis-clusters://a" },
    };
    char text[300];

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        cronq_config *config;

        snprintf(text, sizeof text, "Name: a\nWorkConf: %s\n", rows[i].conf);
        config = good(text);
        assert_string_equal(cronq_config_uri(config), rows[i].uri);
        cronq_config_free(config);
    }
}

static void tasks_become_commands_and_entries(void **state)
{
    cronq_config *config = good("Name: a\n"
                                "WorkConf: {Queues: {default: 1, q: 2}, "
                                "Retry: {MaxRetry: 0}}\n"
                                "Tasks:\n"
                                "- Pattern: one\n"
                                "  Command: [sh, -c, 'echo $$HOME', 1, '']\n"
                                "  Dir: /tmp\n"
                                "  Env: {A: b=c, B: 010}\n"
                                "  Timeout: 2500ms\n"
                                "- Pattern: two\n"
                                "  Cron: '@every 1m'\n"
                                "  Name: entry\n"
                                "  TimeZone: Europe/Paris\n"
                                "  Overlap: skip\n"
                                "  Payload: \"a\\0b\"\n"
                                "  Queue: elsewhere\n"
                                "  MaxRetry: 3\n"
                                "  Retention: 1h\n"
                                "  Unique: 1\n"
                                "- {Pattern: three, Cron: '* * * * *', Command: [x]}\n");
    const cronq_config_task *one = cronq_config_task_at(config, 0);
    const cronq_config_task *two = cronq_config_task_at(config, 1);
    const cronq_config_task *three = cronq_config_task_at(config, 2);

    (void)state;
    assert_int_equal(cronq_config_task_count(config), 3);
    assert_int_equal(cronq_config_warning_count(config), 0);
    assert_string_equal(one->pattern, "one");
    assert_string_equal(one->command->argv[2], "echo $HOME");
    assert_string_equal(one->command->argv[4], "");
    assert_null(one->command->argv[5]);
    assert_string_equal(one->command->dir, "/tmp");
    assert_string_equal(one->command->env[0], "A=b=c");
    assert_string_equal(one->command->env[1], "B=010");
    assert_null(one->command->env[2]);
    assert_int_equal(one->command->timeout_ms, 2500);
    assert_null(one->cron_spec);
    assert_null(one->entry);
    assert_int_equal(one->line, 4);
    assert_int_equal(one->column, 3);
    assert_null(two->command);
    assert_string_equal(two->cron_spec, "@every 1m");
    assert_string_equal(two->entry->name, "entry");
    assert_string_equal(two->entry->time_zone, "Europe/Paris");
    assert_int_equal(two->entry->overlap, CRONQ_OVERLAP_SKIP);
    assert_int_equal(two->entry->task->payload.len, 3);
    assert_memory_equal(two->entry->task->payload.data, "a\0b", 3);
    assert_string_equal(two->entry->task->queue, "elsewhere");
    assert_int_equal(two->entry->task->max_retry, 3);
    assert_int_equal(two->entry->task->retain_for_ms, 3600000);
    assert_int_equal(two->entry->task->unique_for_ms, 1000);
    assert_int_equal(three->entry->task->max_retry, CRONQ_NO_RETRY);
    assert_null(three->entry->task->payload.data);
    assert_non_null(three->command);
    cronq_config_free(config);
}

/* Each stands behind "Name: a\nWorkConf:\n  " at line 3, column 3. */
static void each_wrong_value_has_its_message(void **state)
{
    static const struct {
        const char *line, *fault;
        cronq_status status;
    } rows[] = {
        { "Concurrency: ten", "t.yaml:3:16: WorkConf.Concurrency: \"ten\" is no whole",
          CRONQ_EINVAL },
        { "Concurrency: -1", "\"-1\" is out of range; 0 to 10000 are allowed",
          CRONQ_EINVAL },
        { "Concurrency: 10001", "out of range", CRONQ_EINVAL },
        { "Concurrency: 99999999999999999999999", "out of range", CRONQ_EINVAL },
        { "Concurrency: 010", "begins with 0", CRONQ_EINVAL },
        { "Concurrency: 0x10", "no whole number", CRONQ_EINVAL },
        { "Concurrency: 1e3", "no whole number", CRONQ_EINVAL },
        { "Concurrency: .inf", "no whole number", CRONQ_EINVAL },
        { "Concurrency: 1.0", "no whole number", CRONQ_EINVAL },
        { "Concurrency: ''", "no whole number", CRONQ_EINVAL },
        { "Concurrency: '-'", "no whole number", CRONQ_EINVAL },
        { "Concurrency: [1]", "must be a number, is a list", CRONQ_EINVAL },
        { "Concurrency: {a: 1}", "must be a number, is a mapping", CRONQ_EINVAL },
        { "StrictPriority: 1", "\"1\" is neither true nor false", CRONQ_EINVAL },
        { "StrictPriority: null true", "neither", CRONQ_EINVAL },
        { "ReadTimeout: -2", "\"-2\" is out of range", CRONQ_EINVAL },
        { "ReadTimeout: 1.5", "no duration such as", CRONQ_EINVAL },
        { "ReadTimeout: 5 s", "no duration such as", CRONQ_EINVAL },
        { "ReadTimeout: -1s", "out of range", CRONQ_EINVAL },
        { "ReadTimeout: 08", "begins with 0", CRONQ_EINVAL },
        { "ReadTimeout: 315360001", "out of range", CRONQ_EINVAL },
        { "ReadTimeout: 9223372036854775807", "out of range", CRONQ_EINVAL },
        { "ShutdownTimeout: -1", "out of range", CRONQ_EINVAL },
        { "Mode: singel", "did you mean \"single\"?", CRONQ_EINVAL },
        { "Mode: xyz", "\"xyz\" is none of single|sentinel|cluster|embedded",
          CRONQ_EINVAL },
        { "Mode: single", "single needs WorkConf.Addr", CRONQ_EINVAL },
        { "{Mode: single, Addr: }", "single needs WorkConf.Addr", CRONQ_EINVAL },
        { "Mode: sentinel", "3:9: WorkConf.Mode: needs WorkConf.SentinelAddrs",
          CRONQ_EINVAL },
        { "{Mode: sentinel, SentinelAddrs: [a]}", "needs WorkConf.MasterName",
          CRONQ_EINVAL },
        { "{MasterName: m, SentinelAddrs: ['a:x']}", "\"a:x\" is not HOST:PORT",
          CRONQ_EINVAL },
        { "Mode: cluster", "needs WorkConf.Addrs", CRONQ_EINVAL },
        { "{Addrs: [a], DB: 1}", "only database 0", CRONQ_EINVAL },
        { "Addrs: ['u@a']", "is not HOST:PORT", CRONQ_EINVAL },
        { "TLS: {CA: x}", "WorkConf.TLS: must be", CRONQ_EINVAL },
        { "TLSCAFile: x", "WorkConf.TLSCAFile: needs WorkConf.TLS: true", CRONQ_EINVAL },
        { "{TLS: true, TLSMinVersion: 1.1}", "none of 1.2|1.3", CRONQ_EINVAL },
        { "OnArchive: {Timeout: 5}", "needs a Command or a URL", CRONQ_EINVAL },
        { "OnArchive: {Command: [a], URL: 'http://h/'}", "one of the two", CRONQ_EINVAL },
        { "Aggregate: {Join: lines}", "WorkConf.Aggregate.Type", CRONQ_EINVAL },
        { "Aggregate: {Type: t, Join: xml}", "none of lines|json-array", CRONQ_EINVAL },
        { "Addr: redis://:hunter2@h:1", "is a URI", CRONQ_EINVAL },
        { "Addr: hunter2@h:1", "is a URI", CRONQ_EINVAL },
        { "Addr: h:0", "a port of 1 to 65535", CRONQ_EINVAL },
        { "Addr: h:65536", "a port of 1 to 65535", CRONQ_EINVAL },
        { "Addr: 'h:'", "not HOST:PORT", CRONQ_EINVAL },
        { "Addr: '::1'", "not HOST:PORT", CRONQ_EINVAL },
        { "Addr: h/1", "not HOST:PORT", CRONQ_EINVAL },
        { "Addr: ''", "has 0 bytes; 1 to 1024 are allowed", CRONQ_EINVAL },
        { "{Addr: x.sock, Network: unix}", "absolute path", CRONQ_EINVAL },
        { "Username: \"a\\nb\"", "control character", CRONQ_EINVAL },
        { "Username: [a]", "must be a text, is a list", CRONQ_EINVAL },
        { "Queues: {'a{b}': 1}", "3:12: WorkConf.Queues: \"a{b}\" has a brace",
          CRONQ_EINVAL },
        { "Namespace: 'a{b}'", "WorkConf.Namespace: has a brace", CRONQ_EINVAL },
        { "Namespace: ' '", "WorkConf.Namespace: is blank", CRONQ_EINVAL },
        { "Namespace: ${CRONQ_LATIN1}", "WorkConf.Namespace: is not UTF-8",
          CRONQ_EINVAL },
        { "Queues: [a, b]", "must be a mapping of queues", CRONQ_EINVAL },
        { "Queues: {a: x}", "WorkConf.Queues.a: \"x\" is no whole number", CRONQ_EINVAL },
        { "Queues: {a: 1, a: 2}", "\"a\" is already set at line 3", CRONQ_EINVAL },
        { "Queues: {\"a\\0b\": 1}", "control character", CRONQ_EINVAL },
        { "SentinelAddrs: a", "must be a list of texts", CRONQ_EINVAL },
        { "Address: h", "3:3: WorkConf.Address: unknown key; did you mean \"Addr\"?",
          CRONQ_EINVAL },
        { "Concurency: 3", "did you mean \"Concurrency\"?", CRONQ_EINVAL },
        { "Level: debug", "unknown key; did you mean \"Log.Level\"?", CRONQ_EINVAL },
        { "Zzzzzzzzzzz: 1", "WorkConf.Zzzzzzzzzzz: unknown key", CRONQ_EINVAL },
        { "{DB: 1, db: 2}", "WorkConf.DB: is already set at line 3", CRONQ_EINVAL },
        { "<<: {DB: 1}", "merge keys are not supported", CRONQ_EINVAL },
        { "DB: !!int 3", "tags are not supported", CRONQ_EINVAL },
        { "[DB]: 3", "a key must be a plain text", CRONQ_EINVAL },
        { "Retry: 3", "must be a section, is a text", CRONQ_EINVAL },
        { "Password: ${CRONQ_TEST_UNSET}", "${CRONQ_TEST_UNSET}: this variable",
          CRONQ_EINVAL },
        { "Password: ${}", "in ${}", CRONQ_EINVAL },
        { "Password: ${A-b}", "in ${}", CRONQ_EINVAL },
        { "Password: ${1A}", "in ${}", CRONQ_EINVAL },
        { "Password: '${A'", "3:13: a ${ has no }", CRONQ_EINVAL },
    };
    char text[400];

    (void)state;
    unsetenv("CRONQ_TEST_UNSET");
    setenv("CRONQ_LATIN1", "caf\xe9", 1);
    for (size_t i = 0; i < ROWS(rows); i++) {
        snprintf(text, sizeof text, "Name: a\nWorkConf:\n  %s\n", rows[i].line);
        expect_fault(text, rows[i].status, rows[i].fault);
    }
}

/* Each stands behind "Name: a\nTasks:\n- ". */
static void each_wrong_task_has_its_message(void **state)
{
    static const struct {
        const char *task, *fault;
    } rows[] = {
        { "{Command: [x]}", "t.yaml:3:3: Tasks[0].Pattern: is not set" },
        { "{Pattern: , Command: [x]}", "Tasks[0].Pattern: is not set" },
        { "{Pattern: ' ', Command: [x]}", "Tasks[0].Pattern: is blank" },
        { "{Pattern: a}", "neither a Command or URL to run" },
        { "{Pattern: a, Cron: , Command: }", "neither a Command or URL to run" },
        { "{Pattern: a, Command: echo hi}", "must be a list of texts, as in" },
        { "{Pattern: a, Command: []}", "has 0 entries; 1 to 1000" },
        { "{Pattern: a, Command: ['']}", "is empty" },
        { "{Pattern: a, Command: [x, [y]]}", "must be a text, is a list" },
        { "{Pattern: a, Command: [x, null]}", "must be a text, is nothing" },
        { "{Pattern: a, Command: [\"x\\0y\"]}", "NUL" },
        { "{Pattern: a, Command: [x], Env: {A-B: 1}}", "\"A-B\" can not be a variable" },
        { "{Pattern: a, Command: [x], Env: {CRONQ_QUEUE: 1}}", "can not be a variable" },
        { "{Pattern: a, Command: [x], Env: {A: 1, A: 2}}", "already set" },
        { "{Pattern: a, Command: [x], Env: {A: }}", "must be a text, is nothing" },
        { "{Pattern: a, Cron: '@daily', Unique: 500ms}", "at least 1 s" },
        { "{Pattern: a, Cron: '@daily', Queue: ' '}", "Tasks[0].Queue: is blank" },
        { "{Pattern: a, Cron: '@daily', Command: [x], Queue: q}",
          "\"q\" is not in WorkConf.Queues" },
        { "{Pattern: a, Cron: '61 * * * *'}", "3:22: Tasks[0].Cron: minute, column 1" },
        { "{Pattern: a, Cron: 'x'}", "3:22: Tasks[0].Cron: " },
        { "{Pattern: a, Cron: '@daily', TimeZone: Bad/Zone}",
          "3:42: Tasks[0].TimeZone: " },
        { "{Pattern: a, Cron: '@daily', Overlap: maybe}", "none of allow|skip" },
        { "{Pattern: a, Cron: '@daily', MaxRetry: -1}", "out of range" },
        { "{Pattern: a, Cron: '@daily', MaxRetry: 2147483648}", "out of range" },
        { "{Pattern: a, Comand: [x], Cron: '@daily'}", "did you mean \"Command\"?" },
        { "text", "Tasks[0]: must be a section, is a text" },
        { "{Pattern: a, Command: [x]}\n- {Pattern: a, Command: [y]}",
          "Tasks[1].Pattern: is the same as at line 3" },
        { "{Pattern: a, Name: n, Cron: '@daily'}\n- {Pattern: b, Name: n, Cron: "
          "'@daily'}",
          "Tasks[1].Name: is the same as at line 3" },
    };
    char text[400];

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        snprintf(text, sizeof text, "Name: a\nTasks:\n- %s\n", rows[i].task);
        expect_fault(text, CRONQ_EINVAL, rows[i].fault);
    }
}

static void text_that_is_no_yaml_has_a_place(void **state)
{
    static const struct {
        const char *text, *fault;
    } rows[] = {
        { "", "t.yaml:1:1: Name: is not set" },
        { "# only a comment\n", "Name: is not set" },
        { "~", "Name: is not set" },
        { "text", "the file: must be a mapping, is a text" },
        { "[a]", "must be a mapping, is a list" },
        { "Name: a\nLog:\n\tLevel: info\n", "t.yaml:3:1: " },
        { "Name: a\nLog:\n\tLevel: info\n", "indent with spaces, not with tabs" },
        { "Name: [a", "t.yaml:2:1: while parsing a flow sequence" },
        { "Name: 'a", "while scanning a quoted scalar" },
        { "Name: a\nLog: b: c\n", "t.yaml:2:7: mapping values are not allowed" },
        { "Name: a\xff", "t.yaml:1:8: byte 0xff is not UTF-8" },
        { "Name: \xc3\xa9\xed\xa0\x80", "t.yaml:1:8: byte 0xed is not UTF-8" },
        { "Name: a\nLog: \x01", "t.yaml:2:6: control characters are not allowed" },
        { "Name: a\n---\nName: b\n", "t.yaml:2:1: a second document begins here" },
        { "Name: *a", "there is no anchor &a" },
        { "Name: &a [*a]", "there is no anchor &a that is complete" },
        { "Name: ", "Name: is not set" },
        { "Name: ''", "Name: has 0 bytes" },
        { "Name: a\nname: b", "t.yaml:2:1: Name: is already set at line 1" },
        { "Name: a\n? [x]\n: y", "a key must be a plain text" },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++)
        expect_fault(rows[i].text, CRONQ_EINVAL, rows[i].fault);
}

static void bom_and_crlf_and_anchors_are_fine(void **state)
{
    cronq_config *config =
        good("\xEF\xBB\xBF---\r\nName: &n a\r\nLog:\r\n  ServiceName: *n\r\n...\r\n");

    (void)state;
    assert_string_equal(cronq_config_log_options(config)->service_name, "a");
    cronq_config_free(config);
}

static void file_stops_at_its_limits(void **state)
{
    static char big[CQ_YAML_MAX_BYTES + 200];
    cronq_config *config = new_config();
    cronq_bytes text = { big, 0 };
    cq_buf buf;

    (void)state;
    memset(big, '[', 10000);
    big[10000] = '\0';
    expect_fault(big, CRONQ_EINVAL, "t.yaml:1:33: more than 32 levels deep");
    memset(big, ' ', sizeof big);
    memcpy(big, "Name: a\n", 8);
    big[7 + 1] = '#';
    text.len = CQ_YAML_MAX_BYTES;
    assert_int_equal(cronq_config_parse(config, "t", text, NULL), CRONQ_OK);
    text.len++;
    assert_int_equal(cronq_config_parse(config, "t", text, NULL), CRONQ_EINVAL);
    assert_string_equal(cronq_config_error_at(config, 0),
                        "t:1:1: more than 1048576 bytes");
    cronq_config_free(config);
    cq_buf_init(&buf, sizeof big);
    cq_buf_append_text(&buf, "Name: &a a\nProfiling: [");
    for (int i = 0; i < CQ_YAML_MAX_ALIASES + 1; i++)
        cq_buf_append_text(&buf, "*a ,");
    cq_buf_append_text(&buf, "]");
    expect_fault(cq_buf_text(&buf), CRONQ_EINVAL, "more than 100 aliases");
    cq_buf_reset(&buf);
    cq_buf_append_text(&buf, "Name: a\nProfiling: [");
    for (int i = 0; i < CQ_YAML_MAX_ENTRIES + 1; i++)
        cq_buf_append_text(&buf, "1,");
    cq_buf_append_text(&buf, "]");
    expect_fault(cq_buf_text(&buf), CRONQ_EINVAL, "more than 10000 entries");
    cq_buf_release(&buf);
}

/* Ten times ten times … : nothing unfolds it. */
static void laughs_are_not_unfolded(void **state)
{
    cq_buf buf;

    (void)state;
    cq_buf_init(&buf, 10000);
    cq_buf_append_text(&buf, "Name: a\nProfiling:\n- &l0 x\n");
    for (int i = 1; i < 10; i++) {
        cq_buf_printf(&buf, "- &l%d [", i);
        for (int k = 0; k < 10; k++)
            cq_buf_printf(&buf, "*l%d ,", i - 1);
        cq_buf_append_text(&buf, "]\n");
    }
    expect_warning(cq_buf_text(&buf), "Profiling: is known from go-zero");
    cq_buf_release(&buf);
}

static void environment_is_put_into_values(void **state)
{
    static const struct {
        const char *value, *wanted;
    } rows[] = {
        { "${CRONQ_T}", "v" },
        { "a${CRONQ_T}b${CRONQ_T}", "avbv" },
        { "${CRONQ_NO:-d}", "d" },
        { "${CRONQ_EMPTY:-d}", "d" },
        { "x${CRONQ_EMPTY}", "x" },
        { "'${CRONQ_NO:-}'", NULL },
        { "${CRONQ_NO:-}", NULL },
        { "$$x $$$$ $x $", "$x $$ $x $" },
        { "\"$${CRONQ_T}\"", "${CRONQ_T}" },
        { "${CRONQ_T:-d}", "v" },
        { "${CRONQ_NULL}", "null" },
    };
    char text[200];

    (void)state;
    setenv("CRONQ_T", "v", 1);
    setenv("CRONQ_EMPTY", "", 1);
    setenv("CRONQ_NULL", "null", 1);
    unsetenv("CRONQ_NO");
    for (size_t i = 0; i < ROWS(rows); i++) {
        cronq_config *config;
        const char *got;

        snprintf(text, sizeof text, "Name: a\nWorkConf:\n  Password: %s\n",
                 rows[i].value);
        config = good(text);
        got = cronq_config_store_options(config)->password;
        if (rows[i].wanted)
            assert_string_equal(got, rows[i].wanted);
        else
            assert_null(got);
        cronq_config_free(config);
    }
}

static void environment_can_not_blow_a_value_up(void **state)
{
    static char value[100000];
    cq_buf buf;

    (void)state;
    memset(value, 'x', sizeof value - 1);
    setenv("CRONQ_BIG", value, 1);
    cq_buf_init(&buf, 10000);
    cq_buf_append_text(&buf, "Name: a\nProfiling: '");
    for (int i = 0; i < 20; i++)
        cq_buf_append_text(&buf, "${CRONQ_BIG}");
    cq_buf_append_text(&buf, "'\n");
    expect_fault(cq_buf_text(&buf), CRONQ_EINVAL, "more than 1048576 bytes");
    cq_buf_release(&buf);
    unsetenv("CRONQ_BIG");
}

static void odd_things_are_warned_of(void **state)
{
    static const struct {
        const char *text, *warning;
    } rows[] = {
        { "WorkConf: {Queues: {a: 1, b: 0}}", "2:27: WorkConf.Queues: \"b: 0\" is ign" },
        { "WorkConf: {Queues: {a: 1, '': 4}}", "a queue needs a name" },
        { "WorkConf: {Retry: {Cap: 4}}", "no effect without Delay" },
        { "Mode: pro", "2:7: Mode: is known from go-zero but not built yet: ignored" },
        { "Log: {KeepDays: 3}", "Log.KeepDays: is known from go-zero" },
        { "Tasks: [{Pattern: a, Command: [x], Queue: q}]",
          "Tasks[0].Queue: has no effect without Cron" },
        { "Tasks: [{Pattern: a, Cron: '0 0 30 2 *'}]",
          "Tasks[0].Cron: does not come in the next five years" },
        { "Tasks: [{Pattern: a, Cron: '@daily', Dir: /}]",
          "Tasks[0].Dir: has no effect without Command" },
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        snprintf(text, sizeof text, "Name: a\n%s\n", rows[i].text);
        expect_warning(text, rows[i].warning);
    }
}

static void all_faults_are_listed_in_order(void **state)
{
    cronq_config *config = new_config();
    cronq_error err = { 0 };

    (void)state;
    assert_int_equal(parse(config,
                           "WorkConf: {TLS: flag, DB: x}\nLog: {Level: loud}\n"
                           "Tasks: [{Pattern: a}]\nName:\n",
                           &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_config_error_count(config), 5);
    assert_non_null(strstr(cronq_config_error_at(config, 0), "1:17: WorkConf.TLS"));
    assert_non_null(strstr(cronq_config_error_at(config, 1), "1:27: WorkConf.DB"));
    assert_non_null(strstr(cronq_config_error_at(config, 2), "2:14: Log.Level"));
    assert_non_null(strstr(cronq_config_error_at(config, 3), "3:9: Tasks[0]"));
    assert_non_null(strstr(cronq_config_error_at(config, 4), "4:1: Name: is not set"));
    assert_non_null(strstr(err.text, "(and 4 more)"));
    cronq_config_free(config);
}

static void a_thousand_faults_become_a_hundred(void **state)
{
    cronq_config *config = new_config();
    cq_buf buf;

    (void)state;
    cq_buf_init(&buf, 100000);
    cq_buf_append_text(&buf, "Name: a\n");
    for (int i = 0; i < 1000; i++)
        cq_buf_printf(&buf, "Unknown%d: 1\n", i);
    assert_int_equal(parse(config, cq_buf_text(&buf), NULL), CRONQ_EINVAL);
    assert_int_equal(cronq_config_error_count(config), CQ_FINDING_MAX + 1);
    assert_string_equal(cronq_config_error_at(config, CQ_FINDING_MAX),
                        "t.yaml: and 900 more");
    cq_buf_release(&buf);
    cronq_config_free(config);
}

static void values_are_escaped_and_cut_in_messages(void **state)
{
    cronq_config *config = new_config();
    char text[400];

    (void)state;
    snprintf(text, sizeof text, "Name: a\nWorkConf: {DB: \"\\e[31m\xc3\xa9%0200d\"}\n",
             7);
    assert_int_equal(parse(config, text, NULL), CRONQ_EINVAL);
    assert_non_null(strstr(cronq_config_error_at(config, 0), "\"\\x1b[31m\xc3\xa9"));
    assert_non_null(strstr(cronq_config_error_at(config, 0), "00…\" is no whole"));
    assert_true(strlen(cronq_config_error_at(config, 0)) < 200);
    cronq_config_free(config);
}

static void no_message_holds_a_password(void **state)
{
    static const char *const files[] = {
        "WorkConf: {Password: [hunter2]}",
        "WorkConf: {Password: \"hunter2\\n\"}",
        "WorkConf: {Passwort: hunter2}",
        "WorkConf: {Addr: 'redis://u:hunter2@h'}",
        "WorkConf: {DB: '${CRONQ_SECRET}', Addr: '${CRONQ_SECRET}@h'}",
        "WorkConf: {Concurrency: '${CRONQ_SECRET}', Queues: {a: '${CRONQ_SECRET}'}}",
        "WorkConf: {Password: hunter2, Mode: sentinel}",
    };

    (void)state;
    setenv("CRONQ_SECRET", "hunter2", 1);
    for (size_t i = 0; i < ROWS(files); i++) {
        cronq_config *config = new_config();
        cronq_error err = { 0 };

        assert_int_not_equal(parse(config, files[i], &err), CRONQ_OK);
        assert_null(strstr(err.text, "hunter2"));
        for (size_t k = 0; k < cronq_config_error_count(config); k++)
            assert_null(strstr(cronq_config_error_at(config, k), "hunter2"));
        cronq_config_free(config);
    }
}

static char *write_file(char *path, const char *text, mode_t mode)
{
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static void password_that_everyone_can_read_is_warned_of(void **state)
{
    static const struct {
        const char *text;
        mode_t mode;
        size_t count;
    } rows[] = {
        { "Name: a\nWorkConf: {Password: x}", 0644, 1 },
        { "Name: a\nWorkConf: {Password: x}", 0640, 0 },
        { "Name: a\nWorkConf: {Password: '${CRONQ_SECRET}'}", 0644, 0 },
        { "Name: a\nWorkConf: {Password: ''}", 0644, 0 },
    };

    (void)state;
    setenv("CRONQ_SECRET", "hunter2", 1);
    for (size_t i = 0; i < ROWS(rows); i++) {
        char path[] = "/tmp/cronq-config-XXXXXX";
        cronq_config *config = new_config();

        write_file(path, rows[i].text, rows[i].mode);
        assert_int_equal(cronq_config_load(config, path, NULL), CRONQ_OK);
        assert_int_equal(cronq_config_warning_count(config), rows[i].count);
        if (rows[i].count)
            assert_non_null(strstr(cronq_config_warning_at(config, 0), "mode 0644"));
        cronq_config_free(config);
        unlink(path);
    }
}

static void file_that_can_not_be_read_is_an_io_error(void **state)
{
    static const struct {
        const char *path, *text;
    } rows[] = {
        { "/tmp", "/tmp: cannot be read: Is a directory" },
        { "/nonexistent/x.yaml", "cannot be read: No such file or directory" },
    };
    cronq_config *config = new_config();
    cronq_error err = { 0 };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        assert_int_equal(cronq_config_load(config, rows[i].path, &err), CRONQ_EIO);
        assert_non_null(strstr(err.text, rows[i].text));
        assert_int_equal(cronq_config_error_count(config), 1);
    }
    assert_int_equal(cronq_config_load(config, "", &err), CRONQ_EINVAL);
    cronq_config_free(config);
}

static void a_load_forgets_the_one_before(void **state)
{
    cronq_config *config = good("Name: a\nWorkConf: {Addr: h}");

    (void)state;
    assert_int_equal(parse(config, "Nam: a", NULL), CRONQ_EINVAL);
    assert_null(cronq_config_uri(config));
    assert_int_equal(parse(config, "Name: b", NULL), CRONQ_OK);
    assert_int_equal(cronq_config_error_count(config), 0);
    assert_string_equal(cronq_config_name(config), "b");
    assert_null(cronq_config_uri(config));
    cronq_config_free(config);
    cronq_config_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smallest_file_has_all_defaults),
        cmocka_unit_test(a_dev_server_section_starts_one),
        cmocka_unit_test(work_conf_fills_every_option),
        cmocka_unit_test(log_section_fills_every_option),
        cmocka_unit_test(store_becomes_a_uri_without_secrets),
        cmocka_unit_test(tasks_become_commands_and_entries),
        cmocka_unit_test(each_wrong_value_has_its_message),
        cmocka_unit_test(each_wrong_task_has_its_message),
        cmocka_unit_test(text_that_is_no_yaml_has_a_place),
        cmocka_unit_test(bom_and_crlf_and_anchors_are_fine),
        cmocka_unit_test(file_stops_at_its_limits),
        cmocka_unit_test(laughs_are_not_unfolded),
        cmocka_unit_test(environment_is_put_into_values),
        cmocka_unit_test(environment_can_not_blow_a_value_up),
        cmocka_unit_test(odd_things_are_warned_of),
        cmocka_unit_test(all_faults_are_listed_in_order),
        cmocka_unit_test(a_thousand_faults_become_a_hundred),
        cmocka_unit_test(values_are_escaped_and_cut_in_messages),
        cmocka_unit_test(no_message_holds_a_password),
        cmocka_unit_test(password_that_everyone_can_read_is_warned_of),
        cmocka_unit_test(file_that_can_not_be_read_is_an_io_error),
        cmocka_unit_test(a_load_forgets_the_one_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
