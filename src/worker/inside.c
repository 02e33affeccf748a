/* SPDX-License-Identifier: MIT */
/* inside.c - a child process: it takes parcels of tasks and runs their handler.
 *
 * It was forked from a process of one thread which had no connection, so that nothing
 * here is half done; it ends when its stream does. */
#include "base/clock.h"
#include "base/error.h"
#include "worker/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PARCEL_LIMIT_BYTES ((size_t)4 << 30)
#define PARCEL_KEPT_BYTES  ((size_t)256 << 10)

typedef struct inside {
    cq_isolation *isolation;
    cq_crew *crew;
    cq_seat *seat;
    void *arg; /* for the handler */
    int fd;
    cq_buf in;
    cq_arena arena;
} inside;

static cq_crash *own_crash; /* in the window; of the one child that this process is */

/* ---- signals ---- */

static void on_crash(int number, siginfo_t *info, void *context)
{
    (void)context;
    cq_crash_take(own_crash, number, info);
    cq_crash_take_frames(own_crash);
    signal(number, SIG_DFL);
    raise(number);
}

/* A service manager that ends the service may signal all its processes; what runs here is
 * ended by the worker, when it is time. */
static void on_term(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_pid != getppid())
        return;
    signal(number, SIG_DFL);
    raise(number);
}

static void take_signals(inside *in)
{
    struct sigaction action = { .sa_sigaction = on_term,
                                .sa_flags = SA_SIGINFO | SA_RESTART };

    own_crash = &in->seat->window->crash;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    if (cq_crash_install(on_crash))
        cq_crash_stack_new();
}

/* ---- limits ---- */

static uint64_t mapped_bytes(void)
{
    FILE *statm = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;

    if (!statm || fscanf(statm, "%llu", &pages) != 1)
        pages = 0;
    if (statm)
        fclose(statm);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Lower the soft limit, and the hard one too where it is not to come back. */
static void set_limit(int resource, uint64_t most, bool hard)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0)
        return;
    if (limit.rlim_max == RLIM_INFINITY || most < limit.rlim_max)
        limit.rlim_cur = most;
    if (hard && limit.rlim_cur < limit.rlim_max)
        limit.rlim_max = limit.rlim_cur;
    setrlimit((__rlimit_resource_t)resource, &limit);
}

static void set_limits(const cronq_handler_options *options)
{
    if (options->memory_limit_bytes)
        set_limit(RLIMIT_AS, mapped_bytes() + options->memory_limit_bytes, true);
    if (options->open_files_limit)
        set_limit(RLIMIT_NOFILE, options->open_files_limit, true);
}

/* The kernel counts the time of the whole process: each task gets its own share. */
static void set_cpu_limit(const inside *in)
{
    uint64_t share_s = in->crew->options.cpu_limit_s;
    struct rusage usage;

    if (!share_s || getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    set_limit(RLIMIT_CPU,
              (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + 1 + share_s,
              false);
}

/* ---- the stream ---- */

static bool send_all(int fd, const void *data, size_t len)
{
    const char *bytes = data;

    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

static bool receive_all(int fd, void *data, size_t len)
{
    char *bytes = data;

    while (len > 0) {
        ssize_t got = recv(fd, bytes, len, MSG_WAITALL);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        bytes += got;
        len -= (size_t)got;
    }
    return true;
}

/* A worker that does not listen any more has ended, or has given this child up. */
static void say(int fd, cq_frame *frame, const void *data, size_t len)
{
    frame->len = len;
    if (!send_all(fd, frame, sizeof *frame) || !send_all(fd, data, len))
        _exit(EXIT_SUCCESS);
}

void cq_inside_log(cronq_attempt *attempt, cronq_log_level level, const char *text)
{
    cq_frame frame = { .kind = CQ_FRAME_LOG,
                       .status = (int)level,
                       .run = attempt->inside->number };

    say(attempt->inside->fd, &frame, text, strlen(text));
}

cronq_status cq_inside_write_result(cronq_attempt *attempt, cronq_bytes result,
                                    cronq_error *err)
{
    cq_frame frame = { .kind = CQ_FRAME_RESULT, .run = attempt->inside->number };
    cronq_error answer;

    if (result.len > CQ_MESSAGE_LIMIT_BYTES)
        return cq_fail(err, CRONQ_ETOOBIG, "result: %zu bytes, at most %zu", result.len,
                       CQ_MESSAGE_LIMIT_BYTES);
    say(attempt->inside->fd, &frame, result.data, result.len);
    if (!receive_all(attempt->inside->fd, &answer, sizeof answer))
        _exit(EXIT_SUCCESS);
    answer.text[sizeof answer.text - 1] = '\0';
    if (answer.code)
        return cq_fail(err, answer.code, "%s", answer.text);
    return CRONQ_OK;
}

/* ---- running ---- */

static void say_end(const inside *in, uint32_t number, const cronq_attempt *attempt,
                    cronq_status status)
{
    cq_frame frame = { .kind = CQ_FRAME_ENDED,
                       .status = status,
                       .run = number,
                       .retry_asked = attempt->retry_asked,
                       .retry_counted = attempt->retry_counted,
                       .retry_in_ms = attempt->retry_in_ms };

    if (status < CRONQ_EREFUSED || status > CRONQ_OK)
        frame.status = CRONQ_EFAILED;
    say(in->fd, &frame, attempt->error_text.data ? attempt->error_text.data : "",
        attempt->error_text.len);
}

static void begin_run(cronq_attempt *attempt, struct cq_inside *link)
{
    cq_event_clear(&link->cancelled);
    if (atomic_load(&link->run->reason))
        cq_event_set(&link->cancelled);
    atomic_store(&link->run->started_at_mono_ns, cq_mono_ns());
    attempt->inside = link;
}

static void run_task(inside *in, uint32_t number, const cq_parcel_task *task,
                     const char *bytes)
{
    cq_run *run = &in->seat->window->runs[number];
    struct cq_inside link = { in->fd, run, number, in->seat->cancelled };
    cq_delivery delivery = { .queue = task->queue,
                             .id = { bytes, task->id_len },
                             .message = { bytes + task->id_len, task->message_len } };
    int queued = CQ_RUN_QUEUED;
    cronq_attempt attempt;
    cronq_status status;
    cronq_error err;

    if (!atomic_compare_exchange_strong(&run->state, &queued, CQ_RUN_RUNNING))
        return;
    status =
        cq_attempt_init(&attempt, in->isolation->worker, &delivery, &in->arena, &err);
    attempt.deadline_at_ns = task->deadline_at_ns;
    atomic_store(&attempt.deadline_mono_ns, task->deadline_mono_ns);
    begin_run(&attempt, &link);
    set_cpu_limit(in);
    if (!status)
        status = cq_mux_call(in->crew->handler, in->arg, &attempt);
    atomic_store(&run->ended_at_mono_ns, cq_mono_ns());
    if (status)
        say_end(in, number, &attempt, status);
    else
        atomic_store(&run->state, CQ_RUN_OK);
    cq_attempt_release(&attempt);
    cq_arena_reset(&in->arena);
}

static bool run_parcel(inside *in)
{
    cq_frame done = { .kind = CQ_FRAME_DONE };
    cq_parcel parcel;
    char *bytes;

    if (!receive_all(in->fd, &parcel, sizeof parcel))
        return false;
    cq_buf_reset(&in->in);
    bytes = cq_buf_reserve(&in->in, parcel.bytes);
    if (!bytes)
        _exit(EXIT_FAILURE);
    if (!receive_all(in->fd, bytes, parcel.bytes))
        return false;
    for (uint32_t i = 0; i < parcel.count; i++) {
        cq_parcel_task task;

        memcpy(&task, bytes, sizeof task);
        bytes += sizeof task;
        run_task(in, i, &task, bytes);
        bytes += task.id_len + task.message_len;
    }
    if (in->in.cap > PARCEL_KEPT_BYTES) {
        cq_buf_release(&in->in);
        cq_buf_init(&in->in, PARCEL_LIMIT_BYTES);
    }
    say(in->fd, &done, "", 0);
    return true;
}

/* ---- the start ---- */

/* What belongs to the other children. */
static void leave_others(inside *in)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    for (uint32_t i = 0; i < in->isolation->seat_count; i++) {
        cq_seat *seat = &in->isolation->seats[i];

        if (seat != in->seat)
            cq_event_release(&seat->cancelled);
    }
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        close(null);
    }
}

static cronq_status start(inside *in, cronq_error *err)
{
    in->arg = in->crew->arg;
    take_signals(in);
    leave_others(in);
    if (in->crew->options.child_init) {
        cronq_status status = in->crew->options.child_init(&in->arg, err);

        if (status)
            return status;
    }
    set_limits(&in->crew->options);
    return CRONQ_OK;
}

void cq_inside_main(void *isolation, uint32_t seat, int fd)
{
    inside in = { .isolation = isolation, .fd = fd };
    cronq_error err = { CRONQ_EFAILED, "its child_init failed" };
    cq_frame ready = { .kind = CQ_FRAME_READY };

    in.seat = &in.isolation->seats[seat];
    in.crew = in.seat->crew;
    cq_buf_init(&in.in, PARCEL_LIMIT_BYTES);
    cq_arena_init(&in.arena, PARCEL_LIMIT_BYTES);
    ready.status = start(&in, &err);
    say(fd, &ready, err.text, ready.status ? strlen(err.text) : 0);
    if (!ready.status)
        while (run_parcel(&in))
            continue;
    _exit(EXIT_SUCCESS);
}
