/* SPDX-License-Identifier: MIT */
/* contain_test.c - commands that do not want to end: nothing of them is left.
 *
 * Each test marks its processes by an argument, SLEEP_SECONDS and its own number, by
 * which they are found. The fork bomb runs as a user who has nothing else to run, with a
 * limit of its processes; without root it is left out, and the test says so. */
#include "handlers/process.h"

#include "base/clock.h"
#include "base/thread.h"
#include "handlers/cgroup.h"

#include <cronq/handlers.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 20000
#define BOMB_UID    64917 /* nobody's */
#define MAX_TASKS   30

static const char *const environment[] = { "PATH=/usr/bin:/bin", NULL };

static cq_process_request shell(const char *const argv[4])
{
    return (cq_process_request){ .path = "/bin/sh",
                                 .argv = argv,
                                 .env = environment,
                                 .cancel_fd = -1,
                                 .grace_ms = 300 };
}

#define SHELL(script) shell((const char *const[]){ "sh", "-c", script, NULL })

static void run(const cq_process_request *request, cq_process_result *result)
{
    cronq_error err = { 0 };

    if (cq_process_run(request, result, &err) != CRONQ_OK)
        fail_msg("%s", err.text);
}

static bool lives(const char *command_line)
{
    char command[200];

    snprintf(command, sizeof command, "pgrep -f '^%s$' >/dev/null", command_line);
    return system(command) == 0;
}

/* It is dead by now, or nearly: the kernel may take a moment to clear it away. */
static void expect_dead(const char *command_line)
{
    assert_false(lives(command_line));
}

static void await_start(const char *command_line)
{
    int64_t until_ms = cq_mono_ms() + PATIENCE_MS;

    while (!lives(command_line) && cq_mono_ms() < until_ms)
        cq_sleep_ms(10);
    assert_true(lives(command_line));
}

static bool is_childless(void)
{
    return waitpid(-1, NULL, WNOHANG) < 0;
}

static void what_moved_to_other_sessions_is_killed_at_the_end(void **state)
{
    cq_process_request request =
        SHELL("(setsid sh -c 'setsid sleep 48101 & sleep 48101' &) ; "
              "until [ $(pgrep -cf '^sleep 48101$') -ge 2 ]; do sleep 0.05; done; "
              "echo out");
    cq_process_result result;

    (void)state;
    run(&request, &result);
    assert_int_equal(result.end, CQ_PROCESS_EXITED);
    assert_int_equal(result.code, 0);
    assert_false(result.has_survivors);
    expect_dead("sleep 48101");
    assert_true(is_childless());
    cq_process_result_release(&result);
}

/* All of them ignore SIGTERM, in three sessions, and are gone after the grace. */
static void who_ignores_sigterm_is_killed_wherever_it_went(void **state)
{
    cq_process_request request =
        SHELL("trap '' TERM; (setsid sh -c \"trap '' TERM; setsid sleep 48102 & sleep "
              "48102\" &); sleep 48102");
    cq_process_result result;
    int64_t start_ms = cq_mono_ms();

    (void)state;
    request.timeout_ms = 500;
    run(&request, &result);
    assert_int_equal(result.stop, CQ_PROCESS_TIMED_OUT);
    assert_int_equal(result.signal, SIGKILL);
    assert_true(cq_mono_ms() - start_ms >= 750);
    expect_dead("sleep 48102");
    cq_process_result_release(&result);
}

/* Who left the group hears of the end, too, and may clean up. */
static void sigterm_reaches_other_sessions(void **state)
{
    char dir[] = "/tmp/cronq-contain-XXXXXX", script[400], path[100];
    cq_process_request request;
    cq_process_result result;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/told", dir);
    snprintf(script, sizeof script,
             "setsid sh -c \"trap 'echo told >%s; exit' TERM; while :; do sleep 0.05; "
             "done\" & trap : TERM; wait; sleep 1",
             path);
    request = SHELL(script);
    request.timeout_ms = 1000;
    request.grace_ms = 5000;
    run(&request, &result);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    rmdir(dir);
    cq_process_result_release(&result);
}

static void zombies_are_buried(void **state)
{
    cq_process_request request =
        SHELL("i=0; while [ $i -lt 300 ]; do (true &) ; i=$((i + 1)); done; "
              "exec sh -c 'sleep 48103 & for i in 1 2 3 4 5; do true & done; exit 5'");
    cq_process_result result;

    (void)state;
    run(&request, &result);
    assert_int_equal(result.code, 5);
    expect_dead("sleep 48103");
    assert_true(is_childless());
    cq_process_result_release(&result);
}

static int64_t peak_kib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void output_without_end_costs_no_memory(void **state)
{
    /* 200 MB, and with CRONQ_FULL a gigabyte. */
    cq_process_request request =
        getenv("CRONQ_FULL")
            ? SHELL(
                  "head -c 1000000000 /dev/zero & head -c 1000000000 /dev/urandom >&2 & "
                  "wait %1; kill %2; echo end")
            : SHELL("head -c 200000000 /dev/zero & head -c 200000000 /dev/urandom >&2 & "
                    "wait %1; kill %2; echo end");
    cq_process_result result;
    int64_t before = peak_kib();

    (void)state;
    request.output_bytes = 1000;
    run(&request, &result);
    assert_int_equal(result.code, 0);
    assert_int_equal(result.output.len, 1000);
    assert_true(result.output_is_cut);
    assert_true(peak_kib() - before < 4096);
    cq_process_result_release(&result);
}

static void any_bytes_come_back_as_they_are(void **state)
{
    cq_process_request request =
        SHELL("printf '\\000\\377\\001\\n\\r\\033[2J'; printf '\\000\\377bad\\033' >&2");
    cq_process_result result;

    (void)state;
    run(&request, &result);
    assert_int_equal(result.output.len, 9);
    assert_memory_equal(result.output.data, "\0\377\1\n\r\033[2J", 9);
    assert_string_equal(result.error_line, "\377bad\033");
    cq_process_result_release(&result);
}

static void output_may_be_closed_while_it_runs_on(void **state)
{
    cq_process_request request = SHELL("exec >&- 2>&- <&-; sleep 0.3; exit 7");
    cq_process_result result;
    struct rusage before, after;

    (void)state;
    getrusage(RUSAGE_SELF, &before);
    run(&request, &result);
    getrusage(RUSAGE_SELF, &after);
    assert_int_equal(result.code, 7);
    /* Waiting for its end is no loop. */
    assert_true(after.ru_nvcsw - before.ru_nvcsw < 100);
    cq_process_result_release(&result);
}

static void death_of_the_worker_is_the_death_of_all(void **state)
{
    cq_process_request request =
        SHELL("(setsid sh -c \"trap '' TERM; sleep 48104\" &); exec sleep 48104");
    cq_process_result result;
    pid_t worker = fork();
    int64_t until_ms = cq_mono_ms() + PATIENCE_MS;

    (void)state;
    if (worker == 0) {
        run(&request, &result);
        _exit(0);
    }
    await_start("sleep 48104");
    kill(worker, SIGKILL);
    assert_int_equal(waitpid(worker, NULL, 0), worker);
    while (lives("sleep 48104") && cq_mono_ms() < until_ms)
        cq_sleep_ms(10);
    expect_dead("sleep 48104");
}

static void *run_in_thread(void *arg)
{
    cq_process_result *result = arg;
    cq_process_request request = SHELL("exec sleep 48105");

    run(&request, result);
    return NULL;
}

static void death_of_the_keeper_ends_the_command(void **state)
{
    cq_process_result result;
    pthread_t thread;
    char command[100];

    (void)state;
    assert_int_equal(cq_thread_start(&thread, "run", run_in_thread, &result, NULL), 0);
    await_start("sleep 48105");
    snprintf(command, sizeof command, "pkill -KILL -x -P %ld cronq-keeper",
             (long)getpid());
    assert_int_equal(system(command), 0);
    pthread_join(thread, NULL);
    assert_int_equal(result.end, CQ_PROCESS_LOST);
    for (int i = 0; i < 1000 && lives("sleep 48105"); i++)
        cq_sleep_ms(10);
    expect_dead("sleep 48105");
    cq_process_result_release(&result);
}

static cq_process_user nobody(void)
{
    return (cq_process_user){ .is_set = true, .uid = BOMB_UID, .gid = BOMB_UID };
}

static bool is_root(const char *what)
{
    if (geteuid() == 0)
        return true;
    print_message("%s: not without root\n", what);
    return false;
}

static void a_fork_bomb_is_bounded_and_ends(void **state)
{
    cq_process_request request =
        SHELL("bomb() { bomb 48106 | bomb 48106 & }; bomb 48106; sleep 48106");
    cq_process_result result;
    int64_t start_ms = cq_mono_ms();
    char command[100];

    (void)state;
    if (!is_root("a fork bomb"))
        return;
    request.user = nobody();
    request.limits.processes = MAX_TASKS;
    request.timeout_ms = 1500;
    run(&request, &result);
    assert_false(result.has_survivors);
    assert_true(cq_mono_ms() - start_ms < PATIENCE_MS);
    snprintf(command, sizeof command, "pgrep -u %d >/dev/null", BOMB_UID);
    assert_int_not_equal(system(command), 0);
    assert_true(is_childless());
    cq_process_result_release(&result);
}

static void the_user_is_the_one_that_was_asked_for(void **state)
{
    static const gid_t groups[] = { 64918, 64919 };
    cq_process_request request = SHELL("id -u; id -g; id -G; umask; "
                                       "grep -c '^NoNewPrivs:.1' /proc/self/status; "
                                       "ulimit -c");
    cq_process_result result;

    (void)state;
    if (!is_root("another user"))
        return;
    request.user = nobody();
    request.user.groups = groups;
    request.user.group_count = 2;
    run(&request, &result);
    cq_buf_append_char(&result.output, '\0');
    assert_string_equal(cq_buf_text(&result.output),
                        "64917\n64917\n64917 64918 64919\n0077\n1\n0\n");
    cq_process_result_release(&result);
}

static void limits_hold(void **state)
{
    static const struct {
        const char *script;
        cq_process_limits limits;
        int code, signal;
    } rows[] = {
        { "ulimit -n | grep -qx 20", { .open_files = 20 }, 0, 0 },
        { "exec tail /dev/zero", { .memory_bytes = 64 << 20 }, 1, 0 },
        { "while :; do :; done", { .cpu_s = 1 }, 0, SIGXCPU },
        { "exec head -c 100000 /dev/zero >$0", { .file_bytes = 1000 }, 0, SIGXFSZ },
    };
    char dir[] = "/tmp/cronq-contain-XXXXXX", path[100];

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/file", dir);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const argv[] = { "sh", "-c", rows[i].script, path, NULL };
        cq_process_request request = shell(argv);
        cq_process_result result;

        request.limits = rows[i].limits;
        request.timeout_ms = PATIENCE_MS;
        run(&request, &result);
        assert_int_equal(result.stop, CQ_PROCESS_NOT_STOPPED);
        assert_int_equal(result.signal, rows[i].signal);
        assert_int_equal(result.code, rows[i].code);
        cq_process_result_release(&result);
    }
    unlink(path);
    rmdir(dir);
}

/* Whoever started the worker allows it no more CPU time than this, so nor does a command
 * get more. In a process of its own: a hard limit does not come back. */
static void a_stricter_limit_of_cpu_time_stays(void **state)
{
    const struct rlimit strict = { 1000, 1000 };
    cq_process_request request = SHELL("ulimit -Ht | grep -qx 1000");
    cq_process_result result;
    int status;
    pid_t child = fork();

    (void)state;
    assert_true(child >= 0);
    if (child == 0) {
        request.limits = (cq_process_limits){ .cpu_s = 2000 };
        if (setrlimit(RLIMIT_CPU, &strict) != 0 ||
            cq_process_run(&request, &result, NULL) != CRONQ_OK)
            _exit(2);
        _exit(result.end == CQ_PROCESS_EXITED ? result.code : 3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Where a hierarchy of version 2 is ours; NULL: nowhere. */
static const char *cgroup_root(void)
{
    static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
    cq_cgroup cgroup;

    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++)
        if (cq_cgroup_check(roots[i], &cgroup, NULL) == CRONQ_OK)
            return roots[i];
    return NULL;
}

static void a_cgroup_takes_them_all(void **state)
{
    cq_process_request request =
        SHELL("grep -o 'command-[0-9-]*$' /proc/self/cgroup; (setsid sleep 48107 &); "
              "exit 3");
    char base[200], path[CQ_CGROUP_PATH_BYTES];
    const char *root = cgroup_root();
    cq_process_result result;
    cq_cgroup cgroup;
    cronq_error err;

    (void)state;
    if (!root) {
        print_message("cgroup.kill, memory.max, pids.max: no cgroup2 is ours here\n");
        return;
    }
    snprintf(base, sizeof base, "%s/cronq-test-%ld", root, (long)getpid());
    assert_int_equal(mkdir(base, S_IRWXU), 0);
    assert_int_equal(cq_cgroup_check(base, &cgroup, &err), CRONQ_OK);
    if (!cgroup.has_memory || !cgroup.has_pids)
        print_message("%s%s%s: not delegated here, only cgroup.kill is tried\n",
                      cgroup.has_memory ? "" : "memory.max ",
                      cgroup.has_pids ? "" : "pids.max ", base);
    assert_int_equal(cq_cgroup_make(&cgroup, 64 << 20, 20, path, &err), CRONQ_OK);
    request.cgroup = path;
    run(&request, &result);
    assert_int_equal(result.code, 3);
    assert_non_null(strstr(cq_buf_text(&result.output), strrchr(path, '/') + 1));
    expect_dead("sleep 48107");
    assert_true(cq_cgroup_remove(path));
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(rmdir(base), 0);
    cq_process_result_release(&result);
}

static void what_is_no_cgroup_is_refused(void **state)
{
    cq_cgroup cgroup;
    cronq_error err;

    (void)state;
    assert_int_equal(cq_cgroup_check("/tmp", &cgroup, &err), CRONQ_EINVAL);
    assert_non_null(strstr(err.text, "/tmp is not a cgroup2 directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_moved_to_other_sessions_is_killed_at_the_end),
        cmocka_unit_test(who_ignores_sigterm_is_killed_wherever_it_went),
        cmocka_unit_test(sigterm_reaches_other_sessions),
        cmocka_unit_test(zombies_are_buried),
        cmocka_unit_test(output_without_end_costs_no_memory),
        cmocka_unit_test(any_bytes_come_back_as_they_are),
        cmocka_unit_test(output_may_be_closed_while_it_runs_on),
        cmocka_unit_test(death_of_the_worker_is_the_death_of_all),
        cmocka_unit_test(death_of_the_keeper_ends_the_command),
        cmocka_unit_test(a_fork_bomb_is_bounded_and_ends),
        cmocka_unit_test(the_user_is_the_one_that_was_asked_for),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_stricter_limit_of_cpu_time_stays),
        cmocka_unit_test(a_cgroup_takes_them_all),
        cmocka_unit_test(what_is_no_cgroup_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
