/* SPDX-License-Identifier: MIT */
/* config_test.c - good files become options, with the environment put in. */
#include "base/buf.h"
#include "config/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void smallest_file_has_all_defaults(void **state)
{
    cronq_config *config = fixture_good("Name: a");
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
        config = fixture_good(rows[i].text);
        assert_int_equal(cronq_config_devserver_options(config) != NULL, rows[i].served);
        assert_int_equal(cronq_config_has_metrics(config), rows[i].metrics);
        cronq_config_free(config);
    }
    config = fixture_good("Name: a\n"
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
    fixture_expect_fault("Name: a\nDevServer: {Port: 65536}", CRONQ_EINVAL,
                         "DevServer.Port");
}

static void work_conf_fills_every_option(void **state)
{
    cronq_config *config =
        fixture_good("Name: a\n"
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
    cronq_config *config = fixture_good(
        "Name: a\nLog: {ServiceName: s, Mode: volume, Encoding: plain, Path: /x, "
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
        config = fixture_good(text);
        assert_string_equal(cronq_config_uri(config), rows[i].uri);
        cronq_config_free(config);
    }
}

static void tasks_become_commands_and_entries(void **state)
{
    cronq_config *config =
        fixture_good("Name: a\n"
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

static void bom_and_crlf_and_anchors_are_fine(void **state)
{
    cronq_config *config = fixture_good(
        "\xEF\xBB\xBF---\r\nName: &n a\r\nLog:\r\n  ServiceName: *n\r\n...\r\n");

    (void)state;
    assert_string_equal(cronq_config_log_options(config)->service_name, "a");
    cronq_config_free(config);
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
        config = fixture_good(text);
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
    fixture_expect_fault(cq_buf_text(&buf), CRONQ_EINVAL, "more than 1048576 bytes");
    cq_buf_release(&buf);
    unsetenv("CRONQ_BIG");
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
        cronq_config *config = fixture_config();

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
        { "/dev/null", "/dev/null: cannot be read: it is no regular file" },
    };
    cronq_config *config = fixture_config();
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

/* They differ in what makes an entry, or in their names. */
static void entries_that_are_alike_are_fine(void **state)
{
    cronq_config *config = fixture_good("Name: a\n"
                                        "Tasks:\n"
                                        "- {Pattern: a, Cron: '@daily'}\n"
                                        "- {Pattern: a, Cron: '@daily', Payload: x}\n"
                                        "- {Pattern: a, Cron: '@daily', Queue: q}\n"
                                        "- {Pattern: a, Cron: '@daily', TimeZone: UTC}\n"
                                        "- {Pattern: a, Cron: '@daily', Name: n}\n"
                                        "- {Pattern: a, Cron: '@daily', Name: m}\n");

    (void)state;
    assert_int_equal(cronq_config_task_count(config), 6);
    cronq_config_free(config);
}

static void a_load_forgets_the_one_before(void **state)
{
    cronq_config *config = fixture_good("Name: a\nWorkConf: {Addr: h}");

    (void)state;
    assert_int_equal(fixture_parse(config, "Nam: a", NULL), CRONQ_EINVAL);
    assert_null(cronq_config_uri(config));
    assert_int_equal(fixture_parse(config, "Name: b", NULL), CRONQ_OK);
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
        cmocka_unit_test(bom_and_crlf_and_anchors_are_fine),
        cmocka_unit_test(environment_is_put_into_values),
        cmocka_unit_test(environment_can_not_blow_a_value_up),
        cmocka_unit_test(password_that_everyone_can_read_is_warned_of),
        cmocka_unit_test(file_that_can_not_be_read_is_an_io_error),
        cmocka_unit_test(entries_that_are_alike_are_fine),
        cmocka_unit_test(a_load_forgets_the_one_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
