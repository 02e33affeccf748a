/* SPDX-License-Identifier: MIT */
/* cronq/config.h - a YAML file as the options of the other headers.
 *
 * Part of libcronq-service. docs/configuration.md lists the keys. */
#ifndef CRONQ_CONFIG_H
#define CRONQ_CONFIG_H

#include "devserver.h"
#include "handlers.h"
#include "log.h"
#include "server.h"

CRONQ_BEGIN

/* What a file says. Used by one thread at a time; getters borrow from it, until its free
 * or next load. */
typedef struct cronq_config cronq_config;

cronq_status cronq_config_new(cronq_config **out, cronq_error *err) CRONQ_CHECKED;
void cronq_config_free(cronq_config *config); /* NULL is fine */

/* Read a file, or text (name stands for the file in messages), in place of what was there
 * before. ${NAME} and ${NAME:-text} in values are taken from the environment, which no
 * thread may change meanwhile; $$ is a dollar sign. EIO: can not be read. EINVAL, or
 * EUNSUPPORTED for what is known but not built yet: the file is wrong; err has its first
 * fault, the functions below have all of them, and the getters further down have nothing.
 * At most 1 MiB, 32 levels, 100 aliases. */
cronq_status cronq_config_load(cronq_config *config, const char *path, cronq_error *err)
    CRONQ_CHECKED;
cronq_status cronq_config_parse(cronq_config *config, const char *name, cronq_bytes text,
                                cronq_error *err) CRONQ_CHECKED;

/* What is wrong, and what is odd, in the order of the file:
 *     worker.yaml:7:3: WorkConf.Address: unknown key; did you mean "Addr"?
 * NULL beyond the count. No message holds a password. */
size_t cronq_config_error_count(const cronq_config *config);
const char *cronq_config_error_at(const cronq_config *config, size_t index);
size_t cronq_config_warning_count(const cronq_config *config);
const char *cronq_config_warning_at(const cronq_config *config, size_t index);

const char *cronq_config_name(const cronq_config *config);
/* The store, without its credentials, which are in the options; NULL: none is given. */
const char *cronq_config_uri(const cronq_config *config);
const cronq_store_options *cronq_config_store_options(const cronq_config *config);
/* store points to the options above; logger is empty: copy the struct and fill it in. */
const cronq_server_options *cronq_config_server_options(const cronq_config *config);
const cronq_log_file_options *cronq_config_log_options(const cronq_config *config);
/* NULL: none is to be started. Logger, metrics and ready are empty, to be filled in. */
const cronq_devserver_options *cronq_config_devserver_options(const cronq_config *config);
bool cronq_config_has_metrics(const cronq_config *config); /* has it a path for them? */

/* Telemetry: what the file says, NULL and zero for what it does not. */
typedef struct cronq_config_telemetry {
    size_t struct_size;
    const char *name;      /* the service's when it has none of its own */
    const char *endpoint;  /* a path when is_file; else a URL, or HOST:PORT */
    const char *http_path; /* of the URL, when the endpoint is none */
    const cronq_header *headers;
    size_t header_count;
    bool has_ratio;
    double ratio; /* from 0 (none) to 1 */
    bool is_file, is_secure, is_disabled;
    bool retry_links; /* as in cronq_tracer_options */
} cronq_config_telemetry;

/* NULL: there is no such section. */
const cronq_config_telemetry *cronq_config_get_telemetry(const cronq_config *config);

/* One of Tasks: a command for tasks whose type begins with pattern, an entry that pushes
 * by the clock, or both. */
typedef struct cronq_config_task {
    size_t struct_size;
    const char *pattern;
    const cronq_command_options *command; /* NULL: it is only pushed */
    const char *cron_spec;                /* NULL: it is only run */
    const cronq_entry_options *entry;     /* what to push; NULL without cron_spec */
    size_t line, column;                  /* where it is in the file, from 1 */
    const cronq_http_options *http;       /* NULL: it is no request */
    cronq_isolation isolation;            /* of what runs it */
} cronq_config_task;

/* OnArchive, for cronq_notice_new: one of the two, or neither; else NULL. */
const cronq_command_options *cronq_config_notice_command(const cronq_config *config);
const cronq_http_options *cronq_config_notice_http(const cronq_config *config);

size_t cronq_config_task_count(const cronq_config *config);
/* NULL beyond the count. */
const cronq_config_task *cronq_config_task_at(const cronq_config *config, size_t index);

/* The keys that a file may have, for help texts. Static; any thread. */
typedef struct cronq_config_key {
    const char *path; /* "WorkConf.Addr", "Tasks[].Pattern" */
    const char *type; /* "text", "seconds, or a duration", … */
    char range[64];   /* "0 to 10000", "json|plain"; empty: any */
    const char *default_text;
    const char *doc;
} cronq_config_key;

size_t cronq_config_key_count(void);
/* false beyond the count. */
bool cronq_config_key_at(size_t index, cronq_config_key *key);

CRONQ_END
#endif /* CRONQ_CONFIG_H */
