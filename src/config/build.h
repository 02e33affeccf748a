/* SPDX-License-Identifier: MIT */
/* config/build.h - from values to the options of the public headers. */
#ifndef CQ_CONFIG_BUILD_H
#define CQ_CONFIG_BUILD_H

#include "config/values.h"

#include <cronq/config.h>

/* What a good file amounts to. All of it is in the arena. */
typedef struct cq_config_content {
    const char *name;
    const char *uri; /* NULL: none */
    cronq_store_options store;
    cronq_server_options server;
    cronq_log_file_options log;
    cronq_devserver_options devserver;
    bool has_devserver, has_metrics;
    cronq_config_telemetry telemetry;
    bool has_telemetry;
    const cronq_command_options *notice_command; /* or the next, or neither */
    const cronq_http_options *notice_http;
    cronq_config_task *tasks;
    size_t task_count;
} cq_config_content;

typedef struct cq_build {
    const cq_section *root;
    cq_arena *arena;
    cq_findings *findings;
    cq_config_content *content;
} cq_build;

/* Each adds to the findings what does not go together. */
void cq_build_store(cq_build *build);
void cq_build_server(cq_build *build);
void cq_build_log(cq_build *build);
void cq_build_devserver(cq_build *build);
void cq_build_telemetry(cq_build *build);
void cq_build_tasks(cq_build *build); /* after cq_build_server */

/* Zeroed memory from the arena; NULL: reported. */
void *cq_build_take(cq_build *build, size_t count, size_t size);

/* A text formatted into the arena; NULL: reported. */
const char *cq_build_text(cq_build *build, const char *format, ...) CRONQ_PRINTF(2, 3);

#endif
