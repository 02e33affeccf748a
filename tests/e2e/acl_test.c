/* SPDX-License-Identifier: MIT */
/* e2e/acl_test.c - the rules of docs/redis.md: each role can do its work and nothing
 * else. */
#include <cronq/cronq.h>

#include "base/clock.h"
#include "support/acl.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PASSWORD "s3cr3t-canary"

static redis_server *server;

static int set_up(void **state)
{
    (void)state;
    server = redis_server_start_tcp(NULL);
    acl_make_users(server, PASSWORD);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    redis_server_stop(server);
    return 0;
}

static const char *uri_of(const char *user)
{
    static char uri[128];

    snprintf(uri, sizeof uri, "redis://%s:" PASSWORD "@127.0.0.1:%u", user,
             redis_server_port(server));
    return uri;
}

static void must(cronq_status status, const cronq_error *err)
{
    if (status)
        fail_msg("%s", err->text);
}

static void expect_refused(const char *user, const char *const commands[])
{
    redisContext *context = redisConnect("127.0.0.1", redis_server_port(server));
    redisReply *reply = redisCommand(context, "AUTH %s %s", user, PASSWORD);

    assert_int_equal(reply->type, REDIS_REPLY_STATUS);
    freeReplyObject(reply);
    for (size_t i = 0; commands[i]; i++) {
        reply = redisCommand(context, commands[i]);
        if (reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "NOPERM", 6) != 0)
            fail_msg("%s may \"%s\"", user, commands[i]);
        freeReplyObject(reply);
    }
    redisFree(context);
    redis_server_do(server, "ACL LOG RESET"); /* of what was meant */
}

static const char *const never[] = { "FLUSHALL",
                                     "KEYS *",
                                     "CONFIG SET maxmemory 1",
                                     "SHUTDOWN NOSAVE",
                                     "ACL LIST",
                                     "REPLICAOF NO ONE",
                                     "GET secret",
                                     "SET secret 1",
                                     "PUBLISH other x",
                                     "SUBSCRIBE other",
                                     "MONITOR",
                                     "SCRIPT FLUSH",
                                     NULL };

static void a_producer_pushes_and_does_nothing_else(void **state)
{
    static const char *const others[] = { "RPOP asynq:{q}:pending",
                                          "DEL asynq:{q}:pending",
                                          "SMEMBERS asynq:queues",
                                          "LRANGE asynq:{q}:pending 0 -1",
                                          "PUBLISH asynq:cancel x",
                                          "CONFIG GET maxmemory",
                                          NULL };
    cronq_task task = { .struct_size = sizeof task, .type = "t", .queue = "q" };
    cronq_client *client;
    cronq_error err = { 0 };

    (void)state;
    must(cronq_client_new(uri_of("cronq-producer"), NULL, &client, &err), &err);
    must(cronq_client_push(client, &task, NULL, &err), &err);
    must(cronq_client_push_in(client, &task, 60000, NULL, &err), &err);
    task.unique_for_ms = 60000;
    must(cronq_client_push(client, &task, NULL, &err), &err);
    assert_int_equal(cronq_client_push(client, &task, NULL, &err), CRONQ_EDUP);
    task.unique_for_ms = 0;
    task.group = "g";
    must(cronq_client_push(client, &task, NULL, &err), &err);
    must(cronq_client_push_in(client, &task, 60000, NULL, &err), &err);
    cronq_client_free(client);
    acl_expect_nothing_refused(server);
    expect_refused("cronq-producer", never);
    expect_refused("cronq-producer", others);
}

static cronq_status run(cronq_attempt *attempt, void *arg)
{
    atomic_int *runs = arg;
    int before = atomic_fetch_add(runs, 1);

    if (before == 0)
        return cronq_attempt_skip_retry(attempt, "no");
    return before == 1 ? cronq_attempt_fail(attempt, "no") : CRONQ_OK;
}

static void a_worker_works_and_does_nothing_else(void **state)
{
    static const char *const others[] = { "SMEMBERS asynq:queues",
                                          "PUBLISH asynq:cancel x",
                                          "CONFIG GET maxmemory",
                                          "RENAME asynq:{q}:pending asynq:{q}:x", NULL };
    const cronq_task task = {
        .struct_size = sizeof task, .type = "t", .queue = "w", .retain_for_ms = 1000
    };
    const cronq_entry_options entry = { .struct_size = sizeof entry, .task = &task };
    cronq_queue queue = { "w", 1 };
    atomic_int runs = 0;
    cronq_client *client;
    cronq_server *worker;
    cronq_error err = { 0 };

    (void)state;
    must(cronq_client_new(uri_of("cronq-worker"), NULL, &client, &err), &err);
    for (int i = 0; i < 4; i++)
        must(cronq_client_push(client, &task, NULL, &err), &err);
    must(cronq_server_new(
             uri_of("cronq-worker"),
             CRONQ_SERVER_OPTIONS(.queues = &queue, .queue_count = 1, .concurrency = 1,
                                  .retry_kind = CRONQ_RETRY_FIXED, .retry_base_ms = 1000,
                                  .lease_ms = 3000, .heartbeat_ms = 500,
                                  .recover_interval_ms = 500, .janitor_interval_ms = 500),
             &worker, &err),
         &err);
    must(cronq_server_cron_add(worker, "@every 1s", "t", run, &runs, &entry, NULL, &err),
         &err);
    must(cronq_server_start(worker, &err), &err);
    for (int waited = 0; atomic_load(&runs) < 6 && waited < 10000; waited += 10)
        cq_sleep_ms(10);
    assert_true(atomic_load(&runs) >= 6);
    cq_sleep_ms(2500); /* the janitor, the recoverer, the scheduler's history */
    must(cronq_server_stop(worker, &err), &err);
    cronq_server_free(worker);
    cronq_client_free(client);
    acl_expect_nothing_refused(server);
    expect_refused("cronq-worker", never);
    expect_refused("cronq-worker", others);
}

/* ---- what scripts call ---- */

/* Of those who look and repair; the others are a worker's. */
static const char *const of_operators[] = { "act",     "amend",  "browse",
                                            "cancel",  "check",  "implant",
                                            "records", "remove", "group_counts",
                                            NULL };

typedef void command_fn(const char *command, bool of_worker);

static bool is_of_operators(const char *file)
{
    for (size_t i = 0; of_operators[i]; i++)
        if (strncmp(file, of_operators[i], strlen(of_operators[i])) == 0 &&
            strcmp(file + strlen(of_operators[i]), ".lua") == 0)
            return true;
    return false;
}

/* But for MEMORY, whose answer nobody needs. */
static bool is_command(const char *word)
{
    redisReply *reply = redis_server_command(server, "COMMAND INFO %s", word);
    bool is = reply->elements == 1 && reply->element[0]->type == REDIS_REPLY_ARRAY &&
              strcmp(word, "memory") != 0;

    freeReplyObject(reply);
    return is;
}

/* Each word in capitals and quotes that names a command. */
static void each_command_in(const char *file, command_fn *act)
{
    char path[512], line[1024], word[32];
    FILE *script;

    snprintf(path, sizeof path, "%s/%s", CQ_LUA_DIR, file);
    script = fopen(path, "r");
    assert_non_null(script);
    while (fgets(line, sizeof line, script)) {
        for (const char *at = line; (at = strchr(at, '\'')); at++) {
            size_t len = strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

            if (len < 3 || len >= sizeof word || at[1 + len] != '\'')
                continue;
            for (size_t i = 0; i < len; i++)
                word[i] = (char)(at[1 + i] - 'A' + 'a');
            word[len] = '\0';
            if (is_command(word))
                act(word, !is_of_operators(file));
        }
    }
    fclose(script);
}

static void each_command(command_fn *act)
{
    DIR *dir = opendir(CQ_LUA_DIR);
    struct dirent *entry;
    int files = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        if (!strstr(entry->d_name, ".lua"))
            continue;
        each_command_in(entry->d_name, act);
        files++;
    }
    closedir(dir);
    assert_true(files > 20);
}

/* Whatever it is about its keys. */
static bool may(const char *user, const char *command)
{
    redisReply *info = redis_server_command(server, "COMMAND INFO %s", command), *reply;
    const char *words[12] = { "ACL", "DRYRUN", user, command };
    long long arity = info->element[0]->element[1]->integer;
    int count = 3 + (int)llabs(arity);
    bool allowed;

    assert_in_range(count, 4, 12);
    for (int i = 4; i < count; i++)
        words[i] = "1";
    reply = redis_server_words(server, count, words);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("ACL DRYRUN of %s: %s", command, reply->str);
    allowed = !strstr(reply->str, "to run the");
    freeReplyObject(reply);
    freeReplyObject(info);
    return allowed;
}

static void must_be_allowed(const char *command, bool of_worker)
{
    if (of_worker && !may("cronq-worker", command))
        fail_msg("scripts of a worker call %s, which its rule does not allow", command);
    if (!may("cronq-operator", command))
        fail_msg("scripts call %s, which the operator's rule does not allow", command);
}

static void the_rules_allow_all_that_scripts_call(void **state)
{
    (void)state;
    each_command(must_be_allowed);
}

static void an_operator_looks_and_does_nothing_else(void **state)
{
    cronq_queue_info info = { .struct_size = sizeof info };
    cronq_inspector *inspector;
    cronq_error err = { 0 };
    size_t count;
    char **names;

    (void)state;
    must(cronq_inspector_new(uri_of("cronq-operator"), NULL, &inspector, &err), &err);
    must(cronq_inspector_queues(inspector, &names, &count, &err), &err);
    assert_true(count >= 1);
    free(names);
    must(cronq_inspector_queue_info(inspector, "q", &info, &err), &err);
    must(cronq_inspector_pause(inspector, "q", &err), &err);
    must(cronq_inspector_resume(inspector, "q", &err), &err);
    cronq_inspector_free(inspector);
    acl_expect_nothing_refused(server);
    expect_refused("cronq-operator", never);
}

typedef struct advice_log {
    char text[8192];
    size_t len;
} advice_log;

static void note(const cronq_advice *advice, void *arg)
{
    advice_log *log = arg;

    log->len += (size_t)snprintf(log->text + log->len, sizeof log->text - log->len,
                                 "%s: %s\n", advice->kind, advice->text);
}

static void diagnose(const char *user, advice_log *log)
{
    cronq_inspector *inspector;
    cronq_error err = { 0 };

    log->len = 0;
    log->text[0] = '\0';
    must(cronq_inspector_new(uri_of(user), NULL, &inspector, &err), &err);
    must(cronq_inspector_diagnose(inspector, note, log, &err), &err);
    cronq_inspector_free(inspector);
}

static void expect_advice(const advice_log *log, const char *text, bool expected)
{
    if ((strstr(log->text, text) != NULL) != expected)
        fail_msg("\"%s\" is %sin: %s", text, expected ? "not " : "", log->text);
}

static void the_doctor_names_what_is_wrong_and_nothing_else(void **state)
{
    advice_log log;

    (void)state;
    redis_server_do(server, "CONFIG SET appendonly yes");
    diagnose("cronq-operator", &log);
    assert_string_equal(log.text, "");
    redis_server_do(server, "CONFIG SET appendonly no");
    redis_server_do(server, "CONFIG SET maxmemory-policy allkeys-lru");
    redis_server_do(server, "ACL SETUSER cronq-operator -rpop -client|tracking");
    diagnose("cronq-operator", &log);
    expect_advice(&log, "eviction: maxmemory-policy is allkeys-lru", true);
    expect_advice(&log, "persistence: appendonly is no", true);
    expect_advice(&log, "could not \"rpop asynq:{cronq-doctor}:x\"", true);
    expect_advice(&log, "could not \"lpush", false);
    expect_advice(&log, "wake-ups: ", true);
    expect_advice(&log, PASSWORD, false);
    redis_server_do(server, "ACL SETUSER cronq-operator +rpop +client|tracking");
    redis_server_do(server, "CONFIG SET maxmemory-policy noeviction");
    redis_server_do(server, "ACL SETUSER cronq-worker -info");
    diagnose("cronq-worker", &log);
    expect_advice(&log, "permission: INFO memory is refused", true);
    expect_advice(&log, "could not", false);
    redis_server_do(server, "ACL SETUSER cronq-worker +info");
    redis_server_do(server, "ACL LOG RESET");
}

static void must_be_named(const char *command, bool of_worker)
{
    char text[64];
    advice_log log;

    if (!of_worker)
        return;
    redis_server_do(server, "ACL SETUSER cronq-worker -%s", command);
    diagnose("cronq-worker", &log);
    redis_server_do(server, "ACL SETUSER cronq-worker +%s", command);
    snprintf(text, sizeof text, "could not \"%s ", command);
    expect_advice(&log, text, true);
}

static void the_doctor_names_each_command_that_is_missing(void **state)
{
    (void)state;
    each_command(must_be_named);
    redis_server_do(server, "ACL LOG RESET");
}

static void a_password_file_is_read_again(void **state)
{
    char path[] = "/tmp/cronq-secret-XXXXXX", uri[64];
    int fd = mkstemp(path);
    const cronq_store_options *store =
        CRONQ_STORE_OPTIONS(.username = "cronq-producer", .password_file = path,
                            .pool_size = 1);
    cronq_client *client;
    cronq_error err = { 0 };

    (void)state;
    assert_true(fd >= 0);
    dprintf(fd, "old-%s\n", PASSWORD);
    snprintf(uri, sizeof uri, "redis://127.0.0.1:%u", redis_server_port(server));
    must(cronq_client_new(uri, CRONQ_CLIENT_OPTIONS(.store = store), &client, &err),
         &err);
    assert_int_equal(cronq_client_ping(client, &err), CRONQ_EAUTH);
    assert_null(strstr(err.text, PASSWORD));
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, PASSWORD "\n", sizeof PASSWORD, 0), sizeof PASSWORD);
    for (int i = 0; i < 500 && cronq_client_ping(client, &err); i++)
        cq_sleep_ms(10);
    must(cronq_client_ping(client, &err), &err);
    unlink(path);
    assert_int_equal(close(fd), 0);
    cronq_client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_producer_pushes_and_does_nothing_else),
        cmocka_unit_test(a_worker_works_and_does_nothing_else),
        cmocka_unit_test(the_rules_allow_all_that_scripts_call),
        cmocka_unit_test(an_operator_looks_and_does_nothing_else),
        cmocka_unit_test(the_doctor_names_what_is_wrong_and_nothing_else),
        cmocka_unit_test(the_doctor_names_each_command_that_is_missing),
        cmocka_unit_test(a_password_file_is_read_again),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
