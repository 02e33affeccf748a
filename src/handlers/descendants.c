/* SPDX-License-Identifier: MIT */
/* descendants.c - the processes below this one.
 *
 * One look reads every /proc/PID/stat into a table in the order of the numbers, which is
 * the order of the directory, and walks from each process up to us. A process may end
 * while we look, and its number be given away: so it is signalled through a descriptor,
 * and only if its parent is still who it was. */
#include "handlers/descendants.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TABLE_ROWS 65536 /* more processes than that are not looked at */
#define MOST_STEPS 10000 /* from a process up to us */
#define ENTRIES    ((size_t)8 << 10)
#define STAT_BYTES 512
#define PATH_BYTES 32

typedef struct row {
    pid_t pid, parent, group;
    char state;
} row;

typedef struct table {
    row *rows;
    size_t count;
} table;

/* A decimal number; -1: there is none. */
static pid_t read_number(const char **at)
{
    int64_t number = 0;
    const char *start = *at;

    for (; **at >= '0' && **at <= '9' && number < INT32_MAX; (*at)++)
        number = number * 10 + (**at - '0');
    return *at == start || number > INT32_MAX ? -1 : (pid_t)number;
}

static void write_path(char out[PATH_BYTES], pid_t pid)
{
    char digits[12];
    size_t count = 0, at = 6;

    do
        digits[count++] = (char)('0' + pid % 10);
    while (pid /= 10);
    memcpy(out, "/proc/", 6);
    while (count > 0)
        out[at++] = digits[--count];
    memcpy(out + at, "/stat", 6);
}

/* "PID (NAME) STATE PARENT GROUP …", where the name may hold anything. */
static bool read_row(pid_t pid, row *out)
{
    char path[PATH_BYTES], text[STAT_BYTES];
    const char *at;
    ssize_t len;
    int fd;

    write_path(path, pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0)
        return false;
    text[len] = '\0';
    at = strrchr(text, ')');
    if (!at || at[1] != ' ' || !at[2] || at[3] != ' ')
        return false;
    out->pid = pid;
    out->state = at[2];
    at += 4;
    out->parent = read_number(&at);
    at += *at == ' ';
    out->group = read_number(&at);
    return out->parent >= 0;
}

struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short size;
    unsigned char type;
    char name[];
};

static void add_entries(table *all, const char *entries, size_t len)
{
    for (size_t at = 0; at < len && all->count < TABLE_ROWS;) {
        const struct entry *entry = (const void *)(entries + at);
        const char *name = entry->name;
        pid_t pid = read_number(&name);

        if (pid > 0 && !*name && read_row(pid, &all->rows[all->count]))
            all->count++;
        at += entry->size;
    }
}

static bool read_table(table *all)
{
    _Alignas(uint64_t) char entries[ENTRIES];
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long len = 0;

    if (fd < 0)
        return false;
    while ((len = syscall(SYS_getdents64, fd, entries, sizeof entries)) > 0)
        add_entries(all, entries, (size_t)len);
    close(fd);
    return len == 0 && all->count > 0;
}

static const row *find(const table *all, pid_t pid)
{
    size_t low = 0, high = all->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (all->rows[middle].pid == pid)
            return &all->rows[middle];
        if (all->rows[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool is_below(const table *all, const row *process, pid_t us)
{
    for (int steps = 0; process && steps < MOST_STEPS; steps++) {
        if (process->parent == us)
            return true;
        process = find(all, process->parent);
    }
    return false;
}

static void signal_one(const row *process, pid_t us, int number)
{
    int fd = pidfd_open(process->pid, 0);
    row now;

    if (fd < 0 || (read_row(process->pid, &now) &&
                   (now.parent == process->parent || now.parent == us)))
        (fd < 0 ? kill(process->pid, number) : pidfd_send_signal(fd, number, NULL, 0));
    if (fd >= 0)
        close(fd);
}

int cq_descendants_signal(int number, pid_t except, int *moving)
{
    pid_t us = getpid();
    int count = 0;
    table all = { mmap(NULL, TABLE_ROWS * sizeof(row), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                  0 };

    *moving = 0;
    if (all.rows == MAP_FAILED)
        return -1;
    if (!read_table(&all))
        count = -1;
    for (size_t i = 0; count >= 0 && i < all.count; i++) {
        const row *process = &all.rows[i];

        if (process->state == 'Z' || process->state == 'X' ||
            !is_below(&all, process, us))
            continue;
        count++;
        *moving += process->state != 'T';
        if (process->group != except || except == 0)
            signal_one(process, us, number);
    }
    munmap(all.rows, TABLE_ROWS * sizeof(row));
    return count;
}
