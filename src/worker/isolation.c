/* SPDX-License-Identifier: MIT */
/* isolation.c - crews of child processes, and the thread that keeps them full. */
#include "worker/isolation.h"

#include "base/clock.h"
#include "base/error.h"
#include "worker/forks.h"
#include "worker/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHILD_LIMIT        1000 /* in one crew */
#define GRACE_MS           1000
#define GRACE_LIMIT_MS     ((int64_t)3600 * 1000)
#define BACK_OFF_FIRST_MS  100
#define BACK_OFF_DOUBLINGS 6
#define TAKE_PATIENCE_NS   (10 * CQ_NS_PER_S)
#define TAKE_LOOK_NS       (50 * CQ_NS_PER_MS)
#define STREAM_LIMIT_BYTES ((size_t)2 << 30)
#define STREAM_KEPT_BYTES  ((size_t)256 << 10)
#define MEMORY_LEAST_BYTES ((uint64_t)1 << 20)

/* ---- making ---- */

void cq_isolation_init(cq_isolation *isolation, cq_worker *worker)
{
    *isolation = (cq_isolation){ .worker = worker, .fd = -1, .news = { -1 } };
    pthread_mutex_init(&isolation->mutex, NULL);
    cq_cond_init(&isolation->changed);
}

static void release_seats(cq_isolation *isolation)
{
    for (uint32_t i = 0; isolation->seats && i < isolation->seat_count; i++) {
        cq_seat *seat = &isolation->seats[i];

        if (seat->fd >= 0)
            close(seat->fd);
        cq_event_release(&seat->cancelled);
        cq_buf_release(&seat->out);
        cq_buf_release(&seat->in);
    }
    if (isolation->windows)
        munmap(isolation->windows, isolation->seat_count * sizeof *isolation->windows);
    free(isolation->seats);
    isolation->windows = NULL;
    isolation->seats = NULL;
    isolation->seat_count = 0;
}

void cq_isolation_release(cq_isolation *isolation)
{
    release_seats(isolation);
    for (cq_crew *crew = isolation->crews, *next; crew; crew = next) {
        next = crew->next;
        free(crew);
    }
    cq_event_release(&isolation->news);
    pthread_cond_destroy(&isolation->changed);
    pthread_mutex_destroy(&isolation->mutex);
}

static cronq_status check(const char *pattern, const cronq_handler_options *options,
                          cronq_error *err)
{
    if (options->child_count > CHILD_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "pattern %s: child_count %u is more than %d",
                       pattern, options->child_count, CHILD_LIMIT);
    if (options->child_grace_ms < 0 || options->child_grace_ms > GRACE_LIMIT_MS)
        return cq_fail(err, CRONQ_EINVAL,
                       "pattern %s: child_grace_ms %lld is not between 0 and %lld",
                       pattern, (long long)options->child_grace_ms,
                       (long long)GRACE_LIMIT_MS);
    if (options->memory_limit_bytes && options->memory_limit_bytes < MEMORY_LEAST_BYTES)
        return cq_fail(err, CRONQ_EINVAL,
                       "pattern %s: memory_limit_bytes %llu is less than %llu", pattern,
                       (unsigned long long)options->memory_limit_bytes,
                       (unsigned long long)MEMORY_LEAST_BYTES);
    return CRONQ_OK;
}

cronq_status cq_isolation_add(cq_isolation *isolation, const char *pattern,
                              cronq_handler *handler, void *arg,
                              const cronq_handler_options *options, cq_crew **out,
                              cronq_error *err)
{
    uint32_t concurrency = isolation->worker->options->concurrency;
    cronq_status status = check(pattern, options, err);
    cq_crew *crew;

    if (status)
        return status;
    crew = calloc(1, sizeof *crew);
    if (!crew)
        return cq_fail_nomem(err);
    *crew = (cq_crew){ .next = isolation->crews,
                       .isolation = isolation,
                       .pattern = pattern,
                       .handler = handler,
                       .arg = arg,
                       .options = *options };
    if (!crew->options.child_count)
        crew->options.child_count = concurrency < CHILD_LIMIT ? concurrency : CHILD_LIMIT;
    if (!crew->options.child_grace_ms)
        crew->options.child_grace_ms = GRACE_MS;
    isolation->crews = crew;
    *out = crew;
    return CRONQ_OK;
}

static cronq_status make_seats(cq_isolation *isolation, cronq_error *err)
{
    uint32_t count = 0;
    size_t size;

    for (cq_crew *crew = isolation->crews; crew; crew = crew->next)
        count += crew->options.child_count;
    size = count * sizeof *isolation->windows;
    isolation->seats = calloc(count, sizeof *isolation->seats);
    isolation->windows =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (isolation->windows == MAP_FAILED)
        isolation->windows = NULL;
    isolation->seat_count = count;
    for (uint32_t i = 0; isolation->seats && i < count; i++) {
        cq_seat *seat = &isolation->seats[i];

        *seat = (cq_seat){ .number = i, .fd = -1, .cancelled = { -1 } };
        cq_buf_init(&seat->out, STREAM_LIMIT_BYTES);
        cq_buf_init(&seat->in, STREAM_LIMIT_BYTES);
    }
    return isolation->seats && isolation->windows ? CRONQ_OK : cq_fail_nomem(err);
}

static cronq_status share_seats(cq_isolation *isolation, cronq_error *err)
{
    uint32_t number = 0;

    for (cq_crew *crew = isolation->crews; crew; crew = crew->next) {
        crew->seats = &isolation->seats[number];
        for (uint32_t i = 0; i < crew->options.child_count; i++, number++) {
            cq_seat *seat = &isolation->seats[number];
            cronq_status status = cq_event_init(&seat->cancelled, err);

            if (status)
                return status;
            seat->crew = crew;
            seat->window = &isolation->windows[number];
        }
    }
    return CRONQ_OK;
}

/* ---- the keeper ---- */

/* The mutex is held. The next child is forked at once, unless children end before they
 * have done anything. */
static void vacate(cq_seat *seat)
{
    uint32_t failures = seat->task_count ? 0 : seat->failures + 1;
    uint32_t doublings = failures < BACK_OFF_DOUBLINGS ? failures : BACK_OFF_DOUBLINGS;

    if (seat->fd >= 0)
        close(seat->fd);
    seat->fd = -1;
    seat->state = CQ_SEAT_EMPTY;
    seat->failures = failures;
    seat->fork_at_mono_ns = 0;
    if (failures)
        seat->fork_at_mono_ns =
            cq_mono_ns() + ((int64_t)BACK_OFF_FIRST_MS << doublings) * CQ_NS_PER_MS / 2;
}

/* The mutex is held. Returns when to come again. */
static int64_t fill_seats(cq_isolation *isolation)
{
    int64_t now_ns = cq_mono_ns(), next_ns = INT64_MAX;

    for (uint32_t i = 0; i < isolation->seat_count; i++) {
        cq_seat *seat = &isolation->seats[i];
        cq_order order = { .kind = CQ_ORDER_FORK, .seat = i };

        if (seat->state != CQ_SEAT_EMPTY)
            continue;
        if (seat->fork_at_mono_ns > now_ns) {
            next_ns = seat->fork_at_mono_ns < next_ns ? seat->fork_at_mono_ns : next_ns;
            continue;
        }
        order.generation = ++seat->generation;
        seat->state = CQ_SEAT_FORKING;
        seat->ended = false;
        seat->task_count = 0;
        memset(&seat->window->crash, 0, sizeof seat->window->crash);
        cq_forks_order(isolation->fd, &order);
    }
    return next_ns;
}

static void drop_from_free(cq_seat *seat)
{
    cq_seat **link = &seat->crew->free;

    while (*link && *link != seat)
        link = &(*link)->next;
    if (*link)
        *link = seat->next;
}

/* The mutex is held. */
static void note_end(cq_isolation *isolation, cq_seat *seat, int why)
{
    char text[CQ_CRASH_TEXT_BYTES];

    seat->ended = true;
    seat->why = why;
    if (seat->state == CQ_SEAT_BUSY) {
        shutdown(seat->fd, SHUT_RDWR); /* what it sent can still be read */
        pthread_cond_broadcast(&isolation->changed);
        return;
    }
    if (seat->state == CQ_SEAT_FREE) {
        drop_from_free(seat);
        CQ_WARN(&isolation->worker->logger, "idle child %d of %s has ended: %s",
                (int)seat->pid, seat->crew->pattern,
                cq_crash_text(&seat->window->crash, why, text));
    } else if (seat->state == CQ_SEAT_STARTING) {
        CQ_ERROR(&isolation->worker->logger, "child %d of %s ended in its start: %s",
                 (int)seat->pid, seat->crew->pattern,
                 cq_crash_text(&seat->window->crash, why, text));
    }
    vacate(seat);
}

static void hear(cq_isolation *isolation)
{
    cq_seat *seat;
    cq_news news;
    int passed;

    if (!cq_forks_hear(isolation->fd, &news, &passed)) {
        isolation->broken = true;
        CQ_ERROR(&isolation->worker->logger,
                 "the fork server has ended: handlers with process isolation fail");
        pthread_cond_broadcast(&isolation->changed);
        return;
    }
    seat = &isolation->seats[news.seat];
    if (news.kind == CQ_NEWS_FORKED) {
        seat->fd = passed;
        seat->pid = news.pid;
        seat->state = CQ_SEAT_STARTING;
    } else if (news.kind == CQ_NEWS_ENDED) {
        note_end(isolation, seat, news.why);
    } else {
        CQ_ERROR(&isolation->worker->logger, "cannot fork a child of %s: %s",
                 seat->crew->pattern, strerrordesc_np(news.why));
        vacate(seat);
    }
}

/* The mutex is held. A child says that it is ready, or why it never will be. */
static void welcome(cq_isolation *isolation, cq_seat *seat)
{
    cq_frame frame;
    char text[sizeof(cronq_error)];
    ssize_t got = recv(seat->fd, &frame, sizeof frame, MSG_WAITALL);

    if (got == sizeof frame && frame.kind == CQ_FRAME_READY && frame.status == CRONQ_OK) {
        seat->state = CQ_SEAT_FREE;
        seat->next = seat->crew->free;
        seat->crew->free = seat;
        pthread_cond_broadcast(&isolation->changed);
        return;
    }
    seat->state = CQ_SEAT_ENDING;
    if (got != sizeof frame || frame.len >= sizeof text ||
        recv(seat->fd, text, frame.len, MSG_WAITALL) != (ssize_t)frame.len)
        return;
    CQ_ERROR(&isolation->worker->logger, "child %d of %s cannot start: %.*s",
             (int)seat->pid, seat->crew->pattern, (int)frame.len, text);
}

/* What the keeper listens to: the fork server, its event, and children that start. */
static size_t list_sources(cq_isolation *isolation, struct pollfd *fds, uint32_t *seats)
{
    size_t count = 2;

    fds[0] = (struct pollfd){ isolation->fd, POLLIN, 0 };
    fds[1] = (struct pollfd){ isolation->news.fd, POLLIN, 0 };
    for (uint32_t i = 0; i < isolation->seat_count; i++) {
        if (isolation->seats[i].state != CQ_SEAT_STARTING)
            continue;
        seats[count] = i;
        fds[count++] = (struct pollfd){ isolation->seats[i].fd, POLLIN, 0 };
    }
    return count;
}

static void keep_once(cq_isolation *isolation, struct pollfd *fds, uint32_t *seats)
{
    int64_t next_ns = fill_seats(isolation), left_ms;
    size_t count = list_sources(isolation, fds, seats);

    pthread_mutex_unlock(&isolation->mutex);
    left_ms = next_ns == INT64_MAX ? -1 : (next_ns - cq_mono_ns()) / CQ_NS_PER_MS + 1;
    poll(fds, count, left_ms < -1 ? 0 : (int)left_ms);
    cq_event_clear(&isolation->news);
    pthread_mutex_lock(&isolation->mutex);
    for (size_t i = 2; i < count; i++)
        if (fds[i].revents && isolation->seats[seats[i]].state == CQ_SEAT_STARTING)
            welcome(isolation, &isolation->seats[seats[i]]);
    if (fds[0].revents)
        hear(isolation);
}

static void *keep(void *arg)
{
    cq_isolation *isolation = arg;
    struct pollfd *fds = calloc(isolation->seat_count + 2, sizeof *fds);
    uint32_t *seats = calloc(isolation->seat_count + 2, sizeof *seats);

    pthread_mutex_lock(&isolation->mutex);
    while (fds && seats && !atomic_load(&isolation->stopping) && !isolation->broken)
        keep_once(isolation, fds, seats);
    isolation->broken = true;
    pthread_cond_broadcast(&isolation->changed);
    pthread_mutex_unlock(&isolation->mutex);
    free(fds);
    free(seats);
    return NULL;
}

/* ---- life ---- */

cronq_status cq_isolation_start(cq_isolation *isolation, cronq_error *err)
{
    cronq_status status;

    if (!isolation->crews)
        return CRONQ_OK;
    status = cq_event_init(&isolation->news, err);
    if (!status)
        status = make_seats(isolation, err);
    if (!status)
        status = share_seats(isolation, err);
    if (!status)
        status = cq_forks_start(isolation->seat_count, cq_inside_main, isolation,
                                &isolation->fd, &isolation->forks_pid, err);
    if (!status)
        status =
            cq_thread_start(&isolation->keeper, "cronq-keeper", keep, isolation, err);
    isolation->running = status == CRONQ_OK;
    return status;
}

void cq_isolation_stop(cq_isolation *isolation)
{
    if (isolation->running) {
        atomic_store(&isolation->stopping, true);
        cq_event_set(&isolation->news);
        pthread_join(isolation->keeper, NULL);
        isolation->running = false;
    }
    for (uint32_t i = 0; i < isolation->seat_count; i++) {
        if (isolation->seats[i].fd >= 0)
            close(isolation->seats[i].fd);
        isolation->seats[i].fd = -1;
    }
    cq_forks_stop(&isolation->fd, isolation->forks_pid);
}

/* ---- taking a child ---- */

cq_seat *cq_crew_take(cq_crew *crew, const cronq_attempt *attempt)
{
    cq_isolation *isolation = crew->isolation;
    int64_t until_ns = cq_mono_ns() + TAKE_PATIENCE_NS;
    cq_seat *seat;

    pthread_mutex_lock(&isolation->mutex);
    while (!crew->free && !isolation->broken && !cronq_attempt_cancelled(attempt) &&
           cq_mono_ns() < until_ns)
        cq_cond_wait_until(&isolation->changed, &isolation->mutex,
                           cq_mono_ns() + TAKE_LOOK_NS);
    seat = isolation->broken ? NULL : crew->free;
    if (seat) {
        crew->free = seat->next;
        seat->state = CQ_SEAT_BUSY;
    }
    pthread_mutex_unlock(&isolation->mutex);
    return seat;
}

static void forget_large(cq_buf *buf)
{
    cq_buf_reset(buf);
    if (buf->cap <= STREAM_KEPT_BYTES)
        return;
    cq_buf_release(buf);
    cq_buf_init(buf, STREAM_LIMIT_BYTES);
}

void cq_crew_give_back(cq_seat *seat)
{
    cq_crew *crew = seat->crew;
    cq_isolation *isolation = crew->isolation;
    uint32_t most = crew->options.child_task_count;
    bool news = true;

    forget_large(&seat->out);
    forget_large(&seat->in);
    pthread_mutex_lock(&isolation->mutex);
    if (seat->ended) {
        vacate(seat);
    } else if (most && seat->task_count >= most) {
        shutdown(seat->fd, SHUT_WR);
        seat->state = CQ_SEAT_ENDING;
    } else {
        seat->state = CQ_SEAT_FREE;
        seat->next = crew->free;
        crew->free = seat;
        news = false;
    }
    pthread_mutex_unlock(&isolation->mutex);
    if (news)
        cq_event_set(&isolation->news);
    else
        pthread_cond_broadcast(&isolation->changed);
}

bool cq_seat_await_end(cq_seat *seat)
{
    cq_isolation *isolation = seat->crew->isolation;
    cq_order order = { .kind = CQ_ORDER_KILL,
                       .seat = seat->number,
                       .generation = seat->generation,
                       .signal = SIGKILL };
    bool ended;

    pthread_mutex_lock(&isolation->mutex);
    if (!seat->ended)
        cq_forks_order(isolation->fd, &order);
    while (!seat->ended && !isolation->broken)
        pthread_cond_wait(&isolation->changed, &isolation->mutex);
    ended = seat->ended;
    seat->ended = true;
    pthread_mutex_unlock(&isolation->mutex);
    return ended;
}

void cq_seat_cancel(cq_seat *seat, uint32_t run, int reason)
{
    atomic_store(&seat->window->runs[run].reason, reason);
    cq_event_set(&seat->cancelled);
}
