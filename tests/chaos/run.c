/* SPDX-License-Identifier: MIT */
/* run.c - one row: start all, break something, and judge what is left. */
#include "chaos/chaos.h"

#include "support/certs.h"
#include "support/process.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#define WARM_UP_MS       700
#define AFTER_MS         700
#define PERIOD_MS        10 /* of pushes */
#define STOP_MS          12000
#define IDLE_CPU_PERCENT 5
#define OUTAGE_GRACE_MS  6000

void chaos_sleep(int ms)
{
    const struct timespec time = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&time, NULL);
}

/* ---- the producer ---- */

bool chaos_push(chaos_world *world, const char *id, const char *payload)
{
    cronq_task task = { .struct_size = sizeof task,
                        .type = "t",
                        .id = id,
                        .payload = { payload, strlen(payload) } };
    cronq_status status = cronq_client_push(world->client, &task, NULL, NULL);

    if (status) {
        atomic_fetch_add(&world->refused, 1);
        atomic_fetch_add(&world->full, status == CRONQ_EFULL);
        return false;
    }
    history_note(world->history, "accept", id, 0);
    atomic_fetch_add(&world->accepted, 1);
    return true;
}

static void *produce(void *arg)
{
    chaos_world *world = arg;
    char id[32];

    for (int i = 0; !atomic_load(&world->stop); i++) {
        snprintf(id, sizeof id, "task-%05d", i);
        chaos_push(world, id, "sleep 20");
        chaos_sleep(PERIOD_MS);
    }
    return NULL;
}

/* A push that had to be sent twice is a reason to run twice. */
static void note_cause(void *arg, const cronq_log_record *record)
{
    const chaos_world *world = arg;

    if (record->task_id && record->level >= CRONQ_LOG_WARN)
        history_note(world->history, "cause", record->task_id, 0);
}

static void open_client(chaos_world *world)
{
    const cronq_store_options *store =
        CRONQ_STORE_OPTIONS(.wait_replica_count = world->row->wait_count,
                            .wait_timeout_ms = 1500);
    const cronq_client_options options = { .struct_size = sizeof options,
                                           .store = store,
                                           .logger = { .write = note_cause,
                                                       .arg = world } };

    assert_int_equal(cronq_client_new(world->uri, &options, &world->client, NULL),
                     CRONQ_OK);
}

/* ---- workers ---- */

void chaos_start_worker(chaos_world *world, int i)
{
    bool usual = world->row->flags & CHAOS_USUAL;
    const char *const argv[] = { TEST_WORKER,
                                 world->uri,
                                 world->history,
                                 "causes=1",
                                 "shutdown_ms=3000",
                                 usual ? "lease_ms=0" : "lease_ms=2000",
                                 usual ? "heartbeat_ms=0" : "heartbeat_ms=500",
                                 usual ? "recover_ms=0" : "recover_ms=300",
                                 NULL };

    world->workers[i] = process_start_logged(argv, world->log);
}

void chaos_kill_worker(chaos_world *world, int i)
{
    process_end(world->workers[i], SIGKILL);
    history_note(world->history, "crash", "-", world->workers[i]);
    world->workers[i] = 0;
}

int chaos_end_worker(chaos_world *world, int i, int signal_number, int64_t timeout_ms)
{
    int code;

    kill(world->workers[i], signal_number);
    code = process_await(world->workers[i], timeout_ms);
    if (code < 0)
        chaos_kill_worker(world, i);
    /* What it held when it gave up runs again. */
    if (code > 0)
        history_note(world->history, "crash", "-", world->workers[i]);
    world->workers[i] = 0;
    return code;
}

void chaos_outage(chaos_world *world)
{
    history_note(world->history, "outage", "-", 0);
}

void chaos_back(chaos_world *world)
{
    history_note(world->history, "back", "-", 0);
}

/* ---- the stage ---- */

static void start_group(chaos_world *world)
{
    const char *uri;

    if (world->row->flags & CHAOS_SENTINEL) {
        world->sentinels = calloc(1, sizeof *world->sentinels);
        assert_non_null(world->sentinels);
        sentinel_group_start(world->sentinels, world->row->config);
        uri = world->sentinels->uri;
    } else {
        world->cluster = calloc(1, sizeof *world->cluster);
        assert_non_null(world->cluster);
        cluster_group_start(world->cluster);
        uri = world->cluster->uri;
    }
    snprintf(world->store_uri, sizeof world->store_uri, "%s", uri);
    snprintf(world->uri, sizeof world->uri, "%s", uri);
}

/* The authority is that of the "system". */
static void start_tls(chaos_world *world)
{
    world->certs = certs_make();
    setenv("SSL_CERT_FILE", certs_path(world->certs, "ca", "pem"), 1);
    world->redis = redis_server_start_tls(world->certs, "server", "tls-auth-clients no");
    snprintf(world->store_uri, sizeof world->store_uri, "%s",
             redis_server_uri(world->redis));
    snprintf(world->uri, sizeof world->uri, "rediss://127.0.0.1:%u",
             redis_server_port(world->redis));
}

static void start_redis(chaos_world *world)
{
    const chaos_row *row = world->row;
    bool tcp = row->flags & CHAOS_TCP;

    world->redis =
        tcp ? redis_server_start_tcp(row->config) : redis_server_start(row->config);
    snprintf(world->store_uri, sizeof world->store_uri, "%s",
             redis_server_uri(world->redis));
    snprintf(world->uri, sizeof world->uri, "%s", world->store_uri);
    if (tcp) {
        redis_server_do(world->redis, "ACL SETUSER w on >pw ~* &* +@all");
        snprintf(world->uri, sizeof world->uri, "redis://w:pw@127.0.0.1:%u",
                 redis_server_port(world->redis));
    }
    if (!(row->flags & CHAOS_PROXIED))
        return;
    world->proxy = fault_proxy_start(redis_server_socket(world->redis));
    snprintf(world->uri, sizeof world->uri, "%s", fault_proxy_uri(world->proxy));
}

static void start_all(chaos_world *world)
{
    const char *scratch = scratch_new(world->scratch);

    snprintf(world->history, sizeof world->history, "%s/history", scratch);
    snprintf(world->log, sizeof world->log, "%s/log", scratch);
    if (world->row->flags & CHAOS_FILE) {
        snprintf(world->uri, sizeof world->uri, "sqlite:%s/db", scratch);
        snprintf(world->store_uri, sizeof world->store_uri, "%s", world->uri);
    } else if (world->row->flags & (CHAOS_SENTINEL | CHAOS_CLUSTER)) {
        start_group(world);
    } else if (world->row->flags & CHAOS_TLS) {
        start_tls(world);
    } else {
        start_redis(world);
    }
    open_client(world);
    assert_int_equal(cronq_inspector_new(world->store_uri, NULL, &world->inspector, NULL),
                     CRONQ_OK);
    for (int i = 0; i < CHAOS_WORKERS; i++)
        chaos_start_worker(world, i);
    assert_int_equal(pthread_create(&world->producer, NULL, produce, world), 0);
    world->produces = true;
}

static void stop_all(chaos_world *world)
{
    for (int i = 0; i < CHAOS_WORKERS; i++)
        if (world->workers[i])
            process_end(world->workers[i], SIGKILL);
    cronq_client_free(world->client);
    cronq_inspector_free(world->inspector);
    fault_proxy_stop(world->proxy);
    redis_server_stop(world->redis);
    if (world->sentinels)
        sentinel_group_stop(world->sentinels);
    if (world->cluster)
        cluster_group_stop(world->cluster);
    free(world->sentinels);
    free(world->cluster);
    unsetenv("SSL_CERT_FILE");
    certs_remove(world->certs);
    scratch_remove(world->scratch);
}

/* ---- judging ---- */

static void fail_row(chaos_result *result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail_row(chaos_result *result, const char *format, ...)
{
    va_list args;

    result->passed = false;
    if (result->why[0])
        return;
    va_start(args, format);
    vsnprintf(result->why, sizeof result->why, format, args);
    va_end(args);
}

static void on_finding(const cronq_finding *finding, void *arg)
{
    chaos_result *result = arg;

    result->found++;
    fail_row(result, "fsck: %s %s: %s", cronq_finding_kind_name(finding->kind),
             finding->id, finding->text);
}

static void on_repaired(const cronq_finding *finding, void *arg)
{
    size_t *repaired = arg;

    *repaired += finding->repaired;
}

/* Done under load too: what only moves is no finding. */
static void check_store(chaos_world *world, chaos_result *result)
{
    cronq_error err;

    if (cronq_inspector_check(world->inspector, "default", false, on_finding, result,
                              &err))
        fail_row(result, "fsck: %s", err.text);
}

static void mend_store(chaos_world *world, chaos_result *result)
{
    size_t repaired = 0, len = strlen(result->note);
    cronq_error err;

    if (!(world->row->flags & CHAOS_DAMAGES))
        return;
    if (cronq_inspector_check(world->inspector, "default", true, on_repaired, &repaired,
                              &err))
        fail_row(result, "fsck --repair: %s", err.text);
    snprintf(result->note + len, sizeof result->note - len, "%s%zu repaired",
             len ? ", " : "", repaired);
}

static bool is_stored(const char *id, void *arg)
{
    chaos_world *world = arg;
    cronq_task_info *info;

    if (cronq_inspector_task(world->inspector, "default", id, &info, NULL))
        return false;
    cronq_task_info_free(info);
    return true;
}

static int64_t await_recovery(chaos_world *world, int64_t from_ms)
{
    for (int64_t waited = 0; waited <= world->row->recovery_ms + 5000; waited += 50) {
        int64_t at_ms = history_resumed_at_ms(world->history, from_ms);

        if (at_ms)
            return at_ms - from_ms;
        chaos_sleep(50);
    }
    return -1;
}

static int64_t await_drain(chaos_world *world)
{
    int64_t from_ms = history_now_ms();

    if (world->row->flags & CHAOS_LOSES)
        return 0;
    while (history_now_ms() - from_ms <= world->row->drain_ms) {
        if (history_undone(world->history) == 0)
            return history_now_ms() - from_ms;
        chaos_sleep(100);
    }
    return -1;
}

static void stop_workers(chaos_world *world, chaos_result *result)
{
    for (int i = 0; i < CHAOS_WORKERS; i++) {
        int code = world->workers[i] ? chaos_end_worker(world, i, SIGTERM, STOP_MS) : 0;

        if (code)
            fail_row(result, "worker %d ended with %d", i, code);
    }
}

static void judge(chaos_world *world, chaos_result *result)
{
    const chaos_row *row = world->row;
    const history_rules rules = { .outage_is_cause = row->flags & CHAOS_OUTAGE,
                                  .grace_ms = OUTAGE_GRACE_MS,
                                  .is_stored = is_stored,
                                  .arg = world };
    const history_verdict *verdict = &result->verdict;

    history_judge(world->history, &rules, &result->verdict);
    if (verdict->lost && !(row->flags & CHAOS_LOSES))
        fail_row(result, "%zu lost; %s", verdict->lost, verdict->text);
    if (verdict->uncaused || verdict->after_cancel)
        fail_row(result, "%s", verdict->text);
    if (verdict->accepted == 0)
        fail_row(result, "nothing was accepted");
    if (result->recovery_ms < 0 || result->recovery_ms > row->recovery_ms)
        fail_row(result, "a new task was done after %lld ms, not %d",
                 (long long)result->recovery_ms, row->recovery_ms);
    if (result->drain_ms < 0)
        fail_row(result, "%zu of %zu are not done after %d ms",
                 verdict->accepted - verdict->done, verdict->accepted, row->drain_ms);
    if (result->cpu_percent > IDLE_CPU_PERCENT)
        fail_row(result, "a worker used %d %% of a core during the fault",
                 result->cpu_percent);
}

/* ---- a row ---- */

static int64_t cpu_ms(const chaos_world *world)
{
    int64_t most = 0;

    for (int i = 0; i < CHAOS_WORKERS; i++) {
        int64_t ms = process_cpu_ms(world->workers[i]);

        most = ms > most ? ms : most;
    }
    return most;
}

static void inject(chaos_world *world, chaos_result *result)
{
    bool measured = world->row->flags & CHAOS_IDLES;
    int64_t cpu_before = measured ? cpu_ms(world) : 0, from_ms = history_now_ms();

    world->row->inject(world);
    if (measured)
        result->cpu_percent =
            (int)((cpu_ms(world) - cpu_before) * 100 / (history_now_ms() - from_ms + 1));
}

static void keep_log(const chaos_world *world)
{
    const char *where = getenv("CRONQ_CHAOS_LOGS");
    char command[400];

    if (!where)
        return;
    snprintf(command, sizeof command, "mkdir -p %s/%s && cp %s/* %s/%s/", where,
             world->row->name, world->scratch, where, world->row->name);
    if (system(command) != 0)
        fprintf(stderr, "cannot keep the logs of %s\n", world->row->name);
}

static chaos_world *current; /* NULL between the rows */

static void finish(void)
{
    stop_all(current);
    free(current);
    current = NULL;
}

static void judge_all(chaos_world *world, int64_t fault_end_ms, chaos_result *result)
{
    snprintf(result->note, sizeof result->note, "%s", world->note);
    result->recovery_ms = await_recovery(world, fault_end_ms);
    mend_store(world, result);
    check_store(world, result);
    chaos_sleep(AFTER_MS);
    atomic_store(&world->stop, true);
    pthread_join(world->producer, NULL);
    world->produces = false;
    result->drain_ms = await_drain(world);
    stop_workers(world, result);
    check_store(world, result);
    judge(world, result);
}

void chaos_run(const chaos_row *row, chaos_result *out)
{
    chaos_result result = { .row = row, .passed = true, .cpu_percent = -1 };

    current = calloc(1, sizeof *current);
    assert_non_null(current);
    current->row = row;
    start_all(current);
    chaos_sleep(WARM_UP_MS);
    inject(current, &result);
    judge_all(current, history_now_ms(), &result);
    if (!result.passed)
        keep_log(current);
    *out = result;
    finish();
}

void chaos_abandon(void)
{
    if (!current)
        return;
    keep_log(current);
    atomic_store(&current->stop, true);
    if (current->produces)
        pthread_join(current->producer, NULL);
    finish();
}
