/* SPDX-License-Identifier: MIT */
/* test_crasher.c - a supervised worker whose handler crashes when its payload says so.
 *
 * test-crasher URI HISTORY thread|process; its history is that of test-worker, with each
 * warning about a task as "cause". HISTORY.metrics: its metrics when it was told to end.
 * Payloads: null, abort, overrun, free, leak, loop, wait, plain. */
#include <cronq/cronq.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 8

static int history_fd;
static const char *history_path;
static cronq_metrics *metrics;

static void note(const char *what, const char *id)
{
    struct timespec ts;
    char line[256];
    int len;

    clock_gettime(CLOCK_REALTIME, &ts);
    len = snprintf(line, sizeof line, "%s %.100s 0 %d %lld\n", what, id, (int)getpid(),
                   (long long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
    if (write(history_fd, line, (size_t)len) != len)
        perror("history");
}

static __attribute__((noinline)) int overrun(volatile int depth)
{
    volatile char room[4096];

    room[depth % 4096] = (char)depth;
    return depth < 0 ? room[0] : overrun(depth + 1) + room[0];
}

static void free_twice(void)
{
    char *volatile memory = malloc(3000);
    char *again = memory;

    free(memory);
    memory = again;
    free(memory);
}

/* To the limit, and then as if there were none. */
static void leak(void)
{
    for (;;) {
        volatile char *more = malloc((size_t)1 << 20);

        for (size_t i = 0; i < (size_t)1 << 20; i += 4096)
            more[i] = 1;
    }
}

static void misbehave(const char *how)
{
    volatile int *volatile nowhere = NULL;

    if (strcmp(how, "null") == 0)
        *nowhere = 1;
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "overrun") == 0)
        overrun(1);
    if (strcmp(how, "free") == 0)
        free_twice();
    if (strcmp(how, "leak") == 0)
        leak();
    if (strcmp(how, "loop") == 0 && nice(19) == -1) /* the machine is the others', too */
        perror("nice");
    while (strcmp(how, "loop") == 0)
        continue;
    if (strcmp(how, "wait") == 0)
        sleep(1000);
}

static cronq_status run(cronq_attempt *attempt, void *arg)
{
    cronq_bytes payload = cronq_attempt_payload(attempt);
    char how[16];

    (void)arg;
    snprintf(how, sizeof how, "%.*s", (int)payload.len, (const char *)payload.data);
    if (strcmp(how, "wait") == 0)
        note("start", cronq_attempt_task_id(attempt));
    misbehave(how);
    note("end", cronq_attempt_task_id(attempt));
    return CRONQ_OK;
}

static void log_line(void *arg, const cronq_log_record *record)
{
    (void)arg;
    if (record->task_id && record->level >= CRONQ_LOG_WARN)
        note("cause", record->task_id);
    fprintf(stderr, "[%d] %s %s\n", (int)getpid(), record->caller, record->text);
}

static void write_metrics(void *arg)
{
    char path[256], *text;
    FILE *out;
    size_t len;

    (void)arg;
    snprintf(path, sizeof path, "%s.metrics", history_path);
    out = fopen(path, "we");
    if (!out || cronq_metrics_render(metrics, CRONQ_METRICS_TEXT, &text, &len, NULL))
        return;
    fwrite(text, 1, len, out);
    fclose(out);
    free(text);
}

static cronq_status note_archived(const cronq_task_info *task, void *arg,
                                  cronq_error *err)
{
    (void)arg;
    (void)err;
    note("told", cronq_task_info_id(task));
    return CRONQ_OK;
}

int main(int argc, char **argv)
{
    cronq_handler_options handler = { .struct_size = sizeof handler,
                                      .child_grace_ms = 200 };
    cronq_server *server = NULL;
    cronq_error err = { CRONQ_OK, "" };
    cronq_status status;

    if (argc < 4)
        return 2;
    history_path = argv[2];
    history_fd = open(history_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    status = cronq_metrics_new(&metrics, &err);
    if (!status)
        status = cronq_server_new(
            argv[1],
            CRONQ_SERVER_OPTIONS(.concurrency = SLOTS, .supervise = true,
                                 .metrics = metrics, .on_end = write_metrics,
                                 .restart_delay_ms = 1, .lease_ms = 20000,
                                 .on_archive = note_archived,
                                 .logger = { log_line, NULL, CRONQ_LOG_INFO }),
            &server, &err);
    if (strcmp(argv[3], "process") == 0) {
        handler.isolation = CRONQ_ISOLATION_PROCESS;
        handler.memory_limit_bytes = (uint64_t)64 << 20;
    }
    if (!status)
        status = cronq_server_add(server, "t", run, NULL, &handler, &err);
    if (!status)
        status = cronq_server_run(server, &err);
    cronq_server_free(server);
    cronq_metrics_free(metrics);
    if (status)
        fprintf(stderr, "test-crasher: %s\n", err.text);
    return status != CRONQ_OK;
}
