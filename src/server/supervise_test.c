/* SPDX-License-Identifier: MIT */
/* supervise_test.c - when a process may not be forked, and what a supervisor returns. */
#include "base/clock.h"
#include "support/scratch.h"

#include <cronq/client.h>
#include <cronq/server.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[SCRATCH_ROOM], path[128], uri[160];

static int set_up(void **state)
{
    (void)state;
    scratch_new(folder);
    snprintf(path, sizeof path, "%s/store", folder);
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(folder);
    return 0;
}

static cronq_status begin(void *arg, cronq_error *err)
{
    (void)err;
    if (arg)
        return *(cronq_status *)arg;
    kill(getppid(), SIGTERM); /* the supervisor passes it on */
    return CRONQ_OK;
}

static cronq_status run(const char *where, cronq_status *begins, cronq_error *err)
{
    cronq_server *server;
    cronq_status status;

    assert_int_equal(
        cronq_server_new(where,
                         CRONQ_SERVER_OPTIONS(.supervise = true, .concurrency = 1,
                                              .on_begin = begin, .on_begin_arg = begins),
                         &server, NULL),
        CRONQ_OK);
    status = cronq_server_run(server, err);
    cronq_server_free(server);
    return status;
}

static void expect_refusal(const char *where, const char *reason)
{
    cronq_error err = { CRONQ_OK, "" };

    assert_int_equal(run(where, NULL, &err), CRONQ_ESTATE);
    if (!strstr(err.text, reason))
        fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
}

static void *wait_for_byte(void *fd)
{
    char byte;

    assert_int_equal(read(*(int *)fd, &byte, 1), 1);
    return NULL;
}

static void a_second_thread_is_a_reason(void **state)
{
    pthread_t thread;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    pthread_create(&thread, NULL, wait_for_byte, &ends[0]);
    expect_refusal(uri, " threads and cannot be forked");
    assert_int_equal(write(ends[1], "", 1), 1);
    pthread_join(thread, NULL);
    close(ends[0]);
    close(ends[1]);
}

static void a_connected_handle_is_a_reason(void **state)
{
    cronq_client *client;

    (void)state;
    assert_int_equal(cronq_client_new(uri, NULL, &client, NULL), CRONQ_OK);
    assert_int_equal(cronq_client_push(client, CRONQ_TASK(.type = "t"), NULL, NULL),
                     CRONQ_OK);
    expect_refusal(uri, "connections to stores");
    cronq_client_free(client);
}

static void the_open_database_is_a_reason(void **state)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    (void)state;
    assert_true(fd >= 0);
    expect_refusal(uri, path);
    close(fd);
}

static void a_store_in_memory_is_a_reason(void **state)
{
    (void)state;
    expect_refusal("sqlite::memory:", "in memory");
}

static void the_supervisor_returns_what_the_worker_returned(void **state)
{
    cronq_status failed = CRONQ_EAUTH;

    (void)state;
    assert_int_equal(run(uri, NULL, NULL), CRONQ_OK);
    assert_int_equal(run(uri, &failed, NULL), CRONQ_EAUTH);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_connected_handle_is_a_reason),
        TEST(the_open_database_is_a_reason),
        TEST(a_store_in_memory_is_a_reason),
        TEST(the_supervisor_returns_what_the_worker_returned),
        /* Last: a sanitizer adds a thread to the first one and keeps it. */
        TEST(a_second_thread_is_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
