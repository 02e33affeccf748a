/* SPDX-License-Identifier: MIT */
/* fuzz_yaml.c - a file is good or has faults; each fault is a line of UTF-8, and nothing
 * of a bad file can be got. */
#include "base/utf8.h"

#include <cronq/config.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
    if (!text || !*text || strchr(text, '\n') || !cq_utf8_valid(text, strlen(text)))
        abort();
}

static void check_good(const cronq_config *config)
{
    for (size_t i = 0; i < cronq_config_task_count(config); i++) {
        const cronq_config_task *task = cronq_config_task_at(config, i);

        if (!*task->pattern || (!task->command && !task->cron_spec) ||
            !task->entry != !task->cron_spec || task->line < 1)
            abort();
    }
    check_text(cronq_config_name(config));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cronq_bytes text = { data, size };
    cronq_config *config = NULL;
    cronq_error err = { 0 };
    cronq_status status;

    if (cronq_config_new(&config, &err) != CRONQ_OK)
        return 0;
    status = cronq_config_parse(config, "fuzz.yaml", text, &err);
    if ((status == CRONQ_OK) != (cronq_config_error_count(config) == 0))
        abort();
    for (size_t i = 0; i < cronq_config_error_count(config); i++)
        check_text(cronq_config_error_at(config, i));
    for (size_t i = 0; i < cronq_config_warning_count(config); i++)
        check_text(cronq_config_warning_at(config, i));
    if (status == CRONQ_OK)
        check_good(config);
    else if (cronq_config_name(config) || cronq_config_task_count(config))
        abort();
    cronq_config_free(config);
    return 0;
}
