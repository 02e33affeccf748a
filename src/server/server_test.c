/* SPDX-License-Identifier: MIT */
/* server_test.c - the server's contract, on a real Redis. */
#include "base/clock.h"
#include "support/redis_server.h"

#include <cronq/cronq.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 10000

/* What handlers and the log hook write down, in order. */
static struct {
    pthread_mutex_t mutex;
    char lines[4096][64];
    atomic_size_t count;
} book = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static char first[] = "first", second[] = "second", context[] = "context";
static redis_server *redis;
static cronq_client *client;

static void write_down(const char *text)
{
    pthread_mutex_lock(&book.mutex);
    if (book.count < sizeof book.lines / sizeof book.lines[0]) {
        snprintf(book.lines[book.count], sizeof book.lines[0], "%s", text);
        book.count++;
    }
    pthread_mutex_unlock(&book.mutex);
}

static bool wait_for_lines(size_t count)
{
    for (int i = 0; i < PATIENCE_MS && atomic_load(&book.count) < count; i++)
        cq_sleep_ms(1);
    return atomic_load(&book.count) >= count;
}

static size_t lines_equal_to(const char *text, size_t among)
{
    size_t found = 0;

    for (size_t i = 0; i < among; i++)
        found += strcmp(book.lines[i], text) == 0;
    return found;
}

static int set_up(void **state)
{
    (void)state;
    book.count = 0;
    redis = redis_server_start(NULL);
    return cronq_client_new(redis_server_uri(redis), NULL, &client, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    cronq_client_free(client);
    redis_server_stop(redis);
    return 0;
}

static void push_to(const char *queue, const char *type)
{
    cronq_error err = { CRONQ_OK, "" };

    if (cronq_client_push(client, CRONQ_TASK(.type = type, .queue = queue), NULL, &err))
        fail_msg("push: %s", err.text);
}

static cronq_status write_queue(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    write_down(cronq_attempt_queue(attempt));
    return CRONQ_OK;
}

static cronq_status write_arg(cronq_attempt *attempt, void *arg)
{
    (void)attempt;
    write_down(arg);
    return CRONQ_OK;
}

static cronq_server *new_server(const cronq_server_options *options)
{
    cronq_server *server = NULL;
    cronq_error err = { CRONQ_OK, "" };

    if (cronq_server_new(redis_server_uri(redis), options, &server, &err))
        fail_msg("server: %s", err.text);
    return server;
}

static void add(cronq_server *server, const char *pattern, cronq_handler *handler,
                char *arg)
{
    assert_int_equal(cronq_server_add(server, pattern, handler, arg, NULL, NULL),
                     CRONQ_OK);
}

static void options_name_the_field_that_is_wrong(void **state)
{
    static const cronq_queue twice[] = { { "a", 1 }, { "a", 2 } };
    static const cronq_queue weightless[] = { { "a", 0 } };
    static const cronq_queue braces[] = { { "a{b}", 1 } };
    const struct {
        const cronq_server_options *options;
        const char *text;
    } rows[] = {
        { CRONQ_SERVER_OPTIONS(.concurrency = 10001), "concurrency" },
        { CRONQ_SERVER_OPTIONS(.queues = twice, .queue_count = 2), "a is named twice" },
        { CRONQ_SERVER_OPTIONS(.queues = weightless, .queue_count = 1), "weight" },
        { CRONQ_SERVER_OPTIONS(.queues = braces, .queue_count = 1), "a{b}" },
        { CRONQ_SERVER_OPTIONS(.namespace_name = "a\nb"), "queue" },
        { CRONQ_SERVER_OPTIONS(.shutdown_timeout_ms = -5), "shutdown_timeout_ms: -5" },
        { CRONQ_SERVER_OPTIONS(.janitor_batch_count = 10001), "janitor_batch_count" },
        { CRONQ_SERVER_OPTIONS(.retry_kind = (cronq_retry_kind)7), "retry_kind" },
        { &(cronq_server_options){ .concurrency = 1 }, "struct_size" },
    };
    cronq_server *server = NULL;
    cronq_error err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(
            cronq_server_new("redis://127.0.0.1:1", rows[i].options, &server, &err),
            CRONQ_EINVAL);
        if (!strstr(err.text, rows[i].text))
            fail_msg("\"%s\" does not say \"%s\"", err.text, rows[i].text);
        assert_null(server);
    }
    assert_int_equal(cronq_server_new(NULL, NULL, &server, &err), CRONQ_EINVAL);
    assert_int_equal(cronq_server_new("redis://127.0.0.1:99999", NULL, &server, &err),
                     CRONQ_EINVAL);
}

static void an_entry_whose_queue_is_not_served_is_a_start_error(void **state)
{
    cronq_entry_options entry = { .struct_size = sizeof entry,
                                  .task = CRONQ_TASK(.queue = "elsewhere") };
    cronq_server *server = new_server(NULL);
    cronq_error err;

    (void)state;
    assert_int_equal(cronq_server_cron_add(server, "* * * * *", "only-scheduled", NULL,
                                           NULL, &entry, NULL, NULL),
                     CRONQ_OK);
    assert_int_equal(cronq_server_cron_add(server, "* * * * *", "handled", write_queue,
                                           NULL, &entry, NULL, NULL),
                     CRONQ_OK);
    assert_int_equal(cronq_server_start(server, &err), CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "handled"));
    assert_non_null(strstr(err.text, "elsewhere"));
    cronq_server_free(server);
}

/* Nothing of it is left that would be in the way of a better one. */
static void a_refused_entry_leaves_no_handler_and_a_refused_handler_no_entry(void **state)
{
    const cronq_handler_options bad = { .struct_size = sizeof bad,
                                        .cron_spec = "@hourly",
                                        .isolation = CRONQ_ISOLATION_PROCESS,
                                        .child_count = 5000 };
    const cronq_entry_options named = { .struct_size = sizeof named, .name = "n" };
    cronq_server *server = new_server(NULL);

    (void)state;
    assert_int_equal(cronq_server_cron_add(server, "61 * * * *", "t", write_queue, NULL,
                                           NULL, NULL, NULL),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_server_add(server, "t", write_queue, NULL, &bad, NULL),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_server_cron_add(server, "@hourly", "t", write_queue, NULL,
                                           &named, NULL, NULL),
                     CRONQ_OK);
    assert_int_equal(
        cronq_server_cron_add(server, "@daily", "t", write_queue, NULL, NULL, NULL, NULL),
        CRONQ_EEXIST);
    assert_int_equal(
        cronq_server_cron_add(server, "@daily", "t", NULL, NULL, NULL, NULL, NULL),
        CRONQ_OK);
    assert_int_equal(
        cronq_server_cron_add(server, "@hourly", "t", NULL, NULL, NULL, NULL, NULL),
        CRONQ_OK);
    cronq_server_free(server);
}

static void what_comes_too_late_or_twice_is_refused(void **state)
{
    cronq_server *server = new_server(NULL);

    (void)state;
    add(server, "t", write_queue, NULL);
    assert_int_equal(cronq_server_add(server, "t", write_queue, NULL, NULL, NULL),
                     CRONQ_EEXIST);
    assert_int_equal(cronq_server_add(server, " ", write_queue, NULL, NULL, NULL),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_server_add(server, "u", NULL, NULL, NULL, NULL), CRONQ_EINVAL);
    assert_int_equal(
        cronq_server_cron_add(server, "61 * * * *", "v", NULL, NULL, NULL, NULL, NULL),
        CRONQ_EINVAL);
    assert_int_equal(cronq_server_start(server, NULL), CRONQ_OK);
    assert_int_equal(cronq_server_start(server, NULL), CRONQ_ESTATE);
    assert_int_equal(cronq_server_add(server, "w", write_queue, NULL, NULL, NULL),
                     CRONQ_ESTATE);
    assert_int_equal(cronq_server_use(server, NULL, NULL, NULL), CRONQ_ESTATE);
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    assert_int_equal(cronq_server_start(server, NULL), CRONQ_ESTATE);
    assert_int_equal(cronq_server_ping(server, NULL), CRONQ_ESTATE);
    cronq_server_free(server);
}

static void a_namespace_prefixes_types_and_names_the_queue(void **state)
{
    cronq_server *server = new_server(CRONQ_SERVER_OPTIONS(.namespace_name = "shop"));

    (void)state;
    add(server, "mail", write_queue, NULL);
    push_to("shop", "shop:mail");
    assert_int_equal(cronq_server_drain(server, NULL), CRONQ_OK);
    assert_int_equal(atomic_load(&book.count), 1);
    assert_string_equal(book.lines[0], "shop");
    cronq_server_free(server);
}

static void the_longest_prefix_wins(void **state)
{
    cronq_server *server = new_server(CRONQ_SERVER_OPTIONS(.concurrency = 1));

    (void)state;
    add(server, "a", write_arg, second);
    add(server, "a:b", write_arg, first);
    push_to(NULL, "a:bc");
    push_to(NULL, "a:c");
    assert_int_equal(cronq_server_drain(server, NULL), CRONQ_OK);
    assert_string_equal(book.lines[0], "first");
    assert_string_equal(book.lines[1], "second");
    cronq_server_free(server);
}

static cronq_status wrap(cronq_attempt *attempt, const cronq_next *next, void *arg)
{
    cronq_status status;
    char line[64];

    snprintf(line, sizeof line, "into %s", (const char *)arg);
    write_down(line);
    status = cronq_next_run(next, attempt);
    snprintf(line, sizeof line, "out of %s", (const char *)arg);
    write_down(line);
    return status;
}

static cronq_status write_user_data(cronq_attempt *attempt, void *arg)
{
    (void)arg;
    write_down(cronq_attempt_user_data(attempt));
    return CRONQ_OK;
}

static void middlewares_wrap_in_the_order_of_their_adding(void **state)
{
    static const char *const expected[] = { "into first", "into second", "context",
                                            "out of second", "out of first" };
    cronq_server *server = new_server(NULL);

    (void)state;
    assert_int_equal(cronq_server_use(server, wrap, first, NULL), CRONQ_OK);
    assert_int_equal(cronq_server_use(server, wrap, second, NULL), CRONQ_OK);
    cronq_server_set_base_context(server, context);
    add(server, "t", write_user_data, NULL);
    push_to(NULL, "t");
    assert_int_equal(cronq_server_drain(server, NULL), CRONQ_OK);
    assert_int_equal(atomic_load(&book.count), 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(book.lines[i], expected[i]);
    cronq_server_free(server);
}

static void fill(const char *queue, size_t count)
{
    const cronq_task *tasks[1000];

    for (size_t i = 0; i < count; i++) {
        cronq_task *task = malloc(sizeof *task);

        *task = (cronq_task){ .struct_size = sizeof *task, .type = "t", .queue = queue };
        tasks[i] = task;
    }
    assert_int_equal(cronq_client_push_many(client, tasks, count, NULL, NULL, NULL),
                     CRONQ_OK);
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)tasks[i]);
}

static void weights_give_shares_while_all_queues_are_full(void **state)
{
    static const cronq_queue queues[] = { { "low", 1 }, { "high", 6 }, { "middle", 3 } };
    cronq_server *server = new_server(
        CRONQ_SERVER_OPTIONS(.queues = queues, .queue_count = 3, .concurrency = 10));

    (void)state;
    for (size_t i = 0; i < 3; i++)
        fill(queues[i].name, 1000);
    add(server, "t", write_queue, NULL);
    assert_int_equal(cronq_server_start(server, NULL), CRONQ_OK);
    assert_true(wait_for_lines(1000));
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    assert_in_range(lines_equal_to("high", 1000), 540, 660);
    assert_in_range(lines_equal_to("middle", 1000), 270, 330);
    assert_in_range(lines_equal_to("low", 1000), 90, 110);
    cronq_server_free(server);
}

static void strict_priority_takes_no_low_task_before_a_high_one(void **state)
{
    static const cronq_queue queues[] = { { "low", 1 }, { "high", 2 } };
    cronq_server *server =
        new_server(CRONQ_SERVER_OPTIONS(.queues = queues, .queue_count = 2,
                                        .concurrency = 1, .strict_priority = true));

    (void)state;
    fill("low", 300);
    fill("high", 300);
    add(server, "t", write_queue, NULL);
    assert_int_equal(cronq_server_drain(server, NULL), CRONQ_OK);
    assert_int_equal(atomic_load(&book.count), 600);
    assert_int_equal(lines_equal_to("high", 300), 300);
    cronq_server_free(server);
}

static void drain_leaves_delayed_tasks_alone(void **state)
{
    cronq_server *server = new_server(NULL);
    int64_t begun_ms = cq_mono_ms();

    (void)state;
    add(server, "t", write_queue, NULL);
    push_to(NULL, "t");
    assert_int_equal(
        cronq_client_push_in(client, CRONQ_TASK(.type = "t"), 60000, NULL, NULL),
        CRONQ_OK);
    assert_int_equal(cronq_server_drain(server, NULL), CRONQ_OK);
    assert_true(cq_mono_ms() - begun_ms < PATIENCE_MS);
    assert_int_equal(atomic_load(&book.count), 1);
    assert_int_equal(redis_server_int(redis, "ZCARD asynq:{default}:scheduled"), 1);
    cronq_server_free(server);
}

static cronq_status sleep_a_little(cronq_attempt *attempt, void *arg)
{
    (void)attempt, (void)arg;
    write_down("started");
    cq_sleep_ms(300);
    write_down("ended");
    return CRONQ_OK;
}

static void write_stop_lines(void *arg, const cronq_log_record *record)
{
    (void)arg;
    if (strncmp(record->text, "stop: ", 6) == 0)
        write_down(record->text);
}

static void stop_ends_scheduler_then_work_then_connections(void **state)
{
    static const char *const expected[] = {
        "started", "stop: scheduler stopped", "ended",
        "stop: worker stopped, 0 handlers still running", "stop: connections closed"
    };
    cronq_server *server = new_server(
        CRONQ_SERVER_OPTIONS(.logger = { write_stop_lines, NULL, CRONQ_LOG_DEBUG }));

    (void)state;
    add(server, "t", sleep_a_little, NULL);
    assert_int_equal(cronq_server_cron_add(server, "@hourly", "t:hourly", NULL, NULL,
                                           NULL, NULL, NULL),
                     CRONQ_OK);
    assert_int_equal(cronq_server_start(server, NULL), CRONQ_OK);
    push_to(NULL, "t");
    assert_true(wait_for_lines(1));
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    assert_int_equal(atomic_load(&book.count), 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(book.lines[i], expected[i]);
    assert_int_equal(redis_server_int(redis, "INCRBY asynq:{default}:processed 0"), 1);
    cronq_server_free(server);
}

/* What it would take would only fail, instead of running elsewhere. */
static void a_server_without_handlers_takes_nothing(void **state)
{
    cronq_server *server = new_server(NULL);
    cronq_error err;

    (void)state;
    assert_int_equal(cronq_server_cron_add(server, "* * * * * *", "tick", NULL, NULL,
                                           NULL, NULL, NULL),
                     CRONQ_OK);
    push_to(NULL, "t");
    assert_int_equal(cronq_server_start(server, NULL), CRONQ_OK);
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        if (redis_server_int(redis, "LLEN asynq:{default}:pending") >= 3)
            break;
        cq_sleep_ms(10);
    }
    assert_true(redis_server_int(redis, "LLEN asynq:{default}:pending") >= 3);
    assert_int_equal(redis_server_int(redis, "ZCARD asynq:{default}:retry"), 0);
    assert_int_equal(cronq_server_ready(server, NULL), CRONQ_OK);
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    cronq_server_free(server);
    server = new_server(NULL);
    assert_int_equal(cronq_server_drain(server, &err), CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "no handler"));
    cronq_server_free(server);
}

static atomic_int caught;

static void catch_signal(int number)
{
    atomic_store(&caught, number);
}

static void *send_signals(void *arg)
{
    (void)arg;
    push_to(NULL, "t");
    wait_for_lines(1);
    kill(getpid(), SIGTSTP);
    cq_sleep_ms(300);
    push_to(NULL, "t");
    cq_sleep_ms(300);
    write_down("quiet");
    kill(getpid(), SIGTERM);
    return NULL;
}

static void run_obeys_signals_and_gives_them_back(void **state)
{
    struct sigaction mine = { .sa_handler = catch_signal }, before, after;
    cronq_server *server = new_server(NULL);
    pthread_t thread;

    (void)state;
    sigaction(SIGTERM, &mine, &before);
    add(server, "t", write_queue, NULL);
    assert_int_equal(pthread_create(&thread, NULL, send_signals, NULL), 0);
    assert_int_equal(cronq_server_run(server, NULL), CRONQ_OK);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&book.count), 2); /* nothing ran while it was quiet */
    assert_string_equal(book.lines[1], "quiet");
    assert_int_equal(redis_server_int(redis, "LLEN asynq:{default}:pending"), 1);
    sigaction(SIGTERM, &before, &after);
    assert_ptr_equal(after.sa_handler, catch_signal);
    assert_int_equal(atomic_load(&caught), 0);
    cronq_server_free(server);
}

static bool becomes(cronq_server *server, cronq_status wanted)
{
    for (int i = 0; i < PATIENCE_MS * 2; i += 20) {
        if (cronq_server_alive(server, NULL) == wanted)
            return true;
        cq_sleep_ms(20);
    }
    return false;
}

/* A store that hangs for ever, and calls that wait as long, stop the engine. */
static void an_engine_that_is_stuck_is_not_alive(void **state)
{
    const cronq_store_options *store =
        CRONQ_STORE_OPTIONS(.read_timeout_ms = CRONQ_NEVER);
    cronq_server *server =
        new_server(CRONQ_SERVER_OPTIONS(.store = store, .heartbeat_ms = 100));

    (void)state;
    add(server, "t", write_queue, NULL);
    assert_int_equal(cronq_server_alive(server, NULL), CRONQ_ESTATE);
    assert_int_equal(cronq_server_start(server, NULL), CRONQ_OK);
    assert_true(becomes(server, CRONQ_OK));
    /* Idle for longer than its patience is alive all the same. */
    for (int i = 0; i < 20; i++) {
        cq_sleep_ms(50);
        assert_int_equal(cronq_server_alive(server, NULL), CRONQ_OK);
    }
    redis_server_pause(redis);
    assert_true(becomes(server, CRONQ_ETIMEDOUT));
    redis_server_resume(redis);
    assert_true(becomes(server, CRONQ_OK));
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    assert_int_equal(cronq_server_alive(server, NULL), CRONQ_ESTATE);
    cronq_server_free(server);
}

static void *stop_it(void *arg)
{
    push_to(NULL, "t");
    wait_for_lines(1);
    return cronq_server_stop(arg, NULL) ? arg : NULL;
}

static void a_stop_by_another_thread_ends_the_run(void **state)
{
    cronq_server *server = new_server(NULL);
    pthread_t thread;
    void *failed;

    (void)state;
    add(server, "t", write_queue, NULL);
    assert_int_equal(pthread_create(&thread, NULL, stop_it, server), 0);
    assert_int_equal(cronq_server_run(server, NULL), CRONQ_ECANCELED);
    pthread_join(thread, &failed);
    assert_null(failed);
    cronq_server_free(server);
}

static cronq_status hang(cronq_attempt *attempt, void *arg)
{
    (void)attempt;
    write_down("hanging");
    while (!atomic_load((atomic_int *)arg))
        cq_sleep_ms(5);
    return CRONQ_OK;
}

static void a_handler_that_does_not_return_is_reported_by_stop(void **state)
{
    static atomic_int release;
    cronq_server *server = new_server(CRONQ_SERVER_OPTIONS(.shutdown_timeout_ms = 200));
    cronq_error err;

    (void)state;
    assert_int_equal(cronq_server_add(server, "t", hang, &release, NULL, NULL), CRONQ_OK);
    assert_int_equal(cronq_server_start(server, NULL), CRONQ_OK);
    push_to(NULL, "t");
    assert_true(wait_for_lines(1));
    assert_int_equal(cronq_server_stop(server, &err), CRONQ_ETIMEDOUT);
    assert_non_null(strstr(err.text, "1"));
    assert_int_equal(redis_server_int(redis, "LLEN asynq:{default}:active"), 1);
    atomic_store(&release, 1);
    cq_sleep_ms(300);
    cronq_server_free(server); /* no leak: the handler has returned */
}

#define WITH_REDIS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_name_the_field_that_is_wrong),
        WITH_REDIS(an_entry_whose_queue_is_not_served_is_a_start_error),
        WITH_REDIS(a_refused_entry_leaves_no_handler_and_a_refused_handler_no_entry),
        WITH_REDIS(what_comes_too_late_or_twice_is_refused),
        WITH_REDIS(a_namespace_prefixes_types_and_names_the_queue),
        WITH_REDIS(the_longest_prefix_wins),
        WITH_REDIS(middlewares_wrap_in_the_order_of_their_adding),
        WITH_REDIS(weights_give_shares_while_all_queues_are_full),
        WITH_REDIS(strict_priority_takes_no_low_task_before_a_high_one),
        WITH_REDIS(drain_leaves_delayed_tasks_alone),
        WITH_REDIS(stop_ends_scheduler_then_work_then_connections),
        WITH_REDIS(a_server_without_handlers_takes_nothing),
        WITH_REDIS(run_obeys_signals_and_gives_them_back),
        WITH_REDIS(an_engine_that_is_stuck_is_not_alive),
        WITH_REDIS(a_stop_by_another_thread_ends_the_run),
        WITH_REDIS(a_handler_that_does_not_return_is_reported_by_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
