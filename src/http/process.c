/* SPDX-License-Identifier: MIT */
/* process.c - CPU time, memory, descriptors and the start of this process, from /proc. */
#include "http/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#define STAT_START_TIME 20 /* field of /proc/self/stat after the name, from 1 */
#define STAT_VSIZE      21
#define STAT_RSS        22

static bool read_text(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, out, size - 1);

    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return false;
    out[len] = '\0';
    return true;
}

/* The name of a process is in parentheses and may hold anything. */
static double stat_field(int index)
{
    char text[1024];
    const char *at =
        read_text("/proc/self/stat", text, sizeof text) ? strrchr(text, ')') : NULL;

    for (int i = 0; at && i < index; i++)
        at = strchr(at + 1, ' ');
    return at ? strtod(at, NULL) : NAN;
}

static double cpu_seconds(void *arg)
{
    struct rusage usage;

    (void)arg;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return NAN;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double resident_bytes(void *arg)
{
    (void)arg;
    return stat_field(STAT_RSS) * (double)sysconf(_SC_PAGESIZE);
}

static double virtual_bytes(void *arg)
{
    (void)arg;
    return stat_field(STAT_VSIZE);
}

static double open_descriptors(void *arg)
{
    DIR *dir = opendir("/proc/self/fd");
    double count = -3; /* itself, and the two dots */

    (void)arg;
    if (!dir)
        return NAN;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static double descriptor_limit(void *arg)
{
    struct rlimit limit;

    (void)arg;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return NAN;
    return limit.rlim_cur == RLIM_INFINITY ? INFINITY : (double)limit.rlim_cur;
}

/* The kernel tells it since the boot, whose time is in /proc/stat. */
static double start_time(void *arg)
{
    FILE *file = fopen("/proc/stat", "re");
    long long boot_s = -1;
    char line[256];

    (void)arg;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "btime %lld", &boot_s) == 1)
            break;
    if (file)
        fclose(file);
    if (boot_s < 0)
        return NAN;
    return (double)boot_s + stat_field(STAT_START_TIME) / (double)sysconf(_SC_CLK_TCK);
}

static const struct {
    const char *name, *help;
    cronq_metric_kind kind;
    cronq_metric_read_fn *read;
} rows[] = {
    { "process_cpu_seconds_total", "CPU time of the process, user and system.",
      CRONQ_METRIC_COUNTER, cpu_seconds },
    { "process_resident_memory_bytes", "Memory of the process that is resident.",
      CRONQ_METRIC_GAUGE, resident_bytes },
    { "process_virtual_memory_bytes", "Address space of the process.", CRONQ_METRIC_GAUGE,
      virtual_bytes },
    { "process_open_fds", "Descriptors that are open.", CRONQ_METRIC_GAUGE,
      open_descriptors },
    { "process_max_fds", "Descriptors that may be open.", CRONQ_METRIC_GAUGE,
      descriptor_limit },
    { "process_start_time_seconds", "When the process began, Unix time.",
      CRONQ_METRIC_GAUGE, start_time },
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

cronq_status cq_process_watch(cronq_metrics *metrics, uint32_t *own, cronq_error *err)
{
    *own = 0;
    for (uint32_t i = 0; i < ROW_COUNT; i++) {
        cronq_status status = cronq_metrics_watch(metrics, rows[i].name, rows[i].help,
                                                  rows[i].kind, rows[i].read, NULL, err);

        if (!status)
            *own |= 1u << i;
        else if (status != CRONQ_EEXIST)
            return status;
    }
    return CRONQ_OK;
}

void cq_process_unwatch(cronq_metrics *metrics, uint32_t own)
{
    for (uint32_t i = 0; i < ROW_COUNT; i++)
        if (own & (1u << i))
            cronq_metrics_unwatch(metrics, rows[i].name);
}
