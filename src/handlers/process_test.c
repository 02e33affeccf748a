/* SPDX-License-Identifier: MIT */
/* process_test.c - programs that end, fail, hang, talk too much and leave children. */
#include "handlers/process.h"

#include "base/clock.h"
#include "base/thread.h"
#include "support/patience.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS(rows) (sizeof(rows) / sizeof(rows)[0])

static const char *const environment[] = { "PATH=/usr/bin:/bin", "A=b", NULL };

/* sh -c script, with nothing else set. */
static cq_process_request shell(const char *const argv[4])
{
    return (cq_process_request){ .path = "/bin/sh",
                                 .argv = argv,
                                 .env = environment,
                                 .cancel_fd = -1,
                                 .grace_ms = 2000 };
}

#define SHELL(script) shell((const char *const[]){ "sh", "-c", script, NULL })

static void run(const cq_process_request *request, cq_process_result *result)
{
    cronq_error err = { 0 };

    if (cq_process_run(request, result, &err) != CRONQ_OK)
        fail_msg("%s", err.text);
}

static bool output_is(const cq_process_result *result, const char *text)
{
    return cq_str_eq(cq_buf_str(&result->output), cq_str_of(text));
}

static size_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void ends_are_told_apart(void **state)
{
    static const struct {
        const char *script;
        cq_process_end end;
        int number;
        const char *output, *line;
    } rows[] = {
        { "echo out; echo err >&2", CQ_PROCESS_EXITED, 0, "out\n", "err" },
        { "exit 65", CQ_PROCESS_EXITED, 65, "", "" },
        { "printf 'one\\ntwo \\n\\n \\n' >&2; exit 3", CQ_PROCESS_EXITED, 3, "", "two" },
        { "printf 'no newline' >&2; exit 3", CQ_PROCESS_EXITED, 3, "", "no newline" },
        { "kill -SEGV $$", CQ_PROCESS_SIGNALED, SIGSEGV, "", "" },
        { "kill -KILL $$", CQ_PROCESS_SIGNALED, SIGKILL, "", "" },
        { "echo $A-$HOME", CQ_PROCESS_EXITED, 0, "b-\n", "" },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        cq_process_request request = SHELL(rows[i].script);
        cq_process_result result;

        run(&request, &result);
        assert_int_equal(result.end, rows[i].end);
        assert_int_equal(result.end == CQ_PROCESS_EXITED ? result.code : result.signal,
                         rows[i].number);
        assert_true(output_is(&result, rows[i].output));
        assert_string_equal(result.error_line, rows[i].line);
        assert_int_equal(result.stop, CQ_PROCESS_NOT_STOPPED);
        cq_process_result_release(&result);
    }
}

static void input_of_any_size_comes_back(void **state)
{
    static char data[50000];
    cq_process_request request = SHELL("cat");
    cq_process_result result;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 7);
    request.input = (cronq_bytes){ data, sizeof data };
    run(&request, &result);
    assert_int_equal(result.output.len, sizeof data);
    assert_memory_equal(result.output.data, data, sizeof data);
    assert_false(result.output_is_cut);
    cq_process_result_release(&result);
}

static void program_that_does_not_read_is_fine(void **state)
{
    static char data[1 << 20];
    cq_process_request request = SHELL("exec <&-; echo done");
    cq_process_result result;
    sigset_t pending;

    (void)state;
    request.input = (cronq_bytes){ data, sizeof data };
    run(&request, &result);
    assert_int_equal(result.end, CQ_PROCESS_EXITED);
    assert_true(output_is(&result, "done\n"));
    sigpending(&pending);
    assert_false(sigismember(&pending, SIGPIPE));
    cq_process_result_release(&result);
}

static void output_is_cut_but_drained(void **state)
{
    cq_process_request request =
        SHELL("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo; "
              "echo last >&2");
    cq_process_result result;

    (void)state;
    run(&request, &result);
    assert_int_equal(result.code, 0);
    assert_int_equal(result.output.len, CQ_PROCESS_OUTPUT_BYTES);
    assert_true(result.output_is_cut);
    cq_process_result_release(&result);
}

static void long_error_line_is_cut_at_its_start(void **state)
{
    cq_process_request request =
        SHELL("head -c 10000 /dev/zero | tr '\\0' x >&2; echo end >&2");
    cq_process_result result;

    (void)state;
    run(&request, &result);
    assert_int_equal(strlen(result.error_line), CQ_PROCESS_LINE_BYTES - 1);
    assert_string_equal(result.error_line + CQ_PROCESS_LINE_BYTES - 1 - 4, "xend");
    cq_process_result_release(&result);
}

static void time_over_is_sigterm_then_sigkill(void **state)
{
    static const struct {
        const char *script;
        int signal;
        int64_t least_ms, most_ms;
    } rows[] = {
        { "sleep 30", SIGTERM, 100, 2000 },
        { "trap '' TERM; while :; do sleep 30; done", SIGKILL, 400, 3000 },
        { "kill -STOP $$", SIGTERM, 100, 2000 },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        cq_process_request request = SHELL(rows[i].script);
        cq_process_result result;
        int64_t start_ms = cq_mono_ms(), took_ms;

        request.timeout_ms = 100;
        request.grace_ms = 300;
        run(&request, &result);
        took_ms = cq_mono_ms() - start_ms;
        assert_int_equal(result.stop, CQ_PROCESS_TIMED_OUT);
        assert_int_equal(result.end, CQ_PROCESS_SIGNALED);
        assert_int_equal(result.signal, rows[i].signal);
        assert_in_range(took_ms, rows[i].least_ms, rows[i].most_ms);
        cq_process_result_release(&result);
    }
}

static void program_may_end_well_when_it_is_stopped(void **state)
{
    cq_process_request request =
        SHELL("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done");
    cq_process_result result;

    (void)state;
    request.timeout_ms = 300;
    run(&request, &result);
    assert_int_equal(result.stop, CQ_PROCESS_TIMED_OUT);
    assert_int_equal(result.end, CQ_PROCESS_EXITED);
    assert_int_equal(result.code, 0);
    assert_true(output_is(&result, "bye\n"));
    cq_process_result_release(&result);
}

static bool always(void *arg)
{
    (void)arg;
    return true;
}

static void cancel_stops_with_and_without_a_descriptor(void **state)
{
    cq_process_request request = SHELL("sleep 30");
    cq_process_result result;
    cq_event event;

    (void)state;
    assert_int_equal(cq_event_init(&event, NULL), CRONQ_OK);
    cq_event_set(&event);
    request.cancel_fd = event.fd;
    run(&request, &result);
    assert_int_equal(result.stop, CQ_PROCESS_CANCELLED);
    assert_int_equal(result.signal, SIGTERM);
    cq_process_result_release(&result);
    cq_event_release(&event);
    request.cancel_fd = -1;
    request.is_cancelled = always;
    run(&request, &result);
    assert_int_equal(result.stop, CQ_PROCESS_CANCELLED);
    cq_process_result_release(&result);
}

/* A command that is long in starting: what joins its cgroup writes to a full pipe, which
 * is emptied when it has been cancelled. */
static void *empty_later(void *arg)
{
    char piece[4096];
    int fd = *(int *)arg;

    cq_sleep_ms(400);
    while (read(fd, piece, sizeof piece) > 0)
        ;
    return NULL;
}

static void cancelled_while_it_starts_is_sigterm(void **state)
{
    char dir[] = "/tmp/cronq-test-XXXXXX", path[64], piece[4096] = { 0 };
    cq_process_request request = SHELL("sleep 30");
    cq_process_result result;
    pthread_t thread;
    int fd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/cgroup.procs", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    while (write(fd, piece, sizeof piece) > 0)
        ;
    assert_int_equal(pthread_create(&thread, NULL, empty_later, &fd), 0);
    request.cgroup = dir;
    request.is_cancelled = always;
    run(&request, &result);
    assert_int_equal(result.stop, CQ_PROCESS_CANCELLED);
    assert_int_equal(result.end, CQ_PROCESS_SIGNALED);
    assert_int_equal(result.signal, SIGTERM);
    cq_process_result_release(&result);
    pthread_join(thread, NULL);
    close(fd);
    unlink(path);
    rmdir(dir);
}

/* Is there a process that sleeps this many seconds? */
static bool sleeper_lives(const char *seconds)
{
    char command[100];

    snprintf(command, sizeof command, "pgrep -f '^sleep %s$' >/dev/null", seconds);
    return system(command) == 0;
}

static void what_the_command_leaves_behind_is_killed(void **state)
{
    cq_process_request request = SHELL("sleep 4711 & sleep 4711 >/dev/null 2>&1 & "
                                       "echo out");
    cq_process_result result;
    int64_t start_ms = cq_mono_ms();

    (void)state;
    run(&request, &result);
    assert_true(cq_mono_ms() - start_ms < 3000);
    assert_true(output_is(&result, "out\n"));
    for (int i = 0; i < 100 && sleeper_lives("4711"); i++)
        cq_sleep_ms(10);
    assert_false(sleeper_lives("4711"));
    cq_process_result_release(&result);
}

static void death_of_the_worker_is_death_of_the_command(void **state)
{
    cq_process_request request = SHELL("exec sleep 4713");
    cq_process_result result;
    pid_t worker = fork();

    (void)state;
    if (worker == 0) {
        run(&request, &result);
        _exit(0);
    }
    for (int i = 0; i < 500 && !sleeper_lives("4713"); i++)
        cq_sleep_ms(10);
    assert_true(sleeper_lives("4713"));
    assert_int_equal(kill(worker, SIGKILL), 0);
    assert_int_equal(waitpid(worker, NULL, 0), worker);
    for (int i = 0; i < 200 && sleeper_lives("4713"); i++)
        cq_sleep_ms(10);
    assert_false(sleeper_lives("4713"));
}

static void grandchild_that_holds_the_pipes_is_not_waited_for(void **state)
{
    cq_process_request request = SHELL("setsid sleep 3 & echo out");
    cq_process_result result;
    int64_t start_ms = cq_mono_ms();

    (void)state;
    run(&request, &result);
    assert_true(cq_mono_ms() - start_ms < 2000);
    assert_true(output_is(&result, "out\n"));
    cq_process_result_release(&result);
}

/* Asks the shell, not /proc, of which sandboxes show a part only. */
static void child_gets_three_descriptors_and_a_clean_state(void **state)
{
    cq_process_request request =
        SHELL("for fd in 0 1 2 9; do (: <&$fd) && echo open $fd; done;"
              "sh -c 'kill -USR1 $$; echo blocked'; sh -c 'kill -PIPE $$; echo ignored';"
              "kill -0 -$$ && echo leader");
    cq_process_result result;
    int null = open("/dev/null", O_RDONLY);
    int leak = dup2(null, 9); /* without O_CLOEXEC */
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    sigset_t block, old;

    (void)state;
    assert_int_equal(leak, 9);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, &old);
    run(&request, &result);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGPIPE, before);
    close(leak);
    close(null);
    assert_string_equal(cq_buf_text(&result.output), "open 0\nopen 1\nopen 2\nleader\n");
    cq_process_result_release(&result);
}

static void what_can_not_start_says_why(void **state)
{
    static const char *const argv[] = { "x", NULL };
    static const struct {
        const char *path, *dir, *text;
    } rows[] = {
        { "/nonexistent/x", NULL, "cannot start /nonexistent/x: No such file" },
        { "/etc/passwd", NULL, "cannot start /etc/passwd: Permission denied" },
        { "/bin/true", "/nonexistent", "cannot enter /nonexistent: No such file" },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        cq_process_request request = { .path = rows[i].path,
                                       .argv = argv,
                                       .env = environment,
                                       .dir = rows[i].dir,
                                       .cancel_fd = -1 };
        cq_process_result result;
        cronq_error err = { 0 };

        assert_int_equal(cq_process_run(&request, &result, &err), CRONQ_EIO);
        assert_non_null(strstr(err.text, rows[i].text));
    }
}

static void directory_is_entered(void **state)
{
    cq_process_request request = SHELL("pwd");
    cq_process_result result;

    (void)state;
    request.dir = "/usr";
    run(&request, &result);
    assert_true(output_is(&result, "/usr\n"));
    cq_process_result_release(&result);
}

static void program_is_found_in_path(void **state)
{
    char path[100];
    cronq_error err = { 0 };

    (void)state;
    assert_int_equal(cq_process_find("sh", "/nonexistent::/bin", path, sizeof path, NULL),
                     CRONQ_OK);
    assert_string_equal(path, "/bin/sh");
    assert_int_equal(cq_process_find("./x", "/bin", path, sizeof path, NULL), CRONQ_OK);
    assert_string_equal(path, "./x");
    assert_int_equal(cq_process_find("no-such", "/bin", path, sizeof path, &err),
                     CRONQ_ENOENT);
    assert_string_equal(err.text, "there is no program no-such in PATH");
    assert_int_equal(cq_process_find("sh", NULL, path, sizeof path, NULL), CRONQ_ENOENT);
    assert_int_equal(cq_process_find("passwd", "/etc", path, sizeof path, NULL),
                     CRONQ_ENOENT);
}

static char not_started[] = "not started", wrong_result[] = "wrong result";

static void *run_some(void *arg)
{
    (void)arg;
    for (int i = 0; i < 25; i++) {
        cq_process_request request = SHELL("read line; echo \"$line\"; exit 7");
        cq_process_result result;

        request.input = (cronq_bytes)CRONQ_LIT("text\n");
        if (cq_process_run(&request, &result, NULL) != CRONQ_OK)
            return not_started;
        if (result.end != CQ_PROCESS_EXITED || result.code != 7 ||
            !output_is(&result, "text\n"))
            return wrong_result;
        cq_process_result_release(&result);
    }
    return NULL;
}

static void threads_leave_no_descriptor_and_no_zombie(void **state)
{
    size_t before = count_fds();
    pthread_t threads[4];
    void *failed;

    (void)state;
    if (UNDER_TSAN)
        skip();
    for (size_t i = 0; i < ROWS(threads); i++)
        assert_int_equal(cq_thread_start(&threads[i], "run", run_some, NULL, NULL), 0);
    for (size_t i = 0; i < ROWS(threads); i++) {
        pthread_join(threads[i], &failed);
        if (failed)
            fail_msg("%s", (const char *)failed);
    }
    assert_int_equal(count_fds(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void only_its_own_child_is_reaped(void **state)
{
    cq_process_request request = SHELL("exit 0");
    cq_process_result result;
    pid_t other = fork();
    int status = 0;

    (void)state;
    if (other == 0)
        _exit(9);
    run(&request, &result);
    cq_process_result_release(&result);
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(WEXITSTATUS(status), 9);
}

/* The keeper is asked, not SIGCHLD, with which the process may do what it likes. */
static void status_comes_even_when_children_are_ignored(void **state)
{
    cq_process_request request = SHELL("echo out; exit 3");
    cq_process_result result;
    void (*before)(int) = signal(SIGCHLD, SIG_IGN);

    (void)state;
    run(&request, &result);
    signal(SIGCHLD, before);
    assert_int_equal(result.end, CQ_PROCESS_EXITED);
    assert_int_equal(result.code, 3);
    cq_process_result_release(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_are_told_apart),
        cmocka_unit_test(input_of_any_size_comes_back),
        cmocka_unit_test(program_that_does_not_read_is_fine),
        cmocka_unit_test(output_is_cut_but_drained),
        cmocka_unit_test(long_error_line_is_cut_at_its_start),
        cmocka_unit_test(time_over_is_sigterm_then_sigkill),
        cmocka_unit_test(program_may_end_well_when_it_is_stopped),
        cmocka_unit_test(cancel_stops_with_and_without_a_descriptor),
        cmocka_unit_test(cancelled_while_it_starts_is_sigterm),
        cmocka_unit_test(what_the_command_leaves_behind_is_killed),
        cmocka_unit_test(death_of_the_worker_is_death_of_the_command),
        cmocka_unit_test(grandchild_that_holds_the_pipes_is_not_waited_for),
        cmocka_unit_test(child_gets_three_descriptors_and_a_clean_state),
        cmocka_unit_test(what_can_not_start_says_why),
        cmocka_unit_test(directory_is_entered),
        cmocka_unit_test(program_is_found_in_path),
        cmocka_unit_test(threads_leave_no_descriptor_and_no_zombie),
        cmocka_unit_test(only_its_own_child_is_reaped),
        cmocka_unit_test(status_comes_even_when_children_are_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
