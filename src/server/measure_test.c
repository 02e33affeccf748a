/* SPDX-License-Identifier: MIT */
/* measure_test.c - what a server tells a scrape, while it stops. */
#include "base/clock.h"
#include "obs/metrics.h"
#include "support/redis_server.h"

#include <cronq/cronq.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 10000

typedef struct scrape {
    cronq_metrics *metrics;
    atomic_bool begun;
} scrape;

/* Among the sources of the registry it is the one before the server. */
static void linger(void *arg, cq_collection *out)
{
    scrape *s = arg;

    (void)out;
    atomic_store(&s->begun, true);
    cq_sleep_ms(300); /* meanwhile the server closes its parts */
}

static void pass_over(void *arg, const cronq_metric_sample *sample)
{
    (void)arg;
    (void)sample;
}

static void *look(void *arg)
{
    scrape *s = arg;

    assert_int_equal(cronq_metrics_each(s->metrics, pass_over, NULL, NULL), CRONQ_OK);
    return NULL;
}

static void a_scrape_during_the_stop_holds_up_neither(void **state)
{
    redis_server *redis = redis_server_start(NULL);
    scrape s = { .metrics = NULL };
    struct timespec until;
    cronq_server *server;
    pthread_t thread;

    (void)state;
    assert_int_equal(cronq_metrics_new(&s.metrics, NULL), CRONQ_OK);
    assert_int_equal(cq_metrics_add_source(s.metrics, linger, &s, NULL), CRONQ_OK);
    assert_int_equal(cronq_server_new(redis_server_uri(redis),
                                      CRONQ_SERVER_OPTIONS(.metrics = s.metrics), &server,
                                      NULL),
                     CRONQ_OK);
    assert_int_equal(cronq_server_start(server, NULL), CRONQ_OK);
    assert_int_equal(pthread_create(&thread, NULL, look, &s), 0);
    while (!atomic_load(&s.begun))
        cq_sleep_ms(1);
    alarm(PATIENCE_MS / 1000); /* ends the test where they wait for each other */
    assert_int_equal(cronq_server_stop(server, NULL), CRONQ_OK);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    assert_int_equal(pthread_timedjoin_np(thread, NULL, &until), 0);
    alarm(0);
    cronq_server_free(server);
    cronq_metrics_free(s.metrics);
    redis_server_stop(redis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scrape_during_the_stop_holds_up_neither),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
