/* SPDX-License-Identifier: MIT */
/* devserver_test.c - what the paths answer, and what slow or many peers can do: little.
 */
#include "base/clock.h"

#include <arpa/inet.h>
#include <cronq/devserver.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
/* after the others */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ANSWER_BYTES (256 * 1024)
#define CROWD        200 /* above the limit, below that and the backlog */

static cronq_metrics *metrics;
static cronq_devserver *server;
static char answer[ANSWER_BYTES]; /* the last one */
static atomic_int ready_status, ready_delay_ms;

static cronq_status ready(void *arg, cronq_error *err)
{
    (void)arg;
    cq_sleep_ms(atomic_load(&ready_delay_ms));
    if (atomic_load(&ready_status) && err)
        snprintf(err->text, sizeof err->text, "the \"store\" is away");
    return (cronq_status)atomic_load(&ready_status);
}

static int set_up(void **state)
{
    cronq_error err;

    (void)state;
    atomic_store(&ready_status, CRONQ_OK);
    atomic_store(&ready_delay_ms, 0);
    if (cronq_metrics_new(&metrics, &err) ||
        cronq_devserver_new(
            CRONQ_DEVSERVER_OPTIONS(.port = -1, .metrics = metrics, .ready = ready),
            &server, &err)) {
        print_error("%s\n", err.text);
        return 1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cronq_devserver_free(server);
    cronq_metrics_free(metrics);
    return 0;
}

static int connect_from(const char *source)
{
    struct sockaddr_in from = { .sin_family = AF_INET },
                       to = { .sin_family = AF_INET,
                              .sin_port = htons(cronq_devserver_port(server)) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    from.sin_addr.s_addr = inet_addr(source);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        fail_msg("cannot connect from %s: %s", source, strerror(errno));
    return fd;
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Everything until the server closes, into answer; the status code. */
static int read_answer(int fd)
{
    size_t len = 0;
    ssize_t got;

    while ((got = recv(fd, answer + len, sizeof answer - 1 - len, 0)) > 0)
        len += (size_t)got;
    answer[len] = '\0';
    close(fd);
    return len > 12 ? atoi(answer + 9) : 0;
}

static int request_from(const char *source, const char *text)
{
    int fd = connect_from(source);

    send_text(fd, text);
    return read_answer(fd);
}

static int get(const char *path)
{
    char text[256];

    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    return request_from("127.0.0.1", text);
}

static void assert_says(const char *text)
{
    if (!strstr(answer, text))
        fail_msg("the answer has no \"%s\":\n%s", text, answer);
}

static void each_path_has_its_answer(void **state)
{
    (void)state;
    assert_int_equal(get("/"), 200);
    assert_says("[\"/\",\"/healthz\",\"/readyz\",\"/metrics\"]");
    assert_int_equal(get("/healthz"), 200);
    assert_says("\r\n\r\nOK");
    assert_int_equal(get("/readyz"), 200);
    assert_says("{\"ready\":true}");
    assert_int_equal(get("/metrics"), 200);
    assert_says("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    assert_says("\ncronq_build_info{version=\"");
    assert_says("\nprocess_open_fds ");
    assert_says("Connection: close\r\n");
}

static void an_answer_of_the_clerk_is_sent_at_once(void **state)
{
    int64_t begun_ms, best_ms = INT64_MAX;

    (void)state;
    for (int i = 0; i < 5; i++) {
        begun_ms = cq_mono_ms();
        assert_int_equal(get("/metrics"), 200);
        if (cq_mono_ms() - begun_ms < best_ms)
            best_ms = cq_mono_ms() - begun_ms;
    }
    assert_true(best_ms < 50);
}

static void not_ready_is_503_with_the_reason(void **state)
{
    (void)state;
    atomic_store(&ready_status, CRONQ_EIO);
    assert_int_equal(get("/readyz"), 503);
    assert_says("{\"ready\":false,\"reason\":\"the \\\"store\\\" is away\"}");
    assert_int_equal(get("/healthz"), 200);
}

static void who_accepts_open_metrics_gets_them(void **state)
{
    (void)state;
    assert_int_equal(request_from("127.0.0.1",
                                  "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: "
                                  "application/openmetrics-text;version=1.0.0,*/*;q=0.1"
                                  "\r\n\r\n"),
                     200);
    assert_says("Content-Type: application/openmetrics-text; version=1.0.0");
    assert_says("\n# EOF\n");
}

static void others_get_the_plain_text(void **state)
{
    static const char *const accepted[] = {
        "text/plain",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text; q=0.1, text/plain;q=0.9",
        "application/openmetrics-text;version=1.0.0;q=0.3, text/plain;q=0.7",
    };
    char request[256];

    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        snprintf(request, sizeof request,
                 "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: %s\r\n\r\n", accepted[i]);
        assert_int_equal(request_from("127.0.0.1", request), 200);
        assert_says("Content-Type: text/plain; version=0.0.4");
    }
    assert_int_equal(request_from("127.0.0.1",
                                  "GET /metrics HTTP/1.1\r\nHost: x\r\n"
                                  "Accept: Application/OpenMetrics-Text; q=0.9, "
                                  "text/plain; q=0.5\r\n\r\n"),
                     200);
    assert_says("Content-Type: application/openmetrics-text");
}

static void what_is_not_asked_properly_is_refused(void **state)
{
    static const struct {
        const char *request;
        int code;
    } rows[] = {
        { "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404 },
        { "GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", 404 },
        { "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405 },
        { "DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", 405 },
        { "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", 413 },
        { "GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 413 },
        { "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200 },
        { "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200 },
        { "GET /metrics?x=%00 HTTP/1.1\r\nHost: x\r\n\r\n", 200 },
    };
    static const char *const garbage[] = { "\x16\x03\x01\x02 hello\r\n\r\n",
                                           "\r\n\r\n\r\n", "GET\r\n\r\n" };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int code = request_from("127.0.0.1", rows[i].request);

        if (code != rows[i].code)
            fail_msg("%d, not %d, for %s", code, rows[i].code, rows[i].request);
        if (code == 405)
            assert_says("Allow: GET, HEAD\r\n");
        if (strncmp(rows[i].request, "HEAD", 4) == 0)
            assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    }
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        int fd = connect_from("127.0.0.1");

        send_text(fd, garbage[i]);
        shutdown(fd, SHUT_WR);
        assert_int_not_equal(read_answer(fd), 200);
    }
    assert_int_equal(get("/healthz"), 200);
}

static void a_header_without_end_is_refused(void **state)
{
    int fd;

    (void)state;
    fd = connect_from("127.0.0.1");
    send_text(fd, "GET / HTTP/1.1\r\nHost: ");
    for (int i = 0; i < 10000; i++)
        if (send(fd, "xxxxxxxxxxxxxxxx", 16, MSG_NOSIGNAL) < 0)
            break;
    assert_int_not_equal(read_answer(fd), 200);
    assert_int_equal(get("/healthz"), 200);
}

static void a_store_that_hangs_does_not_hold_up_health(void **state)
{
    int64_t begun_ms;
    int fd;

    (void)state;
    atomic_store(&ready_delay_ms, 1500);
    fd = connect_from("127.0.0.1");
    send_text(fd, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    cq_sleep_ms(50);
    begun_ms = cq_mono_ms();
    assert_int_equal(get("/healthz"), 200);
    assert_true(cq_mono_ms() - begun_ms < 1000);
    assert_int_equal(read_answer(fd), 200);
}

static void a_free_leaves_nobody_hanging(void **state)
{
    int fds[20];

    atomic_store(&ready_delay_ms, 200);
    for (size_t i = 0; i < 20; i++) {
        fds[i] = connect_from("127.0.0.1");
        send_text(fds[i], i % 2 ? "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n" : "GET /re");
    }
    cq_sleep_ms(100);
    tear_down(state);
    for (size_t i = 0; i < 20; i++)
        read_answer(fds[i]);
    assert_int_equal(set_up(state), 0);
}

static size_t resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long total, resident;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* Is the other end closed? */
static bool is_closed(int fd)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN | POLLRDHUP };
    char byte;

    return poll(&poll_fd, 1, 0) > 0 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

static size_t count_open(const int *fds, size_t count)
{
    size_t open = 0;

    for (size_t i = 0; i < count; i++)
        open += !is_closed(fds[i]);
    return open;
}

/* Half of them never say anything, half a byte each second: not idle, and never done. */
static void many_slow_peers_of_one_address_hold_up_nobody(void **state)
{
    static const char slow[] = "GET /metrics HTTP/1.1\r\nHost: a-very-long-name";
    size_t count = getenv("CRONQ_FULL") ? 10000 : 500, before_kib = resident_kib();
    struct rlimit limit = { count + 500, count + 500 };
    int64_t asked_ms, slowest_ms = 0;
    int *fds = calloc(count, sizeof *fds);

    (void)state;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (size_t i = 0; i < count; i++) {
        fds[i] = connect_from("127.0.0.1");
        if (i % 2)
            send(fds[i], slow, 3, MSG_NOSIGNAL);
    }
    for (int second = 0; second < 12; second++) {
        asked_ms = cq_mono_ms();
        assert_int_equal(
            request_from("127.0.0.2", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
        if (cq_mono_ms() - asked_ms > slowest_ms)
            slowest_ms = cq_mono_ms() - asked_ms;
        for (size_t i = 1; i < count; i += 2)
            send(fds[i], slow + 3 + second, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        assert_in_range(count_open(fds, count), second < 3 ? 1 : 0, 32);
        cq_sleep_ms(1000);
    }
    print_message("%zu peers: a scrape took at most %lld ms, memory grew by %zd KiB\n",
                  count, (long long)slowest_ms, (ssize_t)(resident_kib() - before_kib));
    assert_int_equal(count_open(fds, count), 0);
    assert_true(slowest_ms < 1000);
    assert_true(resident_kib() < before_kib + 4096);
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    free(fds);
}

/* More than there is room for come, and leave at once: nobody is there who would wake it.
 */
static void after_a_crowd_it_listens_again(void **state)
{
    int fds[CROWD];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < CROWD; i++) {
            char source[32];

            snprintf(source, sizeof source, "127.0.1.%d", 1 + i);
            fds[i] = connect_from(source);
        }
        cq_sleep_ms(50);
        for (int i = 0; i < CROWD; i++)
            close(fds[i]);
        cq_sleep_ms(50);
        assert_int_equal(get("/healthz"), 200);
    }
}

static void bad_options_are_refused(void **state)
{
    static const struct {
        cronq_devserver_options options;
        cronq_status status;
        const char *text;
    } rows[] = {
        { { .port = 70000 }, CRONQ_EINVAL, "port 70000" },
        { { .port = -2 }, CRONQ_EINVAL, "port -2" },
        { { .host = "no such host", .port = -1 }, CRONQ_EINVAL, "no such host" },
        { { .health_path = "healthz", .port = -1 }, CRONQ_EINVAL, "healthz" },
        { { .health_path = "/readyz", .port = -1 }, CRONQ_EINVAL, "two paths" },
        { { .health_path = "/a b", .port = -1 }, CRONQ_EINVAL, "/a b" },
        { { .connection_limit = 10001 }, CRONQ_EINVAL, "connection_limit" },
        { { .connection_limit = 5, .address_limit = 6 }, CRONQ_EINVAL, "address_limit" },
        { { .host = "192.0.2.1", .port = -1 }, CRONQ_EIO, "192.0.2.1" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cronq_devserver_options options = rows[i].options;
        cronq_devserver *other = NULL;
        cronq_error err = { 0 };

        options.struct_size = sizeof options;
        assert_int_equal(cronq_devserver_new(&options, &other, &err), rows[i].status);
        assert_null(other);
        if (!strstr(err.text, rows[i].text))
            fail_msg("\"%s\" does not say \"%s\"", err.text, rows[i].text);
    }
}

static void a_port_that_is_taken_is_an_error(void **state)
{
    cronq_devserver *other = NULL;
    cronq_error err;

    (void)state;
    assert_int_equal(
        cronq_devserver_new(CRONQ_DEVSERVER_OPTIONS(.port = cronq_devserver_port(server)),
                            &other, &err),
        CRONQ_EIO);
    assert_non_null(strstr(err.text, "in use"));
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(each_path_has_its_answer),
        WITH_SERVER(an_answer_of_the_clerk_is_sent_at_once),
        WITH_SERVER(not_ready_is_503_with_the_reason),
        WITH_SERVER(who_accepts_open_metrics_gets_them),
        WITH_SERVER(others_get_the_plain_text),
        WITH_SERVER(what_is_not_asked_properly_is_refused),
        WITH_SERVER(a_header_without_end_is_refused),
        WITH_SERVER(a_store_that_hangs_does_not_hold_up_health),
        WITH_SERVER(a_free_leaves_nobody_hanging),
        WITH_SERVER(after_a_crowd_it_listens_again),
        cmocka_unit_test(bad_options_are_refused),
        WITH_SERVER(a_port_that_is_taken_is_an_error),
        WITH_SERVER(many_slow_peers_of_one_address_hold_up_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
