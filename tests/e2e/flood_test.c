/* SPDX-License-Identifier: MIT */
/* flood_test.c - a worker whose DevServer is held by thousands of peers that say nothing,
 * half a request, or a byte now and then: its tasks and its memory do not notice.
 *
 * The peers are a process of their own; each that is turned away comes again. What counts
 * is the time for some tasks, with and without them in turns. */
#include "support/process.h"
#include "support/redis_server.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <cronq/cronq.h>
#include <cronq/devserver.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
/* after the others */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ROUNDS           3
#define TASKS            4000
#define SHORT_PEERS      1000
#define FULL_PEERS       10000
#define MEMORY_LIMIT_KIB 8192
#define COMEBACK_MS      1000 /* all peers that were turned away, in a second */

typedef struct scene {
    redis_server *redis;
    cronq_metrics *metrics;
    cronq_devserver *devserver;
    cronq_server *server;
    cronq_client *client;
    atomic_uint done;
} scene;

static void must(cronq_status status, const cronq_error *err)
{
    if (status)
        fail_msg("%s: %s", cronq_status_name(status), err->text);
}

static size_t peer_count(void)
{
    return getenv("CRONQ_FULL") ? FULL_PEERS : SHORT_PEERS;
}

static void allow_descriptors(size_t count)
{
    struct rlimit limit = { count + 200, count + 200 };

    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        fail_msg("%zu descriptors: %s", count, strerror(errno));
}

/* ---- the peers ---- */

/* From many addresses, so that the limit of one address is not what helps. */
static int come(uint16_t port, size_t number)
{
    struct sockaddr_in from = { .sin_family = AF_INET },
                       to = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    from.sin_addr.s_addr = htonl(0x7f010001u + (uint32_t)(number % 200));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&from, sizeof from) == 0)
        (void)!connect(fd, (struct sockaddr *)&to, sizeof to);
    return fd;
}

/* A third says nothing, a third half a request, a third a byte each time. */
static void annoy(int fd, size_t number, size_t round)
{
    static const char slow[] =
        "GET /metrics HTTP/1.1\r\nHost: a-very-long-name-of-a-host";

    if (number % 3 == 1 && round == 0)
        send(fd, slow, 20, MSG_NOSIGNAL);
    if (number % 3 == 2)
        send(fd, slow + round % (sizeof slow - 1), 1, MSG_NOSIGNAL);
}

static bool is_turned_away(int fd)
{
    char byte;

    return recv(fd, &byte, 1, 0) == 0 || (errno != EAGAIN && errno != ENOTCONN);
}

static void annoy_for_ever(uint16_t port, size_t count)
{
    int *fds = calloc(count, sizeof *fds);

    if (!fds)
        _exit(1);
    for (size_t i = 0; i < count; i++)
        fds[i] = come(port, i);
    for (size_t round = 0;; round++) {
        for (size_t i = 0; i < count; i++) {
            if (is_turned_away(fds[i])) {
                close(fds[i]);
                fds[i] = come(port, i);
            }
            annoy(fds[i], i, round);
            if (i % (count / 100) == 0)
                cq_sleep_ms(COMEBACK_MS / 100);
        }
    }
}

static pid_t send_peers(uint16_t port, size_t count)
{
    pid_t parent = getpid(), pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        annoy_for_ever(port, count);
    }
    return pid;
}

static void call_back(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* ---- the worker ---- */

static cronq_status count_task(cronq_attempt *attempt, void *arg)
{
    scene *s = arg;

    (void)attempt;
    atomic_fetch_add(&s->done, 1);
    return CRONQ_OK;
}

static void set_up(scene *s)
{
    cronq_error err;

    s->redis = redis_server_start(NULL);
    must(cronq_metrics_new(&s->metrics, &err), &err);
    must(cronq_server_new(redis_server_uri(s->redis),
                          CRONQ_SERVER_OPTIONS(.metrics = s->metrics, .concurrency = 4),
                          &s->server, &err),
         &err);
    must(cronq_server_add(s->server, "t", count_task, s, NULL, &err), &err);
    must(cronq_server_start(s->server, &err), &err);
    must(cronq_devserver_new(CRONQ_DEVSERVER_OPTIONS(.port = -1, .metrics = s->metrics),
                             &s->devserver, &err),
         &err);
    must(cronq_client_new(redis_server_uri(s->redis), NULL, &s->client, &err), &err);
}

static void tear_down(scene *s)
{
    cronq_client_free(s->client);
    cronq_devserver_free(s->devserver);
    cronq_server_free(s->server);
    cronq_metrics_free(s->metrics);
    redis_server_stop(s->redis);
}

/* Pushed one by one and run meanwhile: milliseconds for all. */
static double time_tasks(scene *s)
{
    int64_t begun_ms = cq_mono_ms();
    cronq_error err;

    atomic_store(&s->done, 0);
    for (int i = 0; i < TASKS; i++)
        must(cronq_client_push(s->client, CRONQ_TASK(.type = "t"), NULL, &err), &err);
    while (atomic_load(&s->done) < TASKS) {
        cq_sleep_ms(1);
        assert_true(cq_mono_ms() - begun_ms < 60000);
    }
    return (double)(cq_mono_ms() - begun_ms + 1);
}

/* A peer that asks properly, when it gets a place. */
static bool is_healthy(uint16_t port)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    const struct timeval patience = { .tv_sec = 5 };
    int fd = come(port, 777);
    char answer[64] = "";
    bool is_well;

    fcntl(fd, F_SETFL, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    is_well = send(fd, request, strlen(request), MSG_NOSIGNAL) > 0 &&
              recv(fd, answer, sizeof answer - 1, 0) > 0 && strstr(answer, " 200 ");
    close(fd);
    return is_well;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void a_worker_does_not_notice_slow_peers(void **state)
{
    size_t count = peer_count();
    int64_t before_kib, most_kib = 0;
    double ratios[ROUNDS];
    scene s = { 0 };
    uint16_t port;

    (void)state;
    allow_descriptors(count);
    set_up(&s);
    port = cronq_devserver_port(s.devserver);
    time_tasks(&s);
    before_kib = process_private_dirty_kib(getpid());
    for (int round = 0; round < ROUNDS; round++) {
        double quiet = time_tasks(&s), flooded;
        pid_t peers = send_peers(port, count);

        cq_sleep_ms(500);
        flooded = time_tasks(&s);
        if (process_private_dirty_kib(getpid()) > most_kib)
            most_kib = process_private_dirty_kib(getpid());
        call_back(peers);
        ratios[round] = quiet / flooded;
    }
    qsort(ratios, ROUNDS, sizeof *ratios, compare);
    print_message("%zu peers: throughput %.2f of that without (%.2f to %.2f), memory "
                  "%lld KiB more\n",
                  count, ratios[ROUNDS / 2], ratios[0], ratios[ROUNDS - 1],
                  (long long)(most_kib - before_kib));
    assert_true(ratios[ROUNDS / 2] > 0.3); /* of two busy CPUs the peers take their own */
    assert_true(most_kib - before_kib < MEMORY_LIMIT_KIB);
    for (int tries = 0; !is_healthy(port); tries++)
        assert_true(tries < 20);
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_does_not_notice_slow_peers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
