/* SPDX-License-Identifier: MIT */
/* registry.c - a registry: its cells, the types it knows, and who is asked when it is
 * read. */
#include "base/error.h"
#include "base/utf8.h"
#include "obs/metrics.h"

#include <stdlib.h>
#include <unistd.h>

#define SHARDS_LIMIT     16
#define TYPE_LIMIT_BYTES 256
#define SOURCES_LIMIT    1000
#define WATCHED_LIMIT    1000
#define QUEUES_LIMIT     10000

/* ---- cells ---- */

static uint32_t choose_shards(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t count = 1;

    while (count < SHARDS_LIMIT && (long)count < cpus)
        count *= 2;
    return count;
}

static void *make_shards(const cronq_metrics *metrics, size_t size)
{
    size_t bytes = (metrics->shard_mask + 1) * size;
    void *shards = aligned_alloc(CQ_CACHE_LINE, bytes);

    if (shards)
        memset(shards, 0, bytes);
    return shards;
}

static cronq_status init_type(const cronq_metrics *metrics, cq_type *type, cq_str name,
                              uint64_t hash)
{
    type->hash = hash;
    type->len = name.len;
    type->name = strndup(name.data, name.len);
    type->shards = make_shards(metrics, sizeof *type->shards);
    return type->name && type->shards ? CRONQ_OK : CRONQ_ENOMEM;
}

static void release_type(cq_type *type)
{
    free(type->name);
    free(type->shards);
}

/* ---- types ---- */

/* FNV-1a. */
static uint64_t hash_of(cq_str text)
{
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * 1099511628211u;
    return hash ^ (hash >> 32);
}

/* The type, or NULL; *slot is where it is or could be. */
static cq_type *find(cronq_metrics *metrics, cq_str name, uint64_t hash, size_t *slot)
{
    cq_type *type;

    for (size_t at = hash % CQ_TYPE_SLOTS;; at = (at + 1) % CQ_TYPE_SLOTS) {
        *slot = at;
        type = atomic_load_explicit(&metrics->slots[at], memory_order_acquire);
        if (!type || (type->hash == hash && type->len == name.len &&
                      memcmp(type->name, name.data, name.len) == 0))
            return type;
    }
}

static cq_type *add(cronq_metrics *metrics, cq_str name, uint64_t hash)
{
    cq_type *type;
    size_t slot, count;

    pthread_mutex_lock(&metrics->types_mutex);
    type = find(metrics, name, hash, &slot);
    count = atomic_load(&metrics->type_count);
    if (!type && count < CQ_TYPES_LIMIT && (type = calloc(1, sizeof *type))) {
        if (init_type(metrics, type, name, hash)) {
            release_type(type);
            free(type);
            type = NULL;
        } else {
            atomic_store(&metrics->types[count], type);
            atomic_store_explicit(&metrics->slots[slot], type, memory_order_release);
            atomic_store(&metrics->type_count, count + 1);
        }
    }
    pthread_mutex_unlock(&metrics->types_mutex);
    return type ? type : &metrics->other;
}

/* As a label, and unlike any other. */
static bool can_be_shown(cq_str name)
{
    return cq_utf8_valid(name.data, name.len) && !memchr(name.data, '\0', name.len);
}

cq_type *cq_metrics_type(cronq_metrics *metrics, cq_str name)
{
    uint64_t hash;
    cq_type *type;
    size_t slot;

    if (!metrics)
        return NULL;
    if (name.len == 0 || name.len > TYPE_LIMIT_BYTES)
        return &metrics->other;
    hash = hash_of(name);
    type = find(metrics, name, hash, &slot);
    if (type)
        return type;
    if (atomic_load_explicit(&metrics->type_count, memory_order_relaxed) ==
            CQ_TYPES_LIMIT ||
        !can_be_shown(name))
        return &metrics->other;
    return add(metrics, name, hash);
}

/* ---- life ---- */

cronq_status cronq_metrics_new(cronq_metrics **out, cronq_error *err)
{
    cronq_metrics *metrics = calloc(1, sizeof *metrics);

    if (!metrics)
        return cq_fail_nomem(err);
    pthread_mutex_init(&metrics->types_mutex, NULL);
    pthread_mutex_init(&metrics->mutex, NULL);
    metrics->shard_mask = choose_shards() - 1;
    metrics->common = make_shards(metrics, sizeof *metrics->common);
    if (!metrics->common ||
        init_type(metrics, &metrics->other, CQ_STR("other"), hash_of(CQ_STR("other")))) {
        cronq_metrics_free(metrics);
        return cq_fail_nomem(err);
    }
    /* A type of that name is counted there too: no series twice. */
    atomic_store(&metrics->slots[metrics->other.hash % CQ_TYPE_SLOTS], &metrics->other);
    *out = metrics;
    return CRONQ_OK;
}

static void release_watched(cq_watched *watched)
{
    free(watched->name);
    free(watched->help);
}

void cronq_metrics_free(cronq_metrics *metrics)
{
    if (!metrics)
        return;
    for (size_t i = 0; i < atomic_load(&metrics->type_count); i++) {
        cq_type *type = atomic_load(&metrics->types[i]);

        release_type(type);
        free(type);
    }
    for (size_t i = 0; i < metrics->watched_count; i++)
        release_watched(&metrics->watched[i]);
    release_type(&metrics->other);
    pthread_mutex_destroy(&metrics->types_mutex);
    pthread_mutex_destroy(&metrics->mutex);
    free(metrics->watched);
    free(metrics->sources);
    free(metrics->common);
    free(metrics);
}

/* ---- sources ---- */

cronq_status cq_metrics_add_source(cronq_metrics *metrics, cq_source_fn *source,
                                   void *arg, cronq_error *err)
{
    cronq_status status = CRONQ_OK;
    cq_source *grown;

    if (!metrics)
        return CRONQ_OK;
    pthread_mutex_lock(&metrics->mutex);
    if (metrics->source_count == SOURCES_LIMIT)
        status = cq_fail(err, CRONQ_ETOOBIG,
                         "metrics: %d servers and clients use this registry already",
                         SOURCES_LIMIT);
    grown = status ? NULL
                   : realloc(metrics->sources,
                             (metrics->source_count + 1) * sizeof *metrics->sources);
    if (grown) {
        metrics->sources = grown;
        grown[metrics->source_count++] = (cq_source){ source, arg };
    } else if (!status) {
        status = cq_fail_nomem(err);
    }
    pthread_mutex_unlock(&metrics->mutex);
    return status;
}

void cq_metrics_remove_source(cronq_metrics *metrics, cq_source_fn *source, void *arg)
{
    size_t kept = 0;

    if (!metrics)
        return;
    pthread_mutex_lock(&metrics->mutex);
    for (size_t i = 0; i < metrics->source_count; i++)
        if (metrics->sources[i].collect != source || metrics->sources[i].arg != arg)
            metrics->sources[kept++] = metrics->sources[i];
    metrics->source_count = kept;
    pthread_mutex_unlock(&metrics->mutex);
}

void cq_collection_queue(cq_collection *out, const char *name,
                         const double values[CQ_QUEUE_VALUES])
{
    for (size_t i = 0; i < out->queue_count; i++)
        if (strcmp(out->queues[i].name, name) == 0)
            return;
    if (out->queue_count == out->queue_room) {
        size_t room = out->queue_room ? out->queue_room * 2 : 16;
        cq_told_queue *grown =
            room > QUEUES_LIMIT ? NULL : realloc(out->queues, room * sizeof *grown);

        if (!grown)
            return;
        out->queues = grown;
        out->queue_room = room;
    }
    out->queues[out->queue_count].name = name;
    memcpy(out->queues[out->queue_count++].values, values,
           CQ_QUEUE_VALUES * sizeof values[0]);
}

void cq_collection_tell(cq_collection *out, cq_told what, double value)
{
    if (what == CQ_TOLD_STORE_UP && out->is_told[what] && out->told[what] < value)
        value = out->told[what];
    else if (what != CQ_TOLD_STORE_UP)
        value += out->told[what];
    out->told[what] = value;
    out->is_told[what] = true;
}

/* ---- metrics of the program's own ---- */

static bool is_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:"
                              "0123456789");

    return len && name[len] == '\0' && !(*name >= '0' && *name <= '9');
}

static bool is_known(const cronq_metrics *metrics, const char *name)
{
    const char *known;

    for (size_t i = 0; (known = cq_family_name(i)); i++)
        if (strcmp(known, name) == 0)
            return true;
    for (size_t i = 0; i < metrics->watched_count; i++)
        if (strcmp(metrics->watched[i].name, name) == 0)
            return true;
    return false;
}

static cronq_status check_watched(const cronq_metrics *metrics, const char *name,
                                  cronq_metric_kind kind, cronq_error *err)
{
    size_t len = strlen(name);
    bool total = len > 6 && strcmp(name + len - 6, "_total") == 0;

    if (!is_name(name) || len > 200)
        return cq_fail(err, CRONQ_EINVAL, "metric %.200s: not a name for Prometheus",
                       name);
    if (kind != CRONQ_METRIC_COUNTER && kind != CRONQ_METRIC_GAUGE)
        return cq_fail(err, CRONQ_EINVAL, "metric %s: neither a counter nor a gauge",
                       name);
    if (kind == CRONQ_METRIC_COUNTER && !total)
        return cq_fail(err, CRONQ_EINVAL, "metric %s: a counter must end with _total",
                       name);
    if (is_known(metrics, name))
        return cq_fail(err, CRONQ_EEXIST, "metric %s: there is one already", name);
    if (metrics->watched_count == WATCHED_LIMIT)
        return cq_fail(err, CRONQ_ETOOBIG, "metric %s: %d are watched already", name,
                       WATCHED_LIMIT);
    return CRONQ_OK;
}

static cronq_status append_watched(cronq_metrics *metrics, const cq_watched *watched,
                                   cronq_error *err)
{
    size_t count = metrics->watched_count;
    cq_watched *grown = NULL;

    if (watched->name && watched->help)
        grown = realloc(metrics->watched, (count + 1) * sizeof *grown);
    if (!grown)
        return cq_fail_nomem(err);
    metrics->watched = grown;
    grown[metrics->watched_count++] = *watched;
    return CRONQ_OK;
}

cronq_status cronq_metrics_watch(cronq_metrics *metrics, const char *name,
                                 const char *help, cronq_metric_kind kind,
                                 cronq_metric_read_fn *read, void *arg, cronq_error *err)
{
    cq_watched watched = { .kind = kind, .read = read, .arg = arg };
    cronq_status status;

    if (!metrics || !name || !read)
        return cq_fail(err, CRONQ_EINVAL, "%s is NULL",
                       !metrics ? "metrics"
                       : !name  ? "name"
                                : "read");
    pthread_mutex_lock(&metrics->mutex);
    status = check_watched(metrics, name, kind, err);
    if (!status) {
        watched.name = strdup(name);
        watched.help = strdup(help ? help : "");
        status = append_watched(metrics, &watched, err);
        if (status)
            release_watched(&watched);
    }
    pthread_mutex_unlock(&metrics->mutex);
    return status;
}

void cronq_metrics_unwatch(cronq_metrics *metrics, const char *name)
{
    if (!metrics || !name)
        return;
    pthread_mutex_lock(&metrics->mutex);
    for (size_t i = 0; i < metrics->watched_count; i++) {
        if (strcmp(metrics->watched[i].name, name) != 0)
            continue;
        release_watched(&metrics->watched[i]);
        metrics->watched[i] = metrics->watched[--metrics->watched_count];
    }
    pthread_mutex_unlock(&metrics->mutex);
}

/* ---- reading ---- */

static void each_watched(cronq_metrics *metrics, cronq_metric_fn *visit, void *arg)
{
    for (size_t i = 0; i < metrics->watched_count; i++) {
        const cq_watched *watched = &metrics->watched[i];
        cronq_metric_sample sample = { .struct_size = sizeof sample,
                                       .name = watched->name,
                                       .help = watched->help,
                                       .kind = watched->kind,
                                       .suffix = "",
                                       .value = watched->read(watched->arg) };

        visit(arg, &sample);
    }
}

cronq_status cronq_metrics_each(cronq_metrics *metrics, cronq_metric_fn *visit, void *arg,
                                cronq_error *err)
{
    cq_collection collection = { 0 };

    if (!metrics || !visit)
        return cq_fail(err, CRONQ_EINVAL, "%s is NULL", metrics ? "visit" : "metrics");
    pthread_mutex_lock(&metrics->mutex);
    for (size_t i = 0; i < metrics->source_count; i++)
        metrics->sources[i].collect(metrics->sources[i].arg, &collection);
    cq_families_each(metrics, &collection, visit, arg);
    each_watched(metrics, visit, arg);
    pthread_mutex_unlock(&metrics->mutex);
    free(collection.queues);
    return CRONQ_OK;
}
