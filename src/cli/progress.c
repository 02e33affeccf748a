/* SPDX-License-Identifier: MIT */
/* cli/progress.c - a bar for what takes over a second, and its interruption. */
#include "base/clock.h"
#include "cli/look.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define PATIENCE_MS 1000
#define REDRAW_MS   100

#define LINE_LIMIT_BYTES 4096

enum { BAR_WIDTH = 30, NAME_WIDTH = 24, PERCENT_WIDTH = 5 };

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

static void draw_bar(cq_buf *out, uint64_t shown, uint64_t total)
{
    uint64_t filled = total ? shown * BAR_WIDTH / total : 0;

    cq_buf_append_text(out, " [");
    for (uint64_t i = 0; i < BAR_WIDTH; i++)
        cq_buf_append_char(out, i < filled ? '#' : '.');
    cq_buf_append_char(out, ']');
}

/* On one line, or \r would not come back to its beginning: where there is no room, first
 * the name is cut, then the bar goes, then the counts. */
static void draw(cq_cli_progress *progress, uint64_t done, uint64_t total, int64_t now_ms)
{
    size_t room = cq_cli_width(STDERR_FILENO) - 1, taken;
    uint64_t shown = done < total ? done : total;
    char counts[80];
    cq_buf what, line;

    taken = (size_t)snprintf(counts, sizeof counts, " %3d%% %llu of %llu",
                             total ? (int)(shown * 100 / total) : 0,
                             (unsigned long long)done, (unsigned long long)total);
    cq_buf_init(&what, LINE_LIMIT_BYTES);
    cq_buf_init(&line, LINE_LIMIT_BYTES);
    cq_cli_clean(&what, cq_str_of(progress->what));
    if (taken + NAME_WIDTH <= room)
        taken += cq_cli_cut(&line, cq_buf_str(&what), NAME_WIDTH);
    if (taken + BAR_WIDTH + 3 <= room)
        draw_bar(&line, shown, total);
    if (taken > room)
        counts[PERCENT_WIDTH] = '\0';
    cq_buf_append_text(&line, counts);
    fprintf(stderr, "\r%s\033[K", cq_buf_text(&line));
    fflush(stderr);
    cq_buf_release(&line);
    cq_buf_release(&what);
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
