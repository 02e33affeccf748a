/* SPDX-License-Identifier: MIT */
/* log_test.c - log lines that arrive, and those that can not. */
#include "log/line.h"

#include "base/clock.h"
#include "base/random.h"

#include <cronq/log.h>

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

static const cronq_log_record plain_record = { .struct_size = sizeof(cronq_log_record),
                                               .level = CRONQ_LOG_INFO,
                                               .at_ms = 1768472262500,
                                               .caller = "worker/fetcher.c:120",
                                               .text = "hello",
                                               .duration_ms = -1 };

static void write_text(const cronq_logger *logger, cronq_log_level level,
                       const char *text)
{
    cronq_log_record record = plain_record;

    record.level = level;
    record.text = text;
    logger->write(logger->arg, &record);
}

static cronq_log_file *open_log(const cronq_log_file_options *options)
{
    cronq_log_file *log = NULL;
    cronq_error err = { 0 };

    if (cronq_log_file_new(options, &log, &err) != CRONQ_OK)
        fail_msg("%s", err.text);
    return log;
}

static char *read_whole(const char *path)
{
    char *text = calloc(1, 1 << 20);
    FILE *file = fopen(path, "r");

    assert_non_null(text);
    if (!file)
        fail_msg("cannot open %s", path);
    text[fread(text, 1, (1 << 20) - 1, file)] = '\0';
    fclose(file);
    return text;
}

static size_t count_lines(const char *text)
{
    size_t count = 0;

    for (; (text = strchr(text, '\n')); text++)
        count++;
    return count;
}

/* What a file has after these lines were written to a log on it; the caller frees. */
static char *written(cronq_log_file_options options, cronq_log_level level, size_t count)
{
    char path[] = "/tmp/cronq-log-test-XXXXXX", *text;
    int fd = mkstemp(path);
    cronq_log_file *log;
    cronq_logger logger;

    assert_true(fd >= 0);
    options.struct_size = sizeof options;
    options.fd = fd;
    log = open_log(&options);
    logger = cronq_log_file_logger(log);
    for (size_t i = 0; i < count; i++)
        write_text(&logger, level, "again");
    cronq_log_file_free(log);
    text = read_whole(path);
    close(fd);
    unlink(path);
    return text;
}

static void errors_that_repeat_are_counted_not_written(void **state)
{
    static const struct {
        uint32_t limit;
        cronq_log_level level;
        size_t count, lines;
        const char *told;
    } rows[] = {
        { 3, CRONQ_LOG_ERROR, 10, 4, "7 more lines like those of worker/fetcher.c:120" },
        { 3, CRONQ_LOG_WARN, 4, 4, "1 more lines like those of" },
        { 3, CRONQ_LOG_ERROR, 3, 3, NULL },
        { 3, CRONQ_LOG_INFO, 10, 10, NULL },
        { 0, CRONQ_LOG_ERROR, 250, 101, "150 more lines like those of" },
        { UINT32_MAX, CRONQ_LOG_ERROR, 250, 250, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = written((cronq_log_file_options){ .repeat_limit = rows[i].limit },
                             rows[i].level, rows[i].count);

        assert_int_equal(count_lines(text), rows[i].lines);
        assert_int_equal(strstr(text, "more lines") != NULL, rows[i].told != NULL);
        if (rows[i].told)
            assert_non_null(strstr(text, rows[i].told));
        free(text);
    }
}

static void journald_is_told_the_level_before_each_line(void **state)
{
    static const struct {
        cronq_log_level level;
        const char *beginning;
    } rows[] = { { CRONQ_LOG_DEBUG, "<7>{\"@timestamp\"" },
                 { CRONQ_LOG_INFO, "<6>{\"@timestamp\"" },
                 { CRONQ_LOG_WARN, "<4>{\"@timestamp\"" },
                 { CRONQ_LOG_ERROR, "<3>{\"@timestamp\"" } };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cronq_log_file_options options = { .level_prefix = true,
                                           .level = CRONQ_LOG_DEBUG };
        char *text = written(options, rows[i].level, 1);

        assert_memory_equal(text, rows[i].beginning, strlen(rows[i].beginning));
        free(text);
    }
}

static void json_line_has_the_shape_of_logx(void **state)
{
    cronq_log_record record = plain_record;
    cq_buf buf;

    (void)state;
    record.task_id = "id-1";
    record.task_type = "email:send";
    record.queue = "default";
    record.trace_id = "0af7651916cd43dd8448eb211c80319c";
    record.span_id = "b7ad6b7169203331";
    record.duration_ms = 12;
    cq_buf_init(&buf, 4096);
    cq_log_line_json(&buf, &record, 100);
    assert_string_equal(
        cq_buf_text(&buf),
        "{\"@timestamp\":\"2026-01-15T10:17:42.500Z\",\"caller\":\"worker/"
        "fetcher.c:120\",\"content\":\"hello\",\"duration\":\"12.0ms\",\"level\":"
        "\"info\","
        "\"queue\":\"default\",\"span\":\"b7ad6b7169203331\",\"task_id\":\"id-1\","
        "\"trace\":\"0af7651916cd43dd8448eb211c80319c\",\"type\":\"email:send\"}\n");
    cq_buf_release(&buf);
}

static void plain_line_can_not_drive_the_terminal(void **state)
{
    cronq_log_record record = plain_record;
    cq_buf buf;

    (void)state;
    record.text = "a\nb\x1b[31m\xc2\x9b\xff\xc3\xa9";
    record.task_id = "x\ry";
    cq_buf_init(&buf, 4096);
    cq_log_line_plain(&buf, &record, 100);
    assert_string_equal(cq_buf_text(&buf),
                        "2026-01-15T10:17:42.500Z info  a\\nb\\x1b[31m\\x9b\xef\xbf\xbd"
                        "\xc3\xa9 id=x\\x0dy\n");
    cq_buf_release(&buf);
}

static void text_is_cut_between_characters_and_says_so(void **state)
{
    cronq_log_record record = plain_record;
    json_t *json;
    cq_buf buf;

    (void)state;
    record.text = "abc\xe2\x82\xac"; /* the euro sign begins at byte 3 */
    cq_buf_init(&buf, 4096);
    for (size_t limit = 3; limit < 6; limit++) {
        cq_buf_reset(&buf);
        cq_log_line_json(&buf, &record, limit);
        json = json_loads(cq_buf_text(&buf), 0, NULL);
        assert_string_equal(json_string_value(json_object_get(json, "content")), "abc");
        assert_true(json_is_true(json_object_get(json, "truncated")));
        json_decref(json);
    }
    cq_buf_reset(&buf);
    cq_log_line_json(&buf, &record, 6);
    assert_null(strstr(cq_buf_text(&buf), "truncated"));
    cq_buf_release(&buf);
}

static void any_bytes_give_a_valid_json_line(void **state)
{
    cronq_log_record record = plain_record;
    char text[200], id[1500];
    cq_random random;
    cq_buf buf;

    (void)state;
    cq_random_seed(&random, 7);
    cq_buf_init(&buf, 1 << 20);
    record.text = text;
    record.task_id = record.task_type = record.queue = id;
    record.caller = record.trace_id = record.span_id = id;
    for (int round = 0; round < 3000; round++) {
        json_t *json;

        for (size_t i = 0; i < sizeof text - 1; i++)
            text[i] = (char)(1 + cq_random_below(&random, 255));
        for (size_t i = 0; i < sizeof id - 1; i++)
            id[i] = text[i % (sizeof text - 1)];
        text[cq_random_below(&random, sizeof text)] = '\0';
        text[sizeof text - 1] = id[sizeof id - 1] = '\0';
        cq_buf_reset(&buf);
        cq_log_line_json(&buf, &record, 150);
        json = json_loads(cq_buf_text(&buf), JSON_REJECT_DUPLICATES, NULL);
        if (!json)
            fail_msg("round %d: %s", round, buf.data);
        assert_int_equal(count_lines(buf.data), 1);
        json_decref(json);
    }
    cq_buf_release(&buf);
}

static void files_are_made_and_errors_go_to_both(void **state)
{
    char dir[] = "/tmp/cronq-log-XXXXXX", path[200], *text;
    cronq_log_file *log;
    cronq_logger logger;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a/b", dir);
    log = open_log(CRONQ_LOG_FILE_OPTIONS(.mode = CRONQ_LOG_MODE_FILE, .path = path));
    logger = cronq_log_file_logger(log);
    write_text(&logger, CRONQ_LOG_DEBUG, "below the level");
    write_text(&logger, CRONQ_LOG_INFO, "one");
    write_text(&logger, CRONQ_LOG_ERROR, "two");
    snprintf(path, sizeof path, "%s/a/b/cronq.log", dir);
    text = read_whole(path);
    assert_int_equal(count_lines(text), 2);
    assert_null(strstr(text, "below"));
    free(text);
    snprintf(path, sizeof path, "%s/a/b/error.log", dir);
    text = read_whole(path);
    assert_int_equal(count_lines(text), 1);
    assert_non_null(strstr(text, "\"content\":\"two\""));
    free(text);
    cronq_log_file_free(log);
    snprintf(path, sizeof path, "rm -r %s", dir);
    assert_int_equal(system(path), 0);
}

static void reopen_follows_a_rotation(void **state)
{
    char dir[] = "/tmp/cronq-log-XXXXXX", path[200], moved[200], *text;
    cronq_log_file *log;
    cronq_logger logger;
    cronq_error err;

    (void)state;
    assert_non_null(mkdtemp(dir));
    log = open_log(CRONQ_LOG_FILE_OPTIONS(.mode = CRONQ_LOG_MODE_FILE, .path = dir));
    logger = cronq_log_file_logger(log);
    snprintf(path, sizeof path, "%s/cronq.log", dir);
    snprintf(moved, sizeof moved, "%s/cronq.log.1", dir);
    write_text(&logger, CRONQ_LOG_INFO, "before");
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(cronq_log_file_reopen(log, &err), CRONQ_OK);
    write_text(&logger, CRONQ_LOG_INFO, "after");
    text = read_whole(path);
    assert_null(strstr(text, "before"));
    assert_non_null(strstr(text, "after"));
    free(text);
    cronq_log_file_free(log);
    snprintf(path, sizeof path, "rm -r %s", dir);
    assert_int_equal(system(path), 0);
}

static void volume_puts_service_and_host_in_the_path(void **state)
{
    char dir[] = "/tmp/cronq-log-XXXXXX", path[600], host[256] = "";
    cronq_log_file *log = NULL;
    cronq_error err;
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(dir));
    gethostname(host, sizeof host - 1);
    log = open_log(CRONQ_LOG_FILE_OPTIONS(.mode = CRONQ_LOG_MODE_VOLUME, .path = dir,
                                          .service_name = "billing"));
    snprintf(path, sizeof path, "%s/billing/%s/cronq.log", dir, host);
    assert_int_equal(stat(path, &st), 0);
    cronq_log_file_free(log);
    assert_int_equal(
        cronq_log_file_new(CRONQ_LOG_FILE_OPTIONS(.mode = CRONQ_LOG_MODE_VOLUME,
                                                  .path = dir, .service_name = "../x"),
                           &log, &err),
        CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "service_name"));
    snprintf(path, sizeof path, "rm -r %s", dir);
    assert_int_equal(system(path), 0);
}

static void full_device_is_survived_and_counted(void **state)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cronq_log_file *log;
    cronq_logger logger;

    (void)state;
    assert_true(fd >= 0);
    log = open_log(CRONQ_LOG_FILE_OPTIONS(.fd = fd));
    logger = cronq_log_file_logger(log);
    for (int i = 0; i < 5; i++)
        write_text(&logger, CRONQ_LOG_INFO, "lost");
    assert_int_equal(cronq_log_file_dropped_count(log), 5);
    cronq_log_file_free(log);
    close(fd);
}

static void closed_pipe_raises_no_signal(void **state)
{
    cronq_log_file *log;
    cronq_logger logger;
    sigset_t pending;
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    log = open_log(CRONQ_LOG_FILE_OPTIONS(.fd = fds[1]));
    logger = cronq_log_file_logger(log);
    close(fds[0]);
    write_text(&logger, CRONQ_LOG_INFO, "lost");
    sigpending(&pending);
    assert_false(sigismember(&pending, SIGPIPE));
    assert_int_equal(cronq_log_file_dropped_count(log), 1);
    cronq_log_file_free(log);
    close(fds[1]);
}

/* Fill it up, see that nothing waits, empty it, see what the next line says. */
static void check_reader_that_stops(int reader, int writer)
{
    static char bytes[1 << 20];
    char text[1000];
    cronq_log_file *log = open_log(CRONQ_LOG_FILE_OPTIONS(.fd = writer));
    cronq_logger logger = cronq_log_file_logger(log);
    int64_t start_ms = cq_mono_ms();
    uint64_t dropped;
    ssize_t got, len = 0;
    char *last;

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 2000; i++)
        write_text(&logger, CRONQ_LOG_INFO, text);
    assert_true(cq_mono_ms() - start_ms < 2000);
    dropped = cronq_log_file_dropped_count(log);
    assert_true(dropped > 0 && dropped < 2000);
    fcntl(reader, F_SETFL, O_NONBLOCK);
    while ((got = read(reader, bytes, sizeof bytes)) > 0)
        ;
    write_text(&logger, CRONQ_LOG_INFO, "again");
    while (len < (ssize_t)sizeof bytes - 1 &&
           (got = read(reader, bytes + len, sizeof bytes - 1 - (size_t)len)) > 0)
        len += got;
    bytes[len] = '\0';
    snprintf(text, sizeof text, "%llu log lines were lost", (unsigned long long)dropped);
    assert_non_null(strstr(bytes, text));
    last = strstr(bytes, "{\"@timestamp");
    assert_non_null(last);
    assert_non_null(strstr(last, "\"content\":\"again\""));
    assert_int_equal(cronq_log_file_dropped_count(log), dropped);
    cronq_log_file_free(log);
}

static void full_pipe_does_not_block(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    check_reader_that_stops(fds[0], fds[1]);
    assert_false(fcntl(fds[1], F_GETFL) & O_NONBLOCK); /* the shell's end is as it was */
    close(fds[0]);
    close(fds[1]);
}

static void full_socket_does_not_block(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    check_reader_that_stops(fds[0], fds[1]);
    close(fds[0]);
    close(fds[1]);
}

#define THREADS 4
#define LINES   500

static void *write_many(void *arg)
{
    const cronq_logger *logger = arg;

    for (int i = 0; i < LINES; i++)
        write_text(logger, CRONQ_LOG_INFO, "from one of many threads");
    return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
    char path[] = "/tmp/cronq-log-XXXXXX", *text, *save = NULL;
    int fd = mkstemp(path);
    pthread_t threads[THREADS];
    cronq_log_file *log;
    cronq_logger logger;
    size_t count = 0;

    (void)state;
    assert_true(fd >= 0);
    log = open_log(CRONQ_LOG_FILE_OPTIONS(.fd = fd));
    logger = cronq_log_file_logger(log);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &logger), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    text = read_whole(path);
    for (char *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        json_t *json = json_loads(line, 0, NULL);

        assert_non_null(json);
        json_decref(json);
        count++;
    }
    assert_int_equal(count, THREADS * LINES);
    assert_int_equal(cronq_log_file_dropped_count(log), 0);
    free(text);
    cronq_log_file_free(log);
    close(fd);
    unlink(path);
}

static void wrong_options_name_the_field(void **state)
{
    static const struct {
        cronq_log_file_options options;
        cronq_status status;
        const char *text;
    } rows[] = {
        { { .struct_size = sizeof(cronq_log_file_options), .mode = (cronq_log_mode)9 },
          CRONQ_EINVAL,
          "mode 9" },
        { { .struct_size = sizeof(cronq_log_file_options), .level = (cronq_log_level)6 },
          CRONQ_EINVAL,
          "level 6" },
        { { .struct_size = sizeof(cronq_log_file_options), .fd = -1 },
          CRONQ_EINVAL,
          "fd -1" },
        { { .struct_size = sizeof(cronq_log_file_options), .fd = 999 },
          CRONQ_EIO,
          "descriptor 999" },
        { { .struct_size = sizeof(cronq_log_file_options),
            .max_content_bytes = 1u << 21 },
          CRONQ_EINVAL,
          "max_content_bytes" },
        { { .struct_size = sizeof(cronq_log_file_options),
            .mode = CRONQ_LOG_MODE_FILE,
            .path = "/dev/null/logs" },
          CRONQ_EIO,
          "/dev/null" },
        { { .mode = CRONQ_LOG_MODE_FILE }, CRONQ_EINVAL, "struct_size" },
    };
    cronq_log_file *log = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cronq_error err = { 0 };

        assert_int_equal(cronq_log_file_new(&rows[i].options, &log, &err),
                         rows[i].status);
        assert_non_null(strstr(err.text, rows[i].text));
        assert_null(log);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_line_has_the_shape_of_logx),
        cmocka_unit_test(plain_line_can_not_drive_the_terminal),
        cmocka_unit_test(text_is_cut_between_characters_and_says_so),
        cmocka_unit_test(any_bytes_give_a_valid_json_line),
        cmocka_unit_test(files_are_made_and_errors_go_to_both),
        cmocka_unit_test(reopen_follows_a_rotation),
        cmocka_unit_test(volume_puts_service_and_host_in_the_path),
        cmocka_unit_test(full_device_is_survived_and_counted),
        cmocka_unit_test(closed_pipe_raises_no_signal),
        cmocka_unit_test(full_pipe_does_not_block),
        cmocka_unit_test(full_socket_does_not_block),
        cmocka_unit_test(threads_do_not_mix_their_lines),
        cmocka_unit_test(errors_that_repeat_are_counted_not_written),
        cmocka_unit_test(journald_is_told_the_level_before_each_line),
        cmocka_unit_test(wrong_options_name_the_field),
    };

    setenv("TZ", "UTC", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
