/* SPDX-License-Identifier: MIT */
/* process.c - run one program to its end.
 *
 * One poll loop beside the keeper, which stops what is to be stopped and says how it
 * ended when nothing of it is left. */
#include "handlers/process.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/sigpipe.h"
#include "handlers/spawn.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE_BYTES      ((size_t)16 << 10)
#define LAST_DRAIN_BYTES ((size_t)1 << 20)
#define ASK_EVERY_MS     100   /* is_cancelled, without a cancel_fd */
#define GIVE_UP_MS       15000 /* from KILL to a keeper that does not answer */

typedef struct run {
    const cq_process_request *request;
    cq_process_result *result;
    cq_child child;
    size_t fed; /* bytes of the input */
    char tail[CQ_PROCESS_LINE_BYTES];
    size_t tail_len; /* the end of what it wrote to its standard error */
    int64_t stop_ns; /* when its time is over */
    int64_t kill_ns; /* when the grace is over, and then when the keeper's patience is */
    bool is_killed;
    cq_report report; /* kind 0: none yet */
} run;

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

cronq_status cq_process_find(const char *name, const char *path, char *out, size_t size,
                             cronq_error *err)
{
    size_t len;

    if (strchr(name, '/')) {
        if (strlen(name) >= size)
            return cq_fail(err, CRONQ_ENOENT, "the program's path is too long");
        memcpy(out, name, strlen(name) + 1);
        return CRONQ_OK;
    }
    for (; path && *path; path += len + (path[len] == ':')) {
        len = strcspn(path, ":");
        if (len > 0 &&
            (size_t)snprintf(out, size, "%.*s/%s", (int)len, path, name) < size &&
            is_program(out))
            return CRONQ_OK;
    }
    return cq_fail(err, CRONQ_ENOENT, "there is no program %.200s in PATH", name);
}

static void feed(run *r)
{
    cronq_bytes input = r->request->input;
    const char *at = input.data;
    ssize_t written;

    while (r->fed < input.len) {
        written = write(r->child.input, at + r->fed, input.len - r->fed);
        if (written < 0 && errno == EAGAIN)
            return;
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            break; /* it reads no more: its own business */
        r->fed += (size_t)written;
    }
    cq_close(&r->child.input);
}

static void keep_output(run *r, const char *data, size_t len)
{
    size_t room = r->result->output.limit - r->result->output.len;

    cq_buf_append(&r->result->output, data, len < room ? len : room);
    if (len > room)
        r->result->output_is_cut = true;
}

static void keep_tail(run *r, const char *data, size_t len)
{
    size_t keep = sizeof r->tail - (len < sizeof r->tail ? len : sizeof r->tail);

    if (len > sizeof r->tail) {
        data += len - sizeof r->tail;
        len = sizeof r->tail;
    }
    if (r->tail_len > keep) {
        memmove(r->tail, r->tail + r->tail_len - keep, keep);
        r->tail_len = keep;
    }
    memcpy(r->tail + r->tail_len, data, len);
    r->tail_len += len;
}

/* Read what is there, up to limit_bytes. */
static void drain(run *r, int *fd, void (*keep)(run *, const char *, size_t),
                  size_t limit_bytes)
{
    char piece[PIECE_BYTES];
    ssize_t got;

    while (*fd >= 0 && limit_bytes > 0) {
        got = read(*fd, piece, sizeof piece < limit_bytes ? sizeof piece : limit_bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            cq_close(fd);
            return;
        }
        keep(r, piece, (size_t)got);
        limit_bytes -= (size_t)got;
    }
}

/* The last line with something in it. */
static void set_error_line(run *r)
{
    size_t end = r->tail_len, start;

    while (end > 0 && strchr(" \t\r\n", r->tail[end - 1]))
        end--;
    for (start = end; start > 0 && r->tail[start - 1] != '\n'; start--)
        ;
    while (start < end && strchr(" \t\r", r->tail[start]))
        start++;
    end = end - start < sizeof r->tail ? end : start + sizeof r->tail - 1;
    for (size_t i = start; i < end; i++)
        r->result->error_line[i - start] = r->tail[i] ? r->tail[i] : ' ';
    r->result->error_line[end - start] = '\0';
}

static void order(const run *r, char what)
{
    ssize_t written = write(r->child.control, &what, 1);

    (void)written; /* a keeper that is gone has seen to it */
}

static void stop(run *r, cq_process_stop why)
{
    r->result->stop = why;
    order(r, CQ_KEEPER_TERM);
    r->kill_ns = cq_mono_ns() + r->request->grace_ms * CQ_NS_PER_MS;
}

static bool is_cancelled(const run *r, const struct pollfd *fd)
{
    if (fd->fd >= 0)
        return fd->revents != 0;
    return r->request->cancel_fd < 0 && r->request->is_cancelled &&
           r->request->is_cancelled(r->request->arg);
}

static void check_stop(run *r, const struct pollfd *cancel)
{
    int64_t now = cq_mono_ns();

    if (r->result->stop == CQ_PROCESS_NOT_STOPPED) {
        if (is_cancelled(r, cancel))
            stop(r, CQ_PROCESS_CANCELLED);
        else if (now >= r->stop_ns)
            stop(r, CQ_PROCESS_TIMED_OUT);
        return;
    }
    if (now < r->kill_ns)
        return;
    if (!r->is_killed) {
        order(r, CQ_KEEPER_KILL);
        r->is_killed = true;
        r->kill_ns = now + GIVE_UP_MS * CQ_NS_PER_MS;
    } else {
        kill(r->child.keeper, SIGKILL);
        r->kill_ns = INT64_MAX;
    }
}

static int wait_ms(const run *r)
{
    bool is_stopped = r->result->stop != CQ_PROCESS_NOT_STOPPED;
    int64_t until = is_stopped ? r->kill_ns : r->stop_ns;
    int64_t ms = INT_MAX;

    if (until != INT64_MAX)
        ms = (until - cq_mono_ns() + CQ_NS_PER_MS - 1) / CQ_NS_PER_MS;
    if (!is_stopped && r->request->cancel_fd < 0 && r->request->is_cancelled &&
        ms > ASK_EVERY_MS)
        ms = ASK_EVERY_MS;
    if (until == INT64_MAX && ms == INT_MAX)
        return -1;
    return ms < 0 ? 0 : ms > INT_MAX ? INT_MAX : (int)ms;
}

/* Its report is there, or its keeper is not. */
static bool has_ended(run *r)
{
    ssize_t got = read(r->child.report, &r->report, sizeof r->report);

    return got >= 0 || (errno != EAGAIN && errno != EINTR);
}

static void loop(run *r)
{
    bool ended = false;

    while (!ended) {
        bool is_stopped = r->result->stop != CQ_PROCESS_NOT_STOPPED;
        struct pollfd fds[] = {
            { .fd = r->child.input, .events = POLLOUT },
            { .fd = r->child.output, .events = POLLIN },
            { .fd = r->child.errors, .events = POLLIN },
            { .fd = is_stopped ? -1 : r->request->cancel_fd, .events = POLLIN },
            { .fd = r->child.report, .events = POLLIN },
        };

        if (poll(fds, sizeof fds / sizeof fds[0], wait_ms(r)) < 0)
            for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
                fds[i].revents = 0;
        if (fds[0].revents)
            feed(r);
        if (fds[1].revents)
            drain(r, &r->child.output, keep_output, LAST_DRAIN_BYTES);
        if (fds[2].revents)
            drain(r, &r->child.errors, keep_tail, LAST_DRAIN_BYTES);
        ended = fds[4].revents && has_ended(r);
        if (!ended)
            check_stop(r, &fds[3]);
    }
}

static void set_end(const cq_report *report, cq_process_result *result)
{
    result->has_survivors = report->has_survivors;
    if (report->kind != CQ_REPORT_ENDED) {
        result->end = CQ_PROCESS_LOST;
    } else if (WIFSIGNALED(report->value)) {
        result->end = CQ_PROCESS_SIGNALED;
        result->signal = WTERMSIG(report->value);
    } else {
        result->end = CQ_PROCESS_EXITED;
        result->code = WEXITSTATUS(report->value);
    }
}

static void finish(run *r)
{
    drain(r, &r->child.output, keep_output, LAST_DRAIN_BYTES);
    drain(r, &r->child.errors, keep_tail, LAST_DRAIN_BYTES);
    set_error_line(r);
    set_end(&r->report, r->result);
    cq_close(&r->child.control);
    while (waitpid(r->child.keeper, NULL, 0) < 0 && errno == EINTR)
        ;
    cq_close(&r->child.input);
    cq_close(&r->child.output);
    cq_close(&r->child.errors);
    cq_close(&r->child.report);
}

cronq_status cq_process_run(const cq_process_request *request, cq_process_result *result,
                            cronq_error *err)
{
    cq_process_result own = { .end = CQ_PROCESS_LOST };
    run r = { .request = request, .result = &own, .stop_ns = INT64_MAX };
    size_t kept = request->output_bytes ? request->output_bytes : CQ_PROCESS_OUTPUT_BYTES;
    cq_sigpipe guard;
    cronq_status status = cq_spawn(request, &r.child, err);

    if (status != CRONQ_OK)
        return status;
    cq_buf_init(&own.output, kept);
    if (request->timeout_ms > 0 && request->timeout_ms < INT64_MAX / CQ_NS_PER_MS / 2)
        r.stop_ns = cq_mono_ns() + request->timeout_ms * CQ_NS_PER_MS;
    cq_sigpipe_block(&guard);
    loop(&r);
    finish(&r);
    cq_sigpipe_restore(&guard);
    if (r.report.kind == CQ_REPORT_NOT_STARTED) {
        cq_process_result_release(&own);
        return cq_spawn_fail(request, &r.report, err);
    }
    *result = own;
    return CRONQ_OK;
}

void cq_process_result_release(cq_process_result *result)
{
    cq_buf_release(&result->output);
}
