/* SPDX-License-Identifier: MIT */
/* process.c - child processes of a test, and the histories that workers write. */
#include "support/process.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

pid_t process_start(const char *const argv[])
{
    return process_start_logged(argv, NULL);
}

pid_t process_start_logged(const char *const argv[], const char *log_path)
{
    pid_t pid = fork();
    int fd;

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (log_path) {
        fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
            _exit(126);
    }
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    perror(argv[0]);
    _exit(127);
}

int process_end(pid_t pid, int signal_number)
{
    int status;

    if (signal_number)
        kill(pid, signal_number);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int process_await(pid_t pid, int64_t timeout_ms)
{
    const struct timespec pause = { 0, 5000000 };
    int status;

    for (int64_t waited = 0; waited <= timeout_ms; waited += 5) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        nanosleep(&pause, NULL);
    }
    return -1;
}

/* The rest of the line of /proc/PID/FILE behind the first word that is key. */
static void read_proc(pid_t pid, const char *name, char *out, size_t size)
{
    char path[64];
    size_t len;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    file = fopen(path, "r");
    assert_non_null(file);
    len = fread(out, 1, size - 1, file);
    out[len] = '\0';
    fclose(file);
}

int64_t process_cpu_ms(pid_t pid)
{
    char text[1024], *behind_name;
    unsigned long user, kernel;

    read_proc(pid, "stat", text, sizeof text);
    behind_name = strrchr(text, ')');
    assert_non_null(behind_name);
    assert_int_equal(sscanf(behind_name + 2,
                            "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                            &kernel),
                     2);
    return (int64_t)((user + kernel) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK));
}

int64_t process_private_dirty_kib(pid_t pid)
{
    char text[4096], *line;

    read_proc(pid, "smaps_rollup", text, sizeof text);
    line = strstr(text, "Private_Dirty:");
    assert_non_null(line);
    return strtoll(line + strlen("Private_Dirty:"), NULL, 10);
}

history_line *history_read(const char *path, size_t *count)
{
    history_line *lines = NULL, line;
    size_t used = 0, room = 0;
    FILE *file = fopen(path, "r");
    int pid;
    long long at_ms;

    while (file && fscanf(file, "%7s %127s %d %d %lld", line.what, line.id,
                          &line.retry_count, &pid, &at_ms) == 5) {
        if (used == room) {
            room = room ? room * 2 : 64;
            lines = realloc(lines, room * sizeof *lines);
            assert_non_null(lines);
        }
        line.pid = pid;
        line.at_ms = at_ms;
        lines[used++] = line;
    }
    if (file)
        fclose(file);
    *count = used;
    return lines;
}

size_t history_count(const char *path, const char *what, const char *id)
{
    size_t count, found = 0;
    history_line *lines = history_read(path, &count);

    for (size_t i = 0; i < count; i++)
        found +=
            strcmp(lines[i].what, what) == 0 && (!id || strcmp(lines[i].id, id) == 0);
    free(lines);
    return found;
}

bool history_wait(const char *path, const char *what, const char *id, size_t count,
                  int64_t timeout_ms)
{
    const struct timespec pause = { 0, 10000000 };

    for (int64_t waited = 0; waited <= timeout_ms; waited += 10) {
        if (history_count(path, what, id) >= count)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}
