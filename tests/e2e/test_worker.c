/* SPDX-License-Identifier: MIT */
/* test_worker.c - a worker process that tests start, watch through its history, and kill.
 *
 * test-worker URI HISTORY [NAME=VALUE…]; names: queue, concurrency, lease_ms,
 * heartbeat_ms, recover_ms, shutdown_ms, cron (a spec; its tasks are "tick"), cron2,
 * name, name2, overlap, causes (1: write them down), merge (the size of sets: groups are
 * merged), merge_ms (how long that takes), set_age_ms.
 *
 * A payload is a word and a number: "sleep 300" (milliseconds), "fail 2" (the first two
 * attempts), "skip 0", "wait 0" (until cancelled); anything else succeeds at once. Each
 * start and end of an attempt is one line of the history: WHAT ID RETRY_COUNT PID
 * UNIX_MS. With causes
 * so is each warning about a task, as "cause": why it may run again. */
#include <cronq/cronq.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int history_fd;
static bool note_causes;

static long long now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (long long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void note_id(const char *what, const char *id, int retry_count)
{
    char line[1400];
    int len = snprintf(line, sizeof line, "%s %s %d %d %lld\n", what, id, retry_count,
                       (int)getpid(), now_ms());

    if (write(history_fd, line, (size_t)len) != len)
        perror("history");
}

static void note(const char *what, cronq_attempt *attempt)
{
    note_id(what, cronq_attempt_task_id(attempt), cronq_attempt_retry_count(attempt));
}

static void sleep_ms(int ms)
{
    struct timespec rest = { ms / 1000, (long)(ms % 1000) * 1000000 };

    while (nanosleep(&rest, &rest) && errno == EINTR)
        continue;
}

static cronq_status act(cronq_attempt *attempt, const char *word, int number)
{
    if (strcmp(word, "sleep") == 0)
        sleep_ms(number);
    if (strcmp(word, "fail") == 0 && cronq_attempt_retry_count(attempt) < number)
        return cronq_attempt_fail(attempt, "failed as asked");
    if (strcmp(word, "skip") == 0)
        return cronq_attempt_skip_retry(attempt, "skipped as asked");
    while (strcmp(word, "wait") == 0 && !cronq_attempt_cancelled(attempt))
        sleep_ms(1);
    return CRONQ_OK;
}

static cronq_status run(cronq_attempt *attempt, void *arg)
{
    cronq_bytes payload = cronq_attempt_payload(attempt);
    char text[64], word[32] = "";
    int number = 0;
    cronq_status status;

    (void)arg;
    snprintf(text, sizeof text, "%.*s", (int)payload.len,
             payload.data ? (const char *)payload.data : "");
    sscanf(text, "%31s %d", word, &number);
    note("start", attempt);
    status = act(attempt, word, number);
    note("end", attempt);
    return status;
}

/* ---- groups: their merged task is of type "merged", its payload is the tasks' ids ----
 */

static cronq_status merge(cronq_aggregation *aggregation, void *arg, cronq_error *err)
{
    char text[8192];
    size_t at = 0;

    note_id("merge", cronq_aggregation_group(aggregation), 0);
    sleep_ms(*(const int *)arg);
    for (size_t i = 0; i < cronq_aggregation_count(aggregation); i++) {
        cronq_bytes payload = cronq_aggregation_payload(aggregation, i);

        at += (size_t)snprintf(text + at, sizeof text - at, "%.*s ", (int)payload.len,
                               (const char *)payload.data);
    }
    return cronq_aggregation_merge(
        aggregation, CRONQ_TASK(.type = "merged", .payload = { text, at }), err);
}

/* A line "part PAYLOAD@ID" for each of those that it was made of. */
static cronq_status run_merged(cronq_attempt *attempt, void *arg)
{
    cronq_bytes payload = cronq_attempt_payload(attempt);
    char text[8192], line[160], *rest = NULL;

    (void)arg;
    snprintf(text, sizeof text, "%.*s", (int)payload.len, (const char *)payload.data);
    note("start", attempt);
    for (char *part = strtok_r(text, " ", &rest); part;
         part = strtok_r(NULL, " ", &rest)) {
        snprintf(line, sizeof line, "%s@%s", part, cronq_attempt_task_id(attempt));
        note_id("part", line, cronq_attempt_retry_count(attempt));
    }
    sleep_ms(20);
    note("end", attempt);
    return CRONQ_OK;
}

static void log_line(void *arg, const cronq_log_record *record)
{
    (void)arg;
    if (note_causes && record->task_id && record->level >= CRONQ_LOG_WARN)
        note_id("cause", record->task_id, 0);
    fprintf(stderr, "[%d] %d %s %s\n", (int)getpid(), (int)record->level, record->caller,
            record->text);
}

static const char *value_of(char **argv, const char *name, const char *fallback)
{
    size_t len = strlen(name);

    for (char **arg = argv; *arg; arg++)
        if (strncmp(*arg, name, len) == 0 && (*arg)[len] == '=')
            return *arg + len + 1;
    return fallback;
}

static int number_of(char **argv, const char *name, int fallback)
{
    const char *text = value_of(argv, name, NULL);

    return text ? atoi(text) : fallback;
}

static cronq_status add_entry(cronq_server *server, char **argv, const char *spec_name,
                              const char *name_name, cronq_error *err)
{
    const char *spec = value_of(argv, spec_name, NULL);
    cronq_task task = { .struct_size = sizeof task,
                        .queue = value_of(argv, "queue", "default") };
    cronq_entry_options entry = { .struct_size = sizeof entry, .task = &task };

    if (!spec)
        return CRONQ_OK;
    entry.name = value_of(argv, name_name, NULL);
    entry.overlap =
        number_of(argv, "overlap", 0) ? CRONQ_OVERLAP_SKIP : CRONQ_OVERLAP_ALLOW;
    return cronq_server_cron_add(server, spec, "tick", NULL, NULL, &entry, NULL, err);
}

int main(int argc, char **argv)
{
    cronq_server *server = NULL;
    cronq_error err = { CRONQ_OK, "" };
    cronq_queue queues[] = { { value_of(argv, "queue", "default"), 1 } };
    int merge_ms = number_of(argv, "merge_ms", 0);
    cronq_status status;

    if (argc < 3)
        return 2;
    history_fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (history_fd < 0)
        return 1;
    note_causes = number_of(argv, "causes", 0) != 0;
    status = cronq_server_new(
        argv[1],
        CRONQ_SERVER_OPTIONS(.queues = queues, .queue_count = 1,
                             .concurrency = (uint32_t)number_of(argv, "concurrency", 4),
                             .logger = { log_line, NULL, CRONQ_LOG_INFO },
                             .retry_kind = CRONQ_RETRY_FIXED, .retry_base_ms = 1000,
                             .lease_ms = number_of(argv, "lease_ms", 0),
                             .heartbeat_ms = number_of(argv, "heartbeat_ms", 0),
                             .recover_interval_ms = number_of(argv, "recover_ms", 0),
                             .shutdown_timeout_ms = number_of(argv, "shutdown_ms", 0),
                             .aggregator = number_of(argv, "merge", 0) ? merge : NULL,
                             .aggregator_arg = &merge_ms, .group_grace_ms = 1000,
                             .group_max_size = (uint32_t)number_of(argv, "merge", 0),
                             .group_set_age_ms = number_of(argv, "set_age_ms", 0)),
        &server, &err);
    if (!status)
        status = cronq_server_add(server, "t", run, NULL, NULL, &err);
    if (!status)
        status = cronq_server_add(server, "merged", run_merged, NULL, NULL, &err);
    if (!status)
        status = add_entry(server, argv, "cron", "name", &err);
    if (!status)
        status = add_entry(server, argv, "cron2", "name2", &err);
    if (!status)
        status = cronq_server_run(server, &err);
    if (status)
        fprintf(stderr, "test-worker: %s\n", err.text);
    cronq_server_free(server);
    return status ? 1 : 0;
}
