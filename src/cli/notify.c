/* SPDX-License-Identifier: MIT */
/* cli/notify.c - telling systemd how a service is doing (sd_notify(3)).
 *
 * The protocol is a datagram to a Unix socket; a library for that would be one more to
 * install. */
#include "cli/notify.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LOOK_MS 100 /* has it started, does it stop? */

void cq_notify(const char *lines)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t len = path ? strlen(path) : 0;
    ssize_t sent;
    int fd;

    if (len < 2 || len >= sizeof to.sun_path || (*path != '/' && *path != '@'))
        return;
    memcpy(to.sun_path, path, len);
    if (*path == '@') /* an abstract name */
        to.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sent = sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (const void *)&to,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    (void)sent;
    close(fd);
}

static int64_t number_of(const char *name)
{
    const char *text = getenv(name);

    return text ? strtoll(text, NULL, 10) : 0;
}

/* Meant for this process, or for the supervisor that has forked it. */
static int64_t watchdog_ms(void)
{
    int64_t pid = number_of("WATCHDOG_PID"), us = number_of("WATCHDOG_USEC");

    if (us <= 0 || (pid && pid != getpid() && pid != getppid()))
        return 0;
    return us / 1000 > 0 ? us / 1000 : 1;
}

/* Three times as often as it must be. */
static void feed(cq_herald *herald, int64_t *fed_ms, bool *is_stuck)
{
    cronq_error err;
    cronq_status status;

    if (herald->watchdog_ms == 0 ||
        cq_mono_ns() / CQ_NS_PER_MS - *fed_ms < herald->watchdog_ms / 3)
        return;
    status = cronq_server_alive(herald->server, &err);
    *fed_ms = cq_mono_ms();
    if (status != CRONQ_ETIMEDOUT)
        cq_notify("WATCHDOG=1");
    else if (!*is_stuck)
        CQ_ERROR(herald->logger, "the watchdog is told nothing: %s", err.text);
    *is_stuck = status == CRONQ_ETIMEDOUT;
}

static void *run(void *arg)
{
    cq_herald *herald = arg;
    bool was_alive = false, is_stopping = false, is_stuck = false;
    int64_t fed_ms = 0;

    while (!atomic_load(&herald->over)) {
        bool is_down = cronq_server_alive(herald->server, NULL) == CRONQ_ESTATE;

        if (!was_alive && !is_down) {
            cq_notify("READY=1\nSTATUS=Working");
            was_alive = true;
        }
        if (was_alive && is_down && !is_stopping && !atomic_load(herald->is_reload)) {
            cq_notify("STOPPING=1\nSTATUS=Stopping: what runs may finish");
            is_stopping = true;
        }
        feed(herald, &fed_ms, &is_stuck);
        cq_sleep_ms(LOOK_MS);
    }
    return NULL;
}

cronq_status cq_herald_start(cq_herald *herald, cronq_server *server,
                             const atomic_bool *is_reload, const cronq_logger *logger,
                             cronq_error *err)
{
    cronq_status status;

    if (!getenv("NOTIFY_SOCKET"))
        return CRONQ_OK;
    herald->server = server;
    herald->logger = logger;
    herald->is_reload = is_reload;
    herald->watchdog_ms = watchdog_ms();
    atomic_store(&herald->over, false);
    status = cq_thread_start(&herald->thread, "cronq-herald", run, herald, err);
    herald->runs = !status;
    return status;
}

void cq_herald_stop(cq_herald *herald)
{
    if (!herald->runs)
        return;
    atomic_store(&herald->over, true);
    pthread_join(herald->thread, NULL);
    herald->runs = false;
}
