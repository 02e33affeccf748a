/* SPDX-License-Identifier: MIT */
/* history.c - judges the history of a run with faults. */
#include "support/history.h"

#include "support/process.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CAUSE_LATE_MS 1500 /* a cause may be logged behind the start that it explains */
#define ACCEPTED_MS   1000 /* a task that was pushed twice is run soon */

typedef struct event {
    const history_line *line;
    size_t place; /* in the file */
} event;

typedef struct history {
    history_line *lines;
    event *events; /* by id, then by time */
    size_t count;
} history;

int64_t history_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void history_note(const char *path, const char *what, const char *id, pid_t pid)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char line[256];
    int len = snprintf(line, sizeof line, "%s %s 0 %d %lld\n", what, id, (int)pid,
                       (long long)history_now_ms());

    if (fd < 0 || write(fd, line, (size_t)len) != len)
        perror(path);
    if (fd >= 0)
        close(fd);
}

static int by_id_and_time(const void *a, const void *b)
{
    const event *x = a, *y = b;
    int order = strcmp(x->line->id, y->line->id);

    if (order)
        return order;
    if (x->line->at_ms != y->line->at_ms)
        return x->line->at_ms < y->line->at_ms ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static history read_history(const char *path)
{
    history h = { .lines = NULL };

    h.lines = history_read(path, &h.count);
    h.events = calloc(h.count + 1, sizeof *h.events);
    assert_non_null(h.events);
    for (size_t i = 0; i < h.count; i++)
        h.events[i] = (event){ &h.lines[i], i };
    qsort(h.events, h.count, sizeof *h.events, by_id_and_time);
    return h;
}

static void release(history *h)
{
    free(h->events);
    free(h->lines);
}

static bool is(const event *e, const char *what)
{
    return strcmp(e->line->what, what) == 0;
}

/* The first event of the next id. */
static size_t end_of_task(const history *h, size_t from)
{
    size_t at = from;

    while (at < h->count && strcmp(h->events[at].line->id, h->events[from].line->id) == 0)
        at++;
    return at;
}

static bool crashed(const history *h, pid_t pid, int64_t from_ms, int64_t to_ms)
{
    for (size_t i = 0; i < h->count; i++)
        if (strcmp(h->lines[i].what, "crash") == 0 && h->lines[i].pid == pid &&
            h->lines[i].at_ms >= from_ms && h->lines[i].at_ms <= to_ms)
            return true;
    return false;
}

/* Did the store fail between the two moments, or shortly before? */
static bool was_out(const history *h, const history_rules *rules, int64_t from_ms,
                    int64_t to_ms)
{
    int64_t begin_ms = 0;

    for (size_t i = 0; i < h->count; i++) {
        if (strcmp(h->lines[i].what, "outage") == 0)
            begin_ms = h->lines[i].at_ms;
        if (strcmp(h->lines[i].what, "back") == 0 && begin_ms <= to_ms &&
            h->lines[i].at_ms + rules->grace_ms >= from_ms)
            return true;
    }
    return false;
}

/* The answer of its push was lost: it was sent again, after the task had been done. */
static bool was_pushed_again(const history *h, size_t from, size_t to,
                             const history_line *before, const history_line *again)
{
    int64_t ended_ms = INT64_MAX;

    for (size_t i = from; i < to; i++) {
        const history_line *line = h->events[i].line;

        if (is(&h->events[i], "end") && line->at_ms >= before->at_ms &&
            ended_ms == INT64_MAX)
            ended_ms = line->at_ms;
        if (is(&h->events[i], "accept") && line->at_ms >= ended_ms)
            return again->at_ms <= line->at_ms + ACCEPTED_MS;
    }
    return false;
}

static bool is_caused(const history *h, const history_rules *rules, size_t from,
                      size_t to, const history_line *before, const history_line *again)
{
    for (size_t i = from; i < to; i++)
        if (is(&h->events[i], "cause") && h->events[i].line->at_ms >= before->at_ms &&
            h->events[i].line->at_ms <= again->at_ms + CAUSE_LATE_MS)
            return true;
    return crashed(h, before->pid, before->at_ms, again->at_ms) ||
           was_pushed_again(h, from, to, before, again) ||
           (rules->outage_is_cause && was_out(h, rules, before->at_ms, again->at_ms));
}

static void complain(history_verdict *out, const char *what, const history_line *line)
{
    if (out->text[0] == '\0')
        snprintf(out->text, sizeof out->text, "%s: %s of %d at %lld", what, line->id,
                 (int)line->pid, (long long)line->at_ms);
}

static void judge_starts(const history *h, const history_rules *rules, size_t from,
                         size_t to, history_verdict *out)
{
    const history_line *before = NULL;
    int64_t cancelled_ms = INT64_MAX;

    for (size_t i = from; i < to; i++) {
        const history_line *line = h->events[i].line;

        if (is(&h->events[i], "cancel"))
            cancelled_ms = line->at_ms;
        if (!is(&h->events[i], "start"))
            continue;
        if (line->at_ms > cancelled_ms) {
            out->after_cancel++;
            complain(out, "started after it was cancelled", line);
        }
        if (before && is_caused(h, rules, from, to, before, line)) {
            out->caused++;
        } else if (before) {
            out->uncaused++;
            complain(out, "ran again without a cause", line);
        }
        before = line;
    }
}

static void judge_task(const history *h, const history_rules *rules, size_t from,
                       size_t to, history_verdict *out)
{
    const history_line *accepted = NULL;
    bool done = false;

    judge_starts(h, rules, from, to, out);
    for (size_t i = from; i < to; i++) {
        if (is(&h->events[i], "accept"))
            accepted = h->events[i].line;
        done |= is(&h->events[i], "end");
    }
    if (!accepted)
        return;
    out->accepted++;
    if (done) {
        out->done++;
    } else if (rules->is_stored && rules->is_stored(accepted->id, rules->arg)) {
        out->stored++;
    } else {
        out->lost++;
        complain(out, "accepted and lost", accepted);
    }
}

void history_judge(const char *path, const history_rules *rules, history_verdict *out)
{
    history h = read_history(path);

    *out = (history_verdict){ .accepted = 0 };
    for (size_t from = 0, to; from < h.count; from = to) {
        to = end_of_task(&h, from);
        judge_task(&h, rules, from, to, out);
    }
    release(&h);
}

size_t history_undone(const char *path)
{
    const history_rules rules = { .is_stored = NULL };
    history_verdict verdict;

    history_judge(path, &rules, &verdict);
    return verdict.accepted - verdict.done;
}

int64_t history_resumed_at_ms(const char *path, int64_t from_ms)
{
    history h = read_history(path);
    int64_t resumed_ms = 0;

    for (size_t from = 0, to; from < h.count; from = to) {
        bool accepted_after = false;

        to = end_of_task(&h, from);
        for (size_t i = from; i < to; i++)
            accepted_after |=
                is(&h.events[i], "accept") && h.events[i].line->at_ms >= from_ms;
        for (size_t i = from; i < to && accepted_after; i++) {
            int64_t at_ms = h.events[i].line->at_ms;

            if (is(&h.events[i], "end") && at_ms >= from_ms &&
                (resumed_ms == 0 || at_ms < resumed_ms))
                resumed_ms = at_ms;
        }
    }
    release(&h);
    return resumed_ms;
}
