/* SPDX-License-Identifier: MIT */
/* config.c - a YAML file as the options of the other headers.
 *
 * Invariants: everything a config holds is in its arena, which a load empties first.
 * good says that the last load found no error; only then has content anything in it. */
#include <cronq/config.h>

#include "base/error.h"
#include "config/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARENA_LIMIT_BYTES ((size_t)64 << 20)

struct cronq_config {
    cq_arena arena;
    cq_findings findings;
    cq_config_content content;
    bool good;
};

cronq_status cronq_config_new(cronq_config **out, cronq_error *err)
{
    cronq_config *config = calloc(1, sizeof *config);

    if (!config)
        return cq_fail_nomem(err);
    cq_arena_init(&config->arena, ARENA_LIMIT_BYTES);
    *out = config;
    return CRONQ_OK;
}

void cronq_config_free(cronq_config *config)
{
    if (!config)
        return;
    cq_arena_release(&config->arena);
    free(config);
}

static void start(cronq_config *config, const char *name)
{
    char *file;

    cq_arena_release(&config->arena);
    memset(&config->content, 0, sizeof config->content);
    config->good = false;
    file = cq_arena_dup(&config->arena, name, strlen(name));
    cq_findings_init(&config->findings, &config->arena, file ? file : "");
    if (!file)
        cq_find_nomem(&config->findings);
}

/* Sort what was found and tell the caller the first of it. */
static cronq_status finish(cronq_config *config, cronq_error *err)
{
    cq_findings *findings = &config->findings;
    size_t count = findings->errors.count + findings->errors.left_out;

    if (findings->status == CRONQ_ENOMEM)
        return cq_fail_nomem(err);
    cq_findings_sort(findings);
    config->good = findings->status == CRONQ_OK;
    if (config->good)
        return CRONQ_OK;
    if (count == 1)
        return cq_fail(err, findings->status, "%.480s", findings->errors.items[0].text);
    return cq_fail(err, findings->status, "%.440s (and %zu more)",
                   findings->errors.items[0].text, count - 1);
}

/* Literal passwords only: one from the environment is not in the file. */
static const cq_value *find_password(const cq_section *root)
{
    static const cq_key keys[] = { CQ_K_WORK_PASSWORD, CQ_K_WORK_SENTINEL_PASSWORD };

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const cq_value *value = &root->values[keys[i]];

        if (value->given && value->len > 0 && !value->from_environment)
            return value;
    }
    return NULL;
}

static void warn_of_mode(cronq_config *config, const cq_section *root, mode_t mode)
{
    const cq_value *password = find_password(root);

    if (password && (mode & S_IROTH))
        cq_find_warning(&config->findings, password->key_mark, "password",
                        "everyone can read this file (mode %04o): chmod o-r, or take the "
                        "password from the environment",
                        (unsigned)(mode & 07777));
}

static void read_values(cronq_config *config, cq_str text, mode_t mode)
{
    cq_build build = { NULL, &config->arena, &config->findings, &config->content };
    const cq_node *tree = cq_tree_parse(text, &config->arena, &config->findings);

    build.root = tree ? cq_values_read(tree, &config->arena, &config->findings) : NULL;
    if (!build.root)
        return;
    config->content.name = build.root->values[CQ_K_NAME].text;
    cq_build_store(&build);
    cq_build_server(&build);
    cq_build_log(&build);
    cq_build_devserver(&build);
    cq_build_telemetry(&build);
    cq_build_tasks(&build);
    warn_of_mode(config, build.root, mode);
}

/* Up to one byte more than allowed, so that too much is seen. */
static cronq_status read_all(int fd, cq_buf *out, cronq_error *err)
{
    for (;;) {
        size_t room = CQ_YAML_MAX_BYTES + 1 - out->len;
        size_t piece = room < 65536 ? room : 65536;
        char *at = cq_buf_reserve(out, piece);
        ssize_t got = at && piece ? read(fd, at, piece) : 0;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return cq_fail_errno(err, CRONQ_EIO, errno, "cannot be read");
        if (got == 0)
            return out->status == CRONQ_OK ? CRONQ_OK : cq_fail_nomem(err);
        out->len += (size_t)got;
    }
}

/* A descriptor that was handed over by name may be a pipe: its writer is there. */
static bool is_handed_over(const char *path)
{
    return strcmp(path, "/dev/stdin") == 0 || strncmp(path, "/dev/fd/", 8) == 0 ||
           strncmp(path, "/proc/self/fd/", 14) == 0;
}

/* Any other pipe would be waited for. */
static cronq_status read_file(const char *path, cq_buf *out, mode_t *mode,
                              cronq_error *err)
{
    bool any = is_handed_over(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (any ? 0 : O_NONBLOCK));
    struct stat st;
    cronq_status status;

    if (fd < 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "cannot be read");
    if (fstat(fd, &st) < 0)
        status = cq_fail_errno(err, CRONQ_EIO, errno, "cannot be read");
    else if (!any && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        status = cq_fail(err, CRONQ_EIO, "cannot be read: it is no regular file");
    else
        status = read_all(fd, out, err);
    if (!status)
        *mode = st.st_mode;
    close(fd);
    return status;
}

/* A failure to read is a fault of the file like others. */
static cronq_status fail_reading(cronq_config *config, const cronq_error *why,
                                 cronq_error *err)
{
    cq_find_error(&config->findings, (cq_mark){ 0, 0 }, NULL, "%s", why->text);
    cq_findings_sort(&config->findings);
    return cq_fail(err, why->code, "%s: %s", config->findings.file, why->text);
}

cronq_status cronq_config_load(cronq_config *config, const char *path, cronq_error *err)
{
    cronq_error why = { 0 };
    mode_t mode = 0;
    cq_buf text;
    cronq_status status;

    if (!path || !*path)
        return cq_fail(err, CRONQ_EINVAL, "config: path is empty");
    start(config, path);
    cq_buf_init(&text, CQ_YAML_MAX_BYTES + 65536);
    status = read_file(path, &text, &mode, &why);
    if (status == CRONQ_OK) {
        read_values(config, cq_buf_str(&text), mode);
        status = finish(config, err);
    } else {
        status = fail_reading(config, &why, err);
    }
    cq_buf_release(&text);
    return status;
}

cronq_status cronq_config_parse(cronq_config *config, const char *name, cronq_bytes text,
                                cronq_error *err)
{
    if (!name || (!text.data && text.len))
        return cq_fail(err, CRONQ_EINVAL, "config: %s is NULL", name ? "text" : "name");
    start(config, name);
    read_values(config, (cq_str){ text.data ? text.data : "", text.len }, 0);
    return finish(config, err);
}

static const char *at(const cq_finding_list *list, size_t index)
{
    return index < list->count ? list->items[index].text : NULL;
}

size_t cronq_config_error_count(const cronq_config *config)
{
    return config->findings.errors.count;
}

const char *cronq_config_error_at(const cronq_config *config, size_t index)
{
    return at(&config->findings.errors, index);
}

size_t cronq_config_warning_count(const cronq_config *config)
{
    return config->findings.warnings.count;
}

const char *cronq_config_warning_at(const cronq_config *config, size_t index)
{
    return at(&config->findings.warnings, index);
}

const char *cronq_config_name(const cronq_config *config)
{
    return config->good ? config->content.name : NULL;
}

const char *cronq_config_uri(const cronq_config *config)
{
    return config->good ? config->content.uri : NULL;
}

const cronq_store_options *cronq_config_store_options(const cronq_config *config)
{
    return config->good ? &config->content.store : NULL;
}

const cronq_server_options *cronq_config_server_options(const cronq_config *config)
{
    return config->good ? &config->content.server : NULL;
}

const cronq_log_file_options *cronq_config_log_options(const cronq_config *config)
{
    return config->good ? &config->content.log : NULL;
}

const cronq_devserver_options *cronq_config_devserver_options(const cronq_config *config)
{
    const cq_config_content *content = &config->content;

    return config->good && content->has_devserver ? &content->devserver : NULL;
}

bool cronq_config_has_metrics(const cronq_config *config)
{
    return cronq_config_devserver_options(config) && config->content.has_metrics;
}

const cronq_command_options *cronq_config_notice_command(const cronq_config *config)
{
    return config->good ? config->content.notice_command : NULL;
}

const cronq_http_options *cronq_config_notice_http(const cronq_config *config)
{
    return config->good ? config->content.notice_http : NULL;
}

const cronq_config_telemetry *cronq_config_get_telemetry(const cronq_config *config)
{
    const cq_config_content *content = &config->content;

    return config->good && content->has_telemetry ? &content->telemetry : NULL;
}

size_t cronq_config_task_count(const cronq_config *config)
{
    return config->good ? config->content.task_count : 0;
}

const cronq_config_task *cronq_config_task_at(const cronq_config *config, size_t index)
{
    return index < cronq_config_task_count(config) ? &config->content.tasks[index] : NULL;
}
