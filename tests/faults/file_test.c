/* SPDX-License-Identifier: MIT */
/* faults/file_test.c - what can happen to the file of an embedded store: full disks, I/O
 * errors, locks, lost and broken files. Each ends with the checker. */
#include "faults/faulty_vfs.h"
#include "faults/ledger.h"

#include "base/clock.h"
#include "support/scratch.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct world {
    ledger *ledger;
    char folder[SCRATCH_ROOM], path[128], reserve[160], uri[192];
    cq_broker *broker;
    ledger_worker *worker;
} world;

static void open_world(world *w)
{
    w->broker = ledger_open(w->uri, 300);
    ledger_worker_init(w->worker, w->broker, 7);
}

static void close_world(world *w)
{
    ledger_worker_release(w->worker);
    w->broker->ops->free(w->broker);
}

static int set_up(void **state)
{
    world *w = calloc(1, sizeof *w);

    w->worker = calloc(1, sizeof *w->worker);
    w->ledger = ledger_new();
    snprintf(w->path, sizeof w->path, "%s/cronq.db", scratch_new(w->folder));
    snprintf(w->reserve, sizeof w->reserve, "%s-reserve", w->path);
    snprintf(w->uri, sizeof w->uri, "sqlite:%s?vfs=" FAULTY_VFS, w->path);
    faulty_set(FAULTY_NONE, 0, false, NULL);
    open_world(w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;

    faulty_set(FAULTY_NONE, 0, false, NULL);
    close_world(w);
    scratch_remove(w->folder);
    ledger_free(w->ledger);
    free(w->worker);
    free(w);
    return 0;
}

static void push(world *w, size_t count)
{
    cronq_error err = { 0 };

    if (ledger_push(w->ledger, w->broker, count, &err))
        fail_msg("push: %s", err.text);
}

static void exchange(world *w, uint32_t budget)
{
    cronq_error err = { 0 };

    if (ledger_exchange(w->ledger, w->worker, budget, &err))
        fail_msg("exchange: %s", err.text);
}

/* All kinds of work; whatever fails is left. */
static void work_a_little(world *w)
{
    ledger_push(w->ledger, w->broker, 20, NULL);
    ledger_exchange(w->ledger, w->worker, 10, NULL);
    ledger_exchange(w->ledger, w->worker, 10, NULL);
    ledger_push(w->ledger, w->broker, 5, NULL);
    ledger_exchange(w->ledger, w->worker, 5, NULL);
    ledger_recover(w->ledger, w->broker, NULL);
}

/* Let the n-th operation fail, for each n until none does. */
static void sweep(void **state, faulty_kind kind, bool all_later)
{
    world *w = *state;
    int n = 1, failures = 1;

    push(w, 20);
    for (; failures > 0 && n < 400; n++) {
        char when[64];

        close_world(w);
        open_world(w);
        faulty_set(kind, n, all_later, NULL);
        work_a_little(w);
        failures = faulty_failures();
        faulty_set(FAULTY_NONE, 0, false, NULL);
        snprintf(when, sizeof when, "operation %d failed", n);
        close_world(w);
        ledger_check(w->ledger, w->path, when);
        open_world(w);
        push(w, 1);
        exchange(w, 100);
        exchange(w, 0);
    }
    print_message("swept %d\n", n - 1);
    assert_in_range(n, 5, 399);
    ledger_check(w->ledger, w->path, "at the end");
}

static void a_write_that_fails_loses_nothing(void **state)
{
    sweep(state, FAULTY_WRITE, false);
}

static void writes_that_fail_from_then_on_lose_nothing(void **state)
{
    sweep(state, FAULTY_WRITE, true);
}

static void a_sync_that_fails_loses_nothing(void **state)
{
    sweep(state, FAULTY_SYNC, false);
}

static void a_read_that_fails_loses_nothing(void **state)
{
    sweep(state, FAULTY_READ, false);
}

static void a_disk_that_is_full_for_a_moment_loses_nothing(void **state)
{
    sweep(state, FAULTY_FULL, false);
}

static void a_disk_that_is_full_from_then_on_loses_nothing(void **state)
{
    sweep(state, FAULTY_FULL, true);
}

static void a_full_disk_refuses_pushes_but_not_outcomes(void **state)
{
    world *w = *state;
    cronq_error err = { 0 };
    cronq_status status = CRONQ_OK;

    push(w, 200);
    exchange(w, 100);
    faulty_set(FAULTY_GROWTH, 1, true, w->reserve);
    for (int i = 0; i < 200 && !status; i++)
        status = ledger_push(w->ledger, w->broker, 50, &err);
    assert_int_equal(status, CRONQ_EFULL);
    for (int i = 0; i < 100; i++)
        exchange(w, 100);
    exchange(w, 0);
    faulty_set(FAULTY_NONE, 0, false, NULL);
    push(w, 50);
    ledger_check(w->ledger, w->path, "after a full disk");
}

/* In a child, where an assertion would only jump back into the parent's loop of tests. */
static void child_needs(bool true_there, const char *what, const cronq_error *err)
{
    if (true_there)
        return;
    fprintf(stderr, "%s: %s\n", what, err->text);
    _exit(1);
}

/* The same on a file system that is really full; as root only. */
static void on_a_small_disk(world *w)
{
    char folder[] = "/tmp/cronq-small-XXXXXX", path[64], uri[96];
    cronq_error err = { 0 };
    cronq_status status = CRONQ_OK;
    ledger_worker worker;
    cq_broker *broker;

    if (!mkdtemp(folder) || unshare(CLONE_NEWNS) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", folder, "tmpfs", 0, "size=12m") < 0)
        _exit(77);
    snprintf(path, sizeof path, "%s/cronq.db", folder);
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    broker = ledger_open(uri, 1000);
    ledger_worker_init(&worker, broker, 7);
    for (int i = 0; i < 10000 && !status; i++)
        status = ledger_push(w->ledger, broker, 100, &err);
    child_needs(status == CRONQ_EFULL, "the disk is full", &err);
    for (int i = 0; i < 500 && (i < 10 || worker.count > 100); i++)
        child_needs(!ledger_exchange(w->ledger, &worker, 200, &err), "exchange", &err);
    child_needs(!ledger_exchange(w->ledger, &worker, 0, &err), "last exchange", &err);
    child_needs(!ledger_push(w->ledger, broker, 100, &err), "space again", &err);
    ledger_worker_release(&worker);
    broker->ops->free(broker);
    ledger_check(w->ledger, path, "on a small disk");
    umount(folder);
    _exit(0);
}

static void a_small_disk_is_filled_and_emptied(void **state)
{
    int code;
    pid_t pid = fork();

    if (pid == 0)
        on_a_small_disk(*state);
    waitpid(pid, &code, 0);
    if (WIFEXITED(code) && WEXITSTATUS(code) == 77)
        skip();
    assert_true(WIFEXITED(code) && WEXITSTATUS(code) == 0);
}

static void a_lock_of_another_process_is_waited_for_and_then_reported(void **state)
{
    world *w = *state;
    cronq_error err = { 0 };
    int64_t began_ns;
    sqlite3 *other;

    push(w, 1);
    assert_int_equal(sqlite3_open(w->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    began_ns = cq_mono_ns();
    assert_int_equal(ledger_push(w->ledger, w->broker, 1, &err), CRONQ_EIO);
    assert_in_range((cq_mono_ns() - began_ns) / CQ_NS_PER_MS, 290, 3000);
    assert_non_null(strstr(err.text, "another process has locked the database"));
    assert_int_equal(ledger_exchange(w->ledger, w->worker, 10, NULL), CRONQ_EIO);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    push(w, 1);
    exchange(w, 10);
    assert_int_equal(w->worker->count, 2);
}

static void in_a_directory_that_can_not_be_written_there_is_an_error(void **state)
{
    world *w = *state;
    char uri[128];
    int code;
    pid_t pid;

    snprintf(uri, sizeof uri, "sqlite:%s/other.db", w->folder);
    assert_int_equal(chmod(w->folder, 0555), 0);
    pid = fork();
    if (pid == 0) {
        cronq_error err = { 0 };
        cq_broker *broker;

        if (geteuid() == 0 && setuid(65534) < 0)
            _exit(1);
        broker = ledger_open(uri, 300);
        _exit(broker->ops->ping(broker, &err) == CRONQ_EIO && strstr(err.text, "other.db")
                  ? 0
                  : 2);
    }
    waitpid(pid, &code, 0);
    assert_int_equal(chmod(w->folder, 0755), 0);
    assert_int_equal(code, 0);
}

static void a_missing_directory_is_an_error(void **state)
{
    cq_broker *broker = ledger_open("sqlite:/nonexistent/a/cronq.db", 300);
    cronq_error err = { 0 };

    (void)state;
    assert_int_equal(broker->ops->ping(broker, &err), CRONQ_EIO);
    assert_non_null(strstr(err.text, "/nonexistent/a/cronq.db"));
    broker->ops->free(broker);
}

static void overwrite(const char *path, off_t at, size_t len)
{
    char *junk = malloc(len);
    int fd = open(path, O_WRONLY);

    memset(junk, 0x5a, len);
    assert_true(fd >= 0 && pwrite(fd, junk, len, at) == (ssize_t)len);
    close(fd);
    free(junk);
}

static void broken_pages_are_an_error_and_no_crash(void **state)
{
    world *w = *state;
    cronq_error err = { 0 };
    cronq_status status = CRONQ_OK;
    struct stat st;

    push(w, 500);
    close_world(w);
    assert_int_equal(stat(w->path, &st), 0);
    overwrite(w->path, 4096, (size_t)st.st_size - 4096);
    open_world(w);
    for (int i = 0; i < 3 && !status; i++)
        status = ledger_exchange(w->ledger, w->worker, 100, &err);
    assert_int_equal(status, CRONQ_EPROTO);
    assert_non_null(strstr(err.text, "malformed"));
    assert_int_not_equal(ledger_push(w->ledger, w->broker, 1, NULL), CRONQ_OK);
}

static void what_is_no_database_is_an_error_and_stays_as_it_is(void **state)
{
    world *w = *state;
    cronq_error err = { 0 };
    cq_broker *broker;
    char path[128], uri[160], text[16] = "";
    int fd;

    snprintf(path, sizeof path, "%s/notes.txt", w->folder);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(fd,
                           "my notes, not yours, of more than a header's length, "
                           "and then some, until it is more than a hundred bytes",
                           105),
                     105);
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    broker = ledger_open(uri, 300);
    assert_int_equal(broker->ops->ping(broker, &err), CRONQ_EPROTO);
    assert_non_null(strstr(err.text, "not a database"));
    broker->ops->free(broker);
    assert_int_equal(pread(fd, text, 8, 0), 8);
    assert_string_equal(text, "my notes");
    close(fd);
}

static void remove_suffixed(const world *w, const char *suffix)
{
    char name[160];

    snprintf(name, sizeof name, "%s%s", w->path, suffix);
    assert_int_equal(unlink(name), 0);
}

static void files_deleted_under_a_worker_are_noticed(void **state)
{
    static const char *const suffixes[] = { "-wal", "-shm" };
    world *w = *state;
    cronq_error err = { 0 };

    for (size_t i = 0; i < 2; i++) {
        push(w, 1);
        remove_suffixed(w, suffixes[i]);
        memset(&err, 0, sizeof err);
        assert_int_equal(ledger_push(w->ledger, w->broker, 1, &err), CRONQ_EIO);
        assert_non_null(strstr(err.text, "was deleted or replaced"));
        push(w, 1);
    }
    remove_suffixed(w, "");
    memset(&err, 0, sizeof err);
    assert_int_equal(ledger_push(w->ledger, w->broker, 1, &err), CRONQ_EIO);
    assert_non_null(strstr(err.text, "was deleted or replaced"));
    /* What was there is gone; nothing is made in its place. */
    assert_int_equal(ledger_push(w->ledger, w->broker, 1, &err), CRONQ_EIO);
    assert_int_equal(access(w->path, F_OK), -1);
}

static void a_store_without_its_log_is_what_it_was_before(void **state)
{
    world *w = *state;
    cronq_error err = { 0 };
    int code;
    pid_t pid;

    push(w, 100);
    close_world(w); /* all of it is in the database now */
    pid = fork();
    if (pid == 0) {
        open_world(w);
        ledger_exchange(w->ledger, w->worker, 10, NULL);
        raise(SIGKILL);
    }
    waitpid(pid, &code, 0);
    remove_suffixed(w, "-wal");
    remove_suffixed(w, "-shm");
    open_world(w);
    if (ledger_exchange(w->ledger, w->worker, 200, &err))
        fail_msg("%s", err.text);
    assert_int_equal(w->worker->count, 100);
    for (int i = 0; i < 100; i++) /* that some were taken before is what was lost */
        atomic_store(&w->ledger->causes[i], 1);
    ledger_check(w->ledger, w->path, "without its log");
}

static void a_forked_process_must_open_the_store_anew(void **state)
{
    world *w = *state;
    int code;
    pid_t pid;

    push(w, 1);
    pid = fork();
    if (pid == 0) {
        bool refused = ledger_push(w->ledger, w->broker, 1, NULL) == CRONQ_ESTATE;

        w->broker->ops->free(w->broker);
        w->broker = ledger_open(w->uri, 300);
        _exit(refused && !ledger_push(w->ledger, w->broker, 1, NULL) ? 0 : 1);
    }
    waitpid(pid, &code, 0);
    assert_int_equal(code, 0);
    push(w, 1);
    exchange(w, 10);
    assert_int_equal(w->worker->count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define FAULT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        FAULT(a_write_that_fails_loses_nothing),
        FAULT(writes_that_fail_from_then_on_lose_nothing),
        FAULT(a_sync_that_fails_loses_nothing),
        FAULT(a_read_that_fails_loses_nothing),
        FAULT(a_disk_that_is_full_for_a_moment_loses_nothing),
        FAULT(a_disk_that_is_full_from_then_on_loses_nothing),
        FAULT(a_full_disk_refuses_pushes_but_not_outcomes),
        FAULT(a_small_disk_is_filled_and_emptied),
        FAULT(a_lock_of_another_process_is_waited_for_and_then_reported),
        FAULT(in_a_directory_that_can_not_be_written_there_is_an_error),
        FAULT(a_missing_directory_is_an_error),
        FAULT(broken_pages_are_an_error_and_no_crash),
        FAULT(what_is_no_database_is_an_error_and_stays_as_it_is),
        FAULT(files_deleted_under_a_worker_are_noticed),
        FAULT(a_store_without_its_log_is_what_it_was_before),
        FAULT(a_forked_process_must_open_the_store_anew),
#undef FAULT
    };

    faulty_register();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
