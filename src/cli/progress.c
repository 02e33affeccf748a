/* SPDX-License-Identifier: MIT */
/* cli/progress.c - a bar for what takes over a second, and its interruption. */
#include "base/clock.h"
#include "cli/look.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define PATIENCE_MS 1000
#define REDRAW_MS   100

enum { BAR_WIDTH = 30 };

/* Asked for once; a second signal ends the program as it always would. */
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void cq_cli_progress_begin(cq_cli_progress *progress, const char *what, bool stops)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

    *progress = (cq_cli_progress){ .what = what,
                                   .started_ms = cq_mono_ms(),
                                   .tty = isatty(STDERR_FILENO) == 1 };
    interrupted = 0;
    if (!stops)
        return;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void draw(cq_cli_progress *progress, uint64_t done, uint64_t total, int64_t now_ms)
{
    uint64_t shown = done < total ? done : total;
    int filled = total ? (int)(shown * BAR_WIDTH / total) : 0;
    int percent = total ? (int)(shown * 100 / total) : 0;
    char bar[BAR_WIDTH + 1];

    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%s [%s] %3d%% %llu of %llu\033[K", progress->what, bar, percent,
            (unsigned long long)done, (unsigned long long)total);
    fflush(stderr);
    progress->shown = true;
    progress->shown_ms = now_ms;
}

bool cq_cli_progress_step(uint64_t done, uint64_t total, void *arg)
{
    cq_cli_progress *progress = arg;
    int64_t now_ms = cq_mono_ms();

    if (progress->tty && now_ms - progress->started_ms >= PATIENCE_MS &&
        now_ms - progress->shown_ms >= REDRAW_MS)
        draw(progress, done, total, now_ms);
    return !interrupted;
}

bool cq_cli_interrupted(void)
{
    return interrupted;
}

void cq_cli_progress_end(cq_cli_progress *progress)
{
    if (!progress->shown)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->shown = false;
}
