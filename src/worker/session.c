/* SPDX-License-Identifier: MIT */
/* session.c - a worker thread and a child: sending a parcel of attempts, serving the
 * child while it runs them, and ending it when it does not end by itself.
 *
 * Invariant: an attempt of the parcel is open until its end has been told; each is told
 * once. */
#include "base/clock.h"
#include "base/error.h"
#include "worker/forks.h"
#include "worker/internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

/* So long a parcel of several may take before what waits in it is taken back. */
#define PARCEL_PATIENCE_NS (5 * CQ_NS_PER_MS)
#define ABORT_GRACE_NS     (300 * CQ_NS_PER_MS)
#define LOG_LIMIT_BYTES    ((uint64_t)64 << 10)
#define READ_BYTES         ((size_t)16 << 10)

typedef struct session {
    cq_crew *crew;
    cq_seat *seat;
    cronq_attempt **attempts;
    size_t count, open;
    bool told[CQ_PARCEL_LIMIT];
    cq_ended_fn *ended;
    void *arg;
    int64_t withdraw_at_ns, kill_at_ns; /* monotonic; INT64_MAX: not */
    int killed;                         /* the last signal sent; 0: none */
    bool lost, done;
} session;

static cq_run *run_of(session *s, size_t i)
{
    return &s->seat->window->runs[i];
}

/* ---- telling how attempts ended ---- */

static void tell(session *s, size_t i, cronq_status status)
{
    cronq_attempt *attempt = s->attempts[i];
    cq_run *run = run_of(s, i);
    int64_t started_ns = atomic_load(&run->started_at_mono_ns);

    if (s->told[i])
        return;
    s->told[i] = true;
    s->open--;
    cq_attempt_leave_seat(attempt);
    if (started_ns && status != CQ_WITHDRAWN) {
        attempt->started_at_mono_ns = started_ns;
        attempt->ended_at_mono_ns = atomic_load(&run->ended_at_mono_ns);
    }
    s->ended(s->arg, attempt, status);
}

/* What has not started goes elsewhere. */
static void withdraw(session *s)
{
    s->withdraw_at_ns = INT64_MAX;
    for (size_t i = 0; i < s->count; i++) {
        int queued = CQ_RUN_QUEUED;

        if (!s->told[i] && atomic_compare_exchange_strong(&run_of(s, i)->state, &queued,
                                                          CQ_RUN_WITHDRAWN))
            tell(s, i, CQ_WITHDRAWN);
    }
}

static void tell_done(session *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (!s->told[i] && atomic_load(&run_of(s, i)->state) == CQ_RUN_OK)
            tell(s, i, CRONQ_OK);
}

/* ---- the end of a child ---- */

static void order_signal(session *s, int number)
{
    cq_order order = { .kind = CQ_ORDER_KILL,
                       .seat = s->seat->number,
                       .generation = s->seat->generation,
                       .signal = number };

    cq_forks_order(s->crew->isolation->fd, &order);
    s->killed = number;
}

/* First TERM, then KILL. */
static void enforce(session *s, int64_t now_ns)
{
    int64_t grace_ns = s->crew->options.child_grace_ms * CQ_NS_PER_MS;

    if (now_ns < s->kill_at_ns)
        return;
    order_signal(s, s->killed ? SIGKILL : SIGTERM);
    s->kill_at_ns = INT64_MAX;
    if (s->killed == SIGTERM)
        s->kill_at_ns = now_ns + (grace_ns < ABORT_GRACE_NS ? grace_ns : ABORT_GRACE_NS);
}

/* The time of an attempt is over, or it was cancelled: what waits behind it leaves. */
static void note_cancelled(session *s, int64_t now_ns)
{
    int64_t grace_ns = s->crew->options.child_grace_ms * CQ_NS_PER_MS;

    if (s->kill_at_ns != INT64_MAX || s->killed)
        return;
    for (size_t i = 0; i < s->count; i++) {
        int reason = atomic_load(&s->attempts[i]->reason);

        if (s->told[i] || !reason)
            continue;
        s->kill_at_ns = now_ns + (reason == CQ_ABORTED ? 0 : grace_ns);
    }
    if (s->kill_at_ns != INT64_MAX)
        withdraw(s);
    if (s->open == 0)
        s->kill_at_ns = INT64_MAX;
}

static void tell_culprit(session *s, size_t i)
{
    cronq_attempt *attempt = s->attempts[i];
    const cronq_logger *logger = &attempt->worker->logger;
    const cq_crash *crash = &s->seat->window->crash;
    cq_log_about about = cq_attempt_about(attempt);
    char text[CQ_CRASH_TEXT_BYTES];

    cq_crash_text(crash, s->seat->why, text);
    atomic_store(&run_of(s, i)->ended_at_mono_ns, cq_mono_ns());
    if (s->killed && !crash->signal) {
        CQ_LOG_ABOUT(logger, CRONQ_LOG_WARN, &about, "child %d was ended: %s",
                     (int)s->seat->pid, text);
        cq_attempt_set_text(attempt, "", "its process was killed", 22);
        tell(s, i, CRONQ_EFAILED);
        return;
    }
    CQ_LOG_ABOUT(logger, CRONQ_LOG_ERROR, &about, "handler of %s crashed in child %d: %s",
                 s->crew->pattern, (int)s->seat->pid, text);
    cq_crash_log(crash, logger, &about);
    cq_attempt_set_text(attempt, CQ_PANIC_PREFIX, text, strlen(text));
    tell(s, i, CRONQ_EPANIC);
}

static void settle_lost(session *s)
{
    cq_seat_await_end(s->seat);
    tell_done(s);
    for (size_t i = 0; i < s->count; i++)
        if (!s->told[i] && atomic_load(&run_of(s, i)->state) == CQ_RUN_RUNNING)
            tell_culprit(s, i);
    withdraw(s);
}

/* ---- frames ---- */

static void answer_result(session *s, cronq_attempt *attempt, cronq_bytes result)
{
    cronq_error answer = { CRONQ_OK, "" };

    answer.code = cronq_attempt_write_result(attempt, result, &answer);
    if (send(s->seat->fd, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
        s->lost = true;
}

static void take_end(session *s, const cq_frame *frame, const char *text)
{
    cronq_attempt *attempt = s->attempts[frame->run];

    attempt->retry_asked = frame->retry_asked;
    attempt->retry_counted = frame->retry_counted;
    attempt->retry_in_ms = frame->retry_in_ms;
    cq_attempt_set_text(attempt, "", text, frame->len);
    tell(s, frame->run, (cronq_status)frame->status);
}

/* False: the child has lost its mind. */
static bool take_frame(session *s, const cq_frame *frame, const char *bytes)
{
    if (frame->kind == CQ_FRAME_DONE) {
        s->done = true;
        return true;
    }
    if (frame->run >= s->count || s->told[frame->run])
        return false;
    if (frame->kind == CQ_FRAME_LOG)
        cronq_attempt_log(s->attempts[frame->run], (cronq_log_level)frame->status, "%.*s",
                          (int)frame->len, bytes);
    else if (frame->kind == CQ_FRAME_RESULT)
        answer_result(s, s->attempts[frame->run], (cronq_bytes){ bytes, frame->len });
    else if (frame->kind == CQ_FRAME_ENDED)
        take_end(s, frame, bytes);
    else
        return false;
    return true;
}

static bool is_sane(const cq_frame *frame)
{
    uint64_t most =
        frame->kind == CQ_FRAME_RESULT ? CQ_MESSAGE_LIMIT_BYTES : LOG_LIMIT_BYTES;

    return frame->len <= most && frame->status <= CRONQ_LOG_OFF &&
           frame->status >= CRONQ_EREFUSED;
}

static void take_frames(session *s)
{
    cq_buf *in = &s->seat->in;
    size_t used = 0;
    cq_frame frame;

    while (!s->lost && in->len - used >= sizeof frame) {
        memcpy(&frame, in->data + used, sizeof frame);
        if (!is_sane(&frame)) {
            s->lost = true;
            break;
        }
        if (in->len - used - sizeof frame < frame.len)
            break;
        s->lost = !take_frame(s, &frame, in->data + used + sizeof frame);
        used += sizeof frame + frame.len;
    }
    cq_buf_consume(in, used);
}

static void receive(session *s)
{
    cq_buf *in = &s->seat->in;
    char *room = cq_buf_reserve(in, READ_BYTES);
    ssize_t got;

    if (!room) {
        s->lost = true;
        return;
    }
    got = recv(s->seat->fd, room, READ_BYTES, MSG_DONTWAIT);
    if (got > 0) {
        in->len += (size_t)got;
        take_frames(s);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        s->lost = true;
    }
}

/* ---- waiting ---- */

/* Until the child says something, can take something, or something is to be done. */
static bool wait_for_child(session *s, short events)
{
    struct pollfd fds[2] = { { s->seat->fd, events, 0 },
                             { s->seat->cancelled.fd, POLLIN, 0 } };
    bool watched = s->kill_at_ns == INT64_MAX && !s->killed;
    int64_t until_ns =
        s->withdraw_at_ns < s->kill_at_ns ? s->withdraw_at_ns : s->kill_at_ns;
    int64_t left_ns = until_ns - cq_mono_ns(), now_ns;
    int left_ms = until_ns == INT64_MAX ? -1
                  : left_ns <= 0        ? 0
                                        : (int)((left_ns - 1) / CQ_NS_PER_MS + 1);

    poll(fds, watched ? 2 : 1, left_ms);
    now_ns = cq_mono_ns();
    if (watched && fds[1].revents)
        note_cancelled(s, now_ns);
    enforce(s, now_ns);
    if (now_ns >= s->withdraw_at_ns) {
        tell_done(s);
        withdraw(s);
    }
    return (fds[0].revents & (events | POLLHUP | POLLERR)) != 0;
}

/* ---- the parcel ---- */

static void append_task(cq_buf *out, const cronq_attempt *attempt)
{
    cq_parcel_task task = { .queue = attempt->queue,
                            .id_len = (uint32_t)attempt->message.id.len,
                            .message_len = attempt->raw.len,
                            .deadline_at_ns = attempt->deadline_at_ns };

    task.deadline_mono_ns = atomic_load(&attempt->deadline_mono_ns);
    cq_buf_append(out, &task, sizeof task);
    cq_buf_append(out, attempt->message.id.data, attempt->message.id.len);
    cq_buf_append(out, attempt->raw.data, attempt->raw.len);
}

static bool pack(session *s)
{
    cq_buf *out = &s->seat->out;
    cq_parcel parcel = { .count = (uint32_t)s->count };

    cq_buf_append(out, &parcel, sizeof parcel);
    for (size_t i = 0; i < s->count; i++) {
        cq_run *run = run_of(s, i);

        atomic_store(&run->reason, 0);
        atomic_store(&run->started_at_mono_ns, 0);
        atomic_store(&run->state, CQ_RUN_QUEUED);
        append_task(out, s->attempts[i]);
    }
    if (out->status)
        return false;
    parcel.bytes = out->len - sizeof parcel;
    memcpy(out->data, &parcel, sizeof parcel);
    return true;
}

static void send_parcel(session *s)
{
    const cq_buf *out = &s->seat->out;
    size_t sent = 0;

    while (sent < out->len && !s->lost) {
        ssize_t n = send(s->seat->fd, out->data + sent, out->len - sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0)
            sent += (size_t)n;
        else if (errno == EAGAIN)
            wait_for_child(s, POLLOUT);
        else if (errno != EINTR)
            s->lost = true;
    }
}

static void fail_all(session *s, const char *why)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->told[i])
            continue;
        cq_attempt_set_text(s->attempts[i], "", why, strlen(why));
        s->told[i] = true;
        s->ended(s->arg, s->attempts[i], CRONQ_EFAILED);
    }
}

static void serve(session *s)
{
    cq_event_clear(&s->seat->cancelled);
    for (size_t i = 0; i < s->count; i++)
        cq_attempt_enter_seat(s->attempts[i], s->seat, (uint32_t)i);
    s->seat->task_count += (uint32_t)s->count;
    send_parcel(s);
    while (!s->done && !s->lost)
        if (wait_for_child(s, POLLIN))
            receive(s);
    if (s->lost)
        while (recv(s->seat->fd, (char[4096]){ 0 }, 4096, MSG_DONTWAIT) > 0)
            continue;
    if (s->killed)
        s->lost = true; /* a signal is on its way */
    if (s->lost)
        settle_lost(s);
    tell_done(s);
    for (size_t i = 0; i < s->count; i++)
        if (!s->told[i]) /* said to be done, and is not: nobody knows what it did */
            tell(s, i, CRONQ_EFAILED);
}

void cq_crew_run(cq_crew *crew, cronq_attempt **attempts, size_t count,
                 cq_ended_fn *ended, void *arg)
{
    session s = { .crew = crew,
                  .seat = cq_crew_take(crew, attempts[0]),
                  .attempts = attempts,
                  .count = count,
                  .open = count,
                  .ended = ended,
                  .arg = arg,
                  .withdraw_at_ns = INT64_MAX,
                  .kill_at_ns = INT64_MAX };

    if (!s.seat) {
        fail_all(&s, "no child process could be had");
        return;
    }
    if (count > 1)
        s.withdraw_at_ns = cq_mono_ns() + PARCEL_PATIENCE_NS;
    if (pack(&s))
        serve(&s);
    else
        fail_all(&s, "out of memory for its child process");
    cq_crew_give_back(s.seat);
}
