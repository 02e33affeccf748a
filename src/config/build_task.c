/* SPDX-License-Identifier: MIT */
/* build_task.c - from the values of Tasks to commands and entries. */
#include "base/clock.h"
#include "config/build.h"

#include <cronq/cron.h>
#include <stdio.h>

#define KIB ((size_t)1 << 10)
#define MIB ((int64_t)1 << 20)

enum { OVERLAP_ALLOW, OVERLAP_SKIP };

typedef struct task_build {
    cq_build *all;
    const cq_section *section;
    size_t index; /* among the tasks that could be read */
} task_build;

static const cq_value *get(const task_build *t, cq_key key)
{
    return &t->section->values[key];
}

/* "Tasks[3].Queue", for messages. */
typedef struct shown {
    char text[64];
} shown;

static const char *show(shown *out, const task_build *t, cq_key key)
{
    snprintf(out->text, sizeof out->text, "Tasks[%zu].%s", t->section->index,
             cq_key_leaf(key));
    return out->text;
}

static void warn_unused(const task_build *t, const cq_key *keys, size_t count,
                        const char *why)
{
    shown path;

    for (size_t i = 0; i < count; i++)
        if (get(t, keys[i])->given)
            cq_find_warning(t->all->findings, get(t, keys[i])->key_mark,
                            show(&path, t, keys[i]), "has no effect without %s", why);
}

/* A wrong value is there too: its own message is enough. */
static bool is_there(const cq_value *value)
{
    return value->given || value->is_wrong;
}

static void check_use(const task_build *t)
{
    static const cq_key of_entries[] = { CQ_K_TASK_NAME,      CQ_K_TASK_ZONE,
                                         CQ_K_TASK_OVERLAP,   CQ_K_TASK_PAYLOAD,
                                         CQ_K_TASK_QUEUE,     CQ_K_TASK_MAX_RETRY,
                                         CQ_K_TASK_RETENTION, CQ_K_TASK_UNIQUE };
    static const cq_key of_commands[] = { CQ_K_TASK_DIR,        CQ_K_TASK_ENV,
                                          CQ_K_TASK_SHELL,      CQ_K_TASK_USER,
                                          CQ_K_TASK_KILL_GRACE, CQ_K_TASK_MEMORY,
                                          CQ_K_TASK_CPU,        CQ_K_TASK_PROCESSES,
                                          CQ_K_TASK_OPEN_FILES, CQ_K_TASK_FILE_SIZE };
    static const cq_key of_requests[] = { CQ_K_TASK_METHOD, CQ_K_TASK_HEADERS,
                                          CQ_K_TASK_BODY,   CQ_K_TASK_SECRET,
                                          CQ_K_TASK_CA,     CQ_K_TASK_PRIVATE };
    static const cq_key of_both[] = { CQ_K_TASK_OUTPUT };
    bool has_command = is_there(get(t, CQ_K_TASK_COMMAND));
    bool has_cron = is_there(get(t, CQ_K_TASK_CRON));
    bool has_url = is_there(get(t, CQ_K_TASK_URL));
    shown path;

    if (!has_cron)
        warn_unused(t, of_entries, sizeof of_entries / sizeof of_entries[0],
                    "Cron: who pushes the task decides");
    if (!has_command)
        warn_unused(t, of_commands, sizeof of_commands / sizeof of_commands[0],
                    "Command");
    if (!has_url)
        warn_unused(t, of_requests, sizeof of_requests / sizeof of_requests[0], "URL");
    if (!has_command && !has_url)
        warn_unused(t, of_both, sizeof of_both / sizeof of_both[0], "Command or URL");
    if (has_command && has_url)
        cq_find_error(t->all->findings, get(t, CQ_K_TASK_URL)->key_mark,
                      show(&path, t, CQ_K_TASK_URL), "there is a Command, too");
    if (!has_command && !has_url && !has_cron)
        cq_find_error(t->all->findings, t->section->mark,
                      show(&path, t, CQ_K_TASK_PATTERN),
                      "neither a Command or URL to run nor a Cron to push it by");
}

static void check_command(const task_build *t)
{
    const cq_value *command = get(t, CQ_K_TASK_COMMAND);
    shown path;

    if (command->given && !*command->texts[0])
        cq_find_error(t->all->findings, command->mark, show(&path, t, CQ_K_TASK_COMMAND),
                      "the program, its first text, is empty");
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " ")] == '\0';
}

static bool is_served(const cq_build *all, const char *queue)
{
    const cronq_server_options *server = &all->content->server;
    const char *own = server->namespace_name ? server->namespace_name : "default";

    for (size_t i = 0; i < server->queue_count; i++)
        if (strcmp(server->queues[i].name, queue) == 0)
            return true;
    return server->queue_count == 0 && strcmp(own, queue) == 0;
}

static bool has_work(const cq_section *section)
{
    return section->values[CQ_K_TASK_COMMAND].given ||
           section->values[CQ_K_TASK_URL].given;
}

/* An entry that this worker is to run must go to a queue from which it takes. */
static void check_queue(const task_build *t)
{
    const cronq_server_options *server = &t->all->content->server;
    const cq_value *value = get(t, CQ_K_TASK_QUEUE);
    const char *own = server->namespace_name ? server->namespace_name : "default";
    const char *queue = value->given ? value->text : own;
    bool is_run = has_work(t->section) && get(t, CQ_K_TASK_CRON)->given;
    bool is_broken = t->all->root->values[CQ_K_WORK_QUEUES].is_wrong ||
                     t->all->root->values[CQ_K_WORK_NAMESPACE].is_wrong;
    cq_quoted quoted;
    shown path;

    if (!value->is_wrong && is_run && !is_broken && !is_served(t->all, queue))
        cq_find_error(t->all->findings, value->given ? value->mark : t->section->mark,
                      show(&path, t, CQ_K_TASK_QUEUE),
                      "%s is not in WorkConf.Queues, so nobody here would run it",
                      cq_quote(&quoted, cq_str_of(queue)));
}

static void check_unique(const task_build *t)
{
    const cq_value *unique = get(t, CQ_K_TASK_UNIQUE);
    shown path;

    if (unique->number > 0 && unique->number < 1000)
        cq_find_error(t->all->findings, unique->mark, show(&path, t, CQ_K_TASK_UNIQUE),
                      "%lld ms is out of range; at least 1 s, or 0",
                      (long long)unique->number);
}

/* NULL: reported. */
static cronq_cron *parse_cron(const task_build *t, cq_key key, const char *spec,
                              const char *zone)
{
    cronq_cron *cron = NULL;
    cronq_error err = { 0 };
    cronq_status status = cronq_cron_parse(spec, zone, &cron, &err);
    shown path;

    if (status == CRONQ_ENOMEM)
        cq_find_nomem(t->all->findings);
    else if (status != CRONQ_OK)
        cq_find_error(t->all->findings, get(t, key)->mark, show(&path, t, key), "%s",
                      err.text);
    return cron;
}

/* Zone and spec are tried apart, so that each is told of its own faults. */
static void check_cron(const task_build *t)
{
    const cq_value *spec = get(t, CQ_K_TASK_CRON), *zone = get(t, CQ_K_TASK_ZONE);
    cronq_cron *cron;
    shown path;

    if (zone->given)
        cronq_cron_free(parse_cron(t, CQ_K_TASK_ZONE, "@daily", zone->text));
    if (!spec->given)
        return;
    cron = parse_cron(t, CQ_K_TASK_CRON, spec->text, "UTC");
    if (cron && cronq_cron_next(cron, cq_wall_ns() / CQ_NS_PER_MS) == CRONQ_CRON_NEVER)
        cq_find_warning(t->all->findings, spec->mark, show(&path, t, CQ_K_TASK_CRON),
                        "does not come in the next five years");
    cronq_cron_free(cron);
}

static bool has_entry(const cq_section *section)
{
    return section->values[CQ_K_TASK_CRON].given;
}

/* A pattern with work to do, and the name of an entry, may be there once. */
static void check_twins(const task_build *t, const cq_value *tasks)
{
    static const cq_key keys[] = { CQ_K_TASK_PATTERN, CQ_K_TASK_NAME };
    static bool (*const needs[])(const cq_section *) = { has_work, has_entry };
    shown path;

    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
        for (size_t i = 0; needs[k](t->section) && i < t->index; i++) {
            const cq_value *mine = get(t, keys[k]);
            const cq_value *other = &tasks->sections[i]->values[keys[k]];

            if (!mine->given || !other->given || !needs[k](tasks->sections[i]) ||
                strcmp(mine->text, other->text) != 0)
                continue;
            cq_find_error(t->all->findings, mine->mark, show(&path, t, keys[k]),
                          "is the same as at line %zu", other->mark.line);
            break;
        }
}

static bool is_equal(const cq_value *a, const cq_value *b)
{
    return a->given == b->given &&
           (!a->given || (a->len == b->len && memcmp(a->text, b->text, a->len) == 0));
}

/* Without a name an entry is known by what it pushes, and when. */
static bool is_same_entry(const cq_section *a, const cq_section *b)
{
    static const cq_key keys[] = { CQ_K_TASK_CRON, CQ_K_TASK_ZONE, CQ_K_TASK_PATTERN,
                                   CQ_K_TASK_QUEUE, CQ_K_TASK_PAYLOAD };
    bool same = has_entry(a) && has_entry(b) && !a->values[CQ_K_TASK_NAME].given &&
                !b->values[CQ_K_TASK_NAME].given;

    for (size_t i = 0; same && i < sizeof keys / sizeof keys[0]; i++)
        same = is_equal(&a->values[keys[i]], &b->values[keys[i]]);
    return same;
}

static void check_entry_twins(const task_build *t, const cq_value *tasks)
{
    shown path;

    for (size_t i = 0; i < t->index; i++) {
        const cq_section *other = tasks->sections[i];

        if (!is_same_entry(t->section, other))
            continue;
        cq_find_error(t->all->findings, get(t, CQ_K_TASK_CRON)->mark,
                      show(&path, t, CQ_K_TASK_CRON),
                      "is the entry of line %zu again; give one of them a Name",
                      other->values[CQ_K_TASK_CRON].mark.line);
        return;
    }
}

/* "NAME=text", NULL-terminated. */
static const char *const *build_env(const task_build *t)
{
    const cq_value *value = get(t, CQ_K_TASK_ENV);
    const char **env = cq_build_take(t->all, value->count + 1, sizeof *env);

    for (size_t i = 0; env && i < value->count; i++) {
        const cq_pair *pair = &value->pairs[i];
        size_t size = strlen(pair->name) + strlen(pair->text) + 2;
        char *line = cq_build_take(t->all, size, 1);

        if (!line)
            return NULL;
        snprintf(line, size, "%s=%s", pair->name, pair->text);
        env[i] = line;
    }
    return env;
}

/* "USER:GROUP" in two; an empty part is as if it were not there. */
static bool split_user(const task_build *t, const char **user, const char **group)
{
    const cq_value *value = get(t, CQ_K_TASK_USER);
    const char *colon = value->given ? strchr(value->text, ':') : NULL;
    size_t len = colon ? (size_t)(colon - value->text) : value->len;

    if (!value->given)
        return true;
    *user = len > 0 ? cq_build_text(t->all, "%.*s", (int)len, value->text) : NULL;
    *group = colon && colon[1] ? colon + 1 : NULL;
    return len == 0 || *user;
}

static int64_t number(const task_build *t, cq_key key)
{
    return get(t, key)->number;
}

static const cronq_command_options *build_command(const task_build *t)
{
    cronq_command_options *command;
    const char *user = NULL, *group = NULL;

    if (!get(t, CQ_K_TASK_COMMAND)->given || !split_user(t, &user, &group))
        return NULL;
    command = cq_build_take(t->all, 1, sizeof *command);
    if (!command)
        return NULL;
    *command =
        *CRONQ_COMMAND_OPTIONS(.argv = get(t, CQ_K_TASK_COMMAND)->texts,
                               .dir = get(t, CQ_K_TASK_DIR)->text, .env = build_env(t),
                               .timeout_ms = number(t, CQ_K_TASK_TIMEOUT),
                               .kill_grace_ms = number(t, CQ_K_TASK_KILL_GRACE),
                               .shell = number(t, CQ_K_TASK_SHELL) != 0, .user = user,
                               .group = group,
                               .memory_bytes = number(t, CQ_K_TASK_MEMORY) * MIB,
                               .cpu_time_s = (number(t, CQ_K_TASK_CPU) + 999) / 1000,
                               .file_bytes = number(t, CQ_K_TASK_FILE_SIZE) * MIB,
                               .process_count = number(t, CQ_K_TASK_PROCESSES),
                               .open_file_count = number(t, CQ_K_TASK_OPEN_FILES),
                               .output_bytes = (size_t)number(t, CQ_K_TASK_OUTPUT) * KIB);
    return command;
}

static const cronq_header *build_headers(const task_build *t)
{
    const cq_value *value = get(t, CQ_K_TASK_HEADERS);
    cronq_header *headers = cq_build_take(t->all, value->count + 1, sizeof *headers);

    for (size_t i = 0; headers && i < value->count; i++)
        headers[i] = (cronq_header){ value->pairs[i].name, value->pairs[i].text };
    return headers;
}

static const cronq_http_options *build_http(const task_build *t)
{
    static const char *const methods[] = { "GET", "POST", "PUT", "PATCH", "DELETE" };
    const cq_value *method = get(t, CQ_K_TASK_METHOD), *body = get(t, CQ_K_TASK_BODY);
    cronq_http_options *http;

    if (!get(t, CQ_K_TASK_URL)->given)
        return NULL;
    http = cq_build_take(t->all, 1, sizeof *http);
    if (!http)
        return NULL;
    *http =
        *CRONQ_HTTP_OPTIONS(.url = get(t, CQ_K_TASK_URL)->text,
                            .method = method->given ? methods[method->number] : NULL,
                            .headers = build_headers(t),
                            .header_count = get(t, CQ_K_TASK_HEADERS)->count,
                            .body = body->given ? body->text : NULL,
                            .secret_file = get(t, CQ_K_TASK_SECRET)->text,
                            .ca_file = get(t, CQ_K_TASK_CA)->text,
                            .allow_private = number(t, CQ_K_TASK_PRIVATE) != 0,
                            .timeout_ms = number(t, CQ_K_TASK_TIMEOUT),
                            .output_bytes = (size_t)number(t, CQ_K_TASK_OUTPUT) * KIB);
    return http;
}

/* Zero retries in C is CRONQ_NO_RETRY; 0 is the default. */
static int32_t max_retry(const task_build *t)
{
    const cq_value *own = get(t, CQ_K_TASK_MAX_RETRY);
    const cq_value *value = own->given ? own : &t->all->root->values[CQ_K_RETRY_MAX];

    if (!value->given)
        return 0;
    return value->number == 0 ? CRONQ_NO_RETRY : (int32_t)value->number;
}

static const cronq_entry_options *build_entry(const task_build *t)
{
    const cq_value *payload = get(t, CQ_K_TASK_PAYLOAD);
    cronq_entry_options *entry;
    cronq_task *task;

    if (!get(t, CQ_K_TASK_CRON)->given)
        return NULL;
    entry = cq_build_take(t->all, 1, sizeof *entry);
    task = cq_build_take(t->all, 1, sizeof *task);
    if (!entry || !task)
        return NULL;
    *task = *CRONQ_TASK(.payload = { payload->text, payload->len },
                        .queue = get(t, CQ_K_TASK_QUEUE)->text,
                        .timeout_ms = get(t, CQ_K_TASK_TIMEOUT)->number,
                        .unique_for_ms = get(t, CQ_K_TASK_UNIQUE)->number,
                        .retain_for_ms = get(t, CQ_K_TASK_RETENTION)->number,
                        .max_retry = max_retry(t));
    *entry =
        *CRONQ_ENTRY_OPTIONS(.name = get(t, CQ_K_TASK_NAME)->text,
                             .time_zone = get(t, CQ_K_TASK_ZONE)->text,
                             .overlap = get(t, CQ_K_TASK_OVERLAP)->number == OVERLAP_SKIP
                                            ? CRONQ_OVERLAP_SKIP
                                            : CRONQ_OVERLAP_ALLOW,
                             .task = task);
    return entry;
}

static void build_task(const task_build *t, cronq_config_task *out)
{
    const cq_value *pattern = get(t, CQ_K_TASK_PATTERN);
    shown path;

    check_use(t);
    check_command(t);
    check_queue(t);
    check_cron(t);
    check_unique(t);
    if (pattern->given && is_blank(pattern->text))
        cq_find_error(t->all->findings, pattern->mark, show(&path, t, CQ_K_TASK_PATTERN),
                      "is blank");
    *out = (cronq_config_task){ .struct_size = sizeof *out,
                                .pattern = pattern->text,
                                .command = build_command(t),
                                .http = build_http(t),
                                .isolation =
                                    (cronq_isolation)get(t, CQ_K_TASK_ISOLATION)->number,
                                .cron_spec = get(t, CQ_K_TASK_CRON)->text,
                                .entry = build_entry(t),
                                .line = t->section->mark.line,
                                .column = t->section->mark.column };
}

void cq_build_tasks(cq_build *build)
{
    const cq_value *tasks = &build->root->values[CQ_K_TASKS];
    cronq_config_task *out = cq_build_take(build, tasks->count, sizeof *out);

    for (size_t i = 0; out && i < tasks->count; i++) {
        task_build t = { build, tasks->sections[i], i };

        build_task(&t, &out[i]);
        check_twins(&t, tasks);
        check_entry_twins(&t, tasks);
    }
    build->content->tasks = out;
    build->content->task_count = out ? tasks->count : 0;
}
