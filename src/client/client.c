/* SPDX-License-Identifier: MIT */
/* client.c - putting tasks into queues. */
#include "client/client.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/options.h"
#include "client/internal.h"
#include "codec/key.h"

#include <stdlib.h>

#define MANY_AT_ONCE CQ_BATCH_LIMIT

/* ---- its life ---- */

static cronq_status check_options(const cronq_client_options *options, cronq_error *err)
{
    if (options->payload_limit_bytes > CQ_MESSAGE_LIMIT_BYTES)
        return cq_fail(err, CRONQ_EINVAL, "payload_limit_bytes is %zu; at most %zu",
                       options->payload_limit_bytes, CQ_MESSAGE_LIMIT_BYTES);
    if (options->push_timeout_ms < CRONQ_NEVER)
        return cq_fail(err, CRONQ_EINVAL,
                       "push_timeout_ms is %lld; it must not be negative, but for "
                       "CRONQ_NEVER",
                       (long long)options->push_timeout_ms);
    return CRONQ_OK;
}

/* The broker stays the caller's when this fails. */
static cronq_status new_on(cq_broker *broker, bool owns_broker,
                           const cronq_client_options *options, cronq_client **out,
                           cronq_error *err)
{
    cronq_client *client = calloc(1, sizeof *client);
    cronq_status status;

    if (!client)
        return cq_fail_nomem(err);
    status =
        cq_sender_new(broker, &options->logger, options->metrics, &client->sender, err);
    if (status) {
        free(client);
        return status;
    }
    client->broker = broker;
    client->owns_broker = owns_broker;
    client->metrics = options->metrics;
    client->tracer = options->tracer;
    client->payload_limit_bytes = options->payload_limit_bytes
                                      ? options->payload_limit_bytes
                                      : CQ_PAYLOAD_BYTES_DEFAULT;
    client->push_timeout_ms =
        options->push_timeout_ms ? options->push_timeout_ms : CQ_PUSH_TIMEOUT_MS;
    pthread_mutex_init(&client->random_mutex, NULL);
    cq_random_init(&client->random);
    *out = client;
    return CRONQ_OK;
}

cronq_status cq_client_new_on(cq_broker *broker, const cronq_client_options *options,
                              cronq_client **out, cronq_error *err)
{
    cronq_client_options copy;
    cronq_status status;

    status = cq_options_copy(&copy, sizeof copy, options, "cronq_client_options", err);
    if (!status)
        status = check_options(&copy, err);
    return status ? status : new_on(broker, false, &copy, out, err);
}

cronq_status cronq_client_new(const char *uri, const cronq_client_options *options,
                              cronq_client **out, cronq_error *err)
{
    cq_broker_options broker_options = { .uri = uri };
    cronq_client_options copy;
    cronq_client *client;
    cq_broker *broker;
    cronq_status status;

    if (!uri)
        return cq_fail(err, CRONQ_EINVAL, "the URI of the store is NULL");
    status = cq_options_copy(&copy, sizeof copy, options, "cronq_client_options", err);
    if (!status)
        status = check_options(&copy, err);
    if (status)
        return status;
    broker_options.store = copy.store;
    broker_options.logger = copy.logger;
    status = cq_broker_open(&broker_options, &broker, err);
    if (status)
        return status;
    status = new_on(broker, true, &copy, &client, err);
    if (status) {
        broker->ops->free(broker);
        return status;
    }
    status = cq_metrics_add_source(copy.metrics, cq_client_tell, client, err);
    if (status)
        cronq_client_free(client);
    else
        *out = client;
    return status;
}

void cronq_client_free(cronq_client *client)
{
    if (!client)
        return;
    cq_metrics_remove_source(client->metrics, cq_client_tell, client);
    cq_sender_free(client->sender);
    if (client->owns_broker)
        client->broker->ops->free(client->broker);
    pthread_mutex_destroy(&client->random_mutex);
    free(client);
}

cronq_status cronq_client_ping(cronq_client *client, cronq_error *err)
{
    if (!client)
        return cq_fail(err, CRONQ_EINVAL, "client is NULL");
    return client->broker->ops->ping(client->broker, err);
}

/* ---- preparing ---- */

static bool wants_ordered_ids(const cronq_client *client)
{
    return strcmp(client->broker->ops->name, "sqlite") == 0;
}

/* Ids in the order of time keep the index of an embedded store together. */
static void make_id(cronq_client *client, int64_t now_ns, char out[CQ_UUID_LEN + 1])
{
    pthread_mutex_lock(&client->random_mutex);
    if (wants_ordered_ids(client))
        cq_uuid7(&client->random, now_ns / CQ_NS_PER_MS, out);
    else
        cq_uuid4(&client->random, out);
    pthread_mutex_unlock(&client->random_mutex);
}

static cronq_status prepare_at(cronq_client *client, const cronq_task *task,
                               const cq_ask *ask, bool want_info, int64_t now_ns,
                               cq_prepared *out, cronq_error *err)
{
    char id[CQ_UUID_LEN + 1];
    cq_prepare_rules rules = {
        .payload_limit_bytes = client->payload_limit_bytes,
        .now_ns = now_ns,
        .new_id = id,
        .want_info = want_info,
        .tracer = client->tracer,
    };

    make_id(client, now_ns, id);
    return cq_prepare(task, ask, &rules, out, err);
}

cronq_status cq_client_prepare(cronq_client *client, const cronq_task *task,
                               const cq_ask *ask, bool want_info, cq_prepared *out,
                               cronq_error *err)
{
    return prepare_at(client, task, ask, want_info,
                      client->broker->ops->now_ns(client->broker), out, err);
}

/* ---- saying what happened ---- */

/* The sentence about an item that was not stored. why is about the store. */
cronq_status cq_client_explain(const cq_prepared *item, const cronq_error *why,
                               cronq_error *err)
{
    const cq_push *push = &item->push;
    cronq_status status = push->status;
    cq_buf text;

    cq_buf_init(&text, 4096);
    cq_quote_value(&text, status == CRONQ_EDUP ? cq_str_of(item->task.type) : push->id);
    cq_buf_append_text(&text, " in queue ");
    cq_quote_value(&text, push->queue);
    if (status == CRONQ_EEXIST)
        cq_fail(err, status, "there is a task with the id %.*s already",
                CQ_FMT(cq_buf_str(&text)));
    else if (status == CRONQ_EDUP && push->tick_entry.len)
        cq_fail(err, status, "the tick %lld was pushed already, or a task equal to %.*s",
                (long long)push->tick_at_s, CQ_FMT(cq_buf_str(&text)));
    else if (status == CRONQ_EDUP)
        cq_fail(err, status, "a task equal to this one of type %.*s holds the lock",
                CQ_FMT(cq_buf_str(&text)));
    else if (status == CRONQ_EIO)
        cq_fail(err, status, "task %.*s %s: %s", CQ_FMT(cq_buf_str(&text)),
                push->again ? "may or may not have been stored" : "was not stored",
                why->text);
    else
        cq_fail(err, status, "task %.*s was not stored: %s", CQ_FMT(cq_buf_str(&text)),
                why->code == status ? why->text : cronq_status_text(status));
    cq_buf_release(&text);
    return status;
}

/* ---- pushing ---- */

cronq_status cq_client_push_one(cronq_client *client, const cronq_task *task,
                                const cq_ask *ask, cronq_task_info **info,
                                cronq_error *err)
{
    cronq_error why = { 0 };
    cq_prepared item;
    cronq_status status;
    int64_t begun_ns;

    if (!client)
        return cq_fail(err, CRONQ_EINVAL, "client is NULL");
    begun_ns = cq_mono_ns();
    status = cq_client_prepare(client, task, ask, info, &item, err);
    if (!status) {
        (void)cq_sender_push(client->sender, &item, 1, client->push_timeout_ms, &why);
        cq_client_measure(client, &item, cq_mono_ns() - begun_ns);
        cq_client_trace(client, &item);
        status = item.push.status ? cq_client_explain(&item, &why, err) : CRONQ_OK;
        if (!status && info)
            *info = cq_prepared_take_info(&item);
    }
    cq_prepared_release(&item);
    return status;
}

cronq_status cronq_client_push(cronq_client *client, const cronq_task *task,
                               cronq_task_info **info, cronq_error *err)
{
    return cq_client_push_one(client, task, &(cq_ask){ 0 }, info, err);
}

cronq_status cronq_client_push_in(cronq_client *client, const cronq_task *task,
                                  int64_t delay_ms, cronq_task_info **info,
                                  cronq_error *err)
{
    cq_ask ask = { .when = CQ_WHEN_IN, .when_ms = delay_ms };

    return cq_client_push_one(client, task, &ask, info, err);
}

cronq_status cronq_client_push_at(cronq_client *client, const cronq_task *task,
                                  int64_t at_ms, cronq_task_info **info, cronq_error *err)
{
    cq_ask ask = { .when = CQ_WHEN_AT, .when_ms = at_ms };

    return cq_client_push_one(client, task, &ask, info, err);
}

/* By this machine's clock: the store's would need a connection, and a process that has
 * one can not be supervised. */
cronq_status cq_client_check(cronq_client *client, const cronq_task *task,
                             cronq_error *err)
{
    cq_prepared item;
    cronq_status status =
        prepare_at(client, task, &(cq_ask){ 0 }, false, cq_wall_ns(), &item, err);

    cq_prepared_release(&item);
    return status;
}

/* ---- pushing many ---- */

/* Tasks on their way, and where their answers go. */
typedef struct bulk {
    cronq_client *client;
    const cronq_task *const *tasks; /* or else: */
    cq_tick *ticks;
    size_t task_count;
    cronq_status *statuses;  /* may be NULL */
    cronq_task_info **infos; /* may be NULL */
    cq_prepared *items;      /* of the batch under way */
    cronq_error wrong;       /* about the first of them that cannot be pushed */
    cronq_error store;       /* what was wrong with it, last time */
    cronq_status failed;     /* the store did not answer */
    cronq_status first;      /* the first status that is not OK, reported in err */
    cronq_error *err;
} bulk;

static cronq_status prepare_one(bulk *all, size_t index, cq_prepared *item)
{
    cq_ask ask = { 0 };
    cq_tick *tick;

    if (!all->ticks)
        return cq_client_prepare(all->client, all->tasks[index], &ask, all->infos, item,
                                 all->wrong.code ? NULL : &all->wrong);
    tick = &all->ticks[index];
    ask.tick_entry = tick->entry_id;
    ask.tick_at_s = tick->at_s;
    ask.skip_overlap = tick->skip_overlap;
    return cq_client_prepare(all->client, tick->task, &ask, true, item, &tick->result);
}

/* Prepares tasks from first on until a batch is full; those that are wrong are settled.
 * Returns how many. */
static size_t prepare_batch(bulk *all, size_t first)
{
    size_t bytes = 0, count = 0;

    all->wrong = (cronq_error){ 0 };
    while (first + count < all->task_count && count < MANY_AT_ONCE) {
        cq_prepared *item = &all->items[count];
        cronq_status status = prepare_one(all, first + count, item);

        item->settled = status != CRONQ_OK;
        item->push.status = status;
        bytes += item->push.message.len;
        if (count && bytes > CQ_BATCH_LIMIT_BYTES) {
            cq_prepared_release(item);
            break;
        }
        count++;
    }
    return count;
}

/* Once the store did not answer, what follows is not even tried. */
static void send_batch(bulk *all, size_t count)
{
    if (!all->failed)
        all->failed = cq_sender_push(all->client->sender, all->items, count,
                                     all->client->push_timeout_ms, &all->store);
    for (size_t i = 0; i < count; i++)
        if (!all->items[i].settled)
            all->items[i].push.status = all->failed;
}

static void answer_tick(bulk *all, size_t index, cq_prepared *item, bool wrong)
{
    cq_tick *tick = &all->ticks[index];

    if (wrong)
        return;
    if (item->push.status)
        cq_client_explain(item, &all->store, &tick->result);
    else
        tick->info = cq_prepared_take_info(item);
}

static void answer_task(bulk *all, size_t index, cq_prepared *item, bool wrong)
{
    cronq_status status = item->push.status;
    cronq_error why = all->wrong;

    if (status && !wrong)
        cq_client_explain(item, &all->store, &why);
    if (!status && all->infos)
        all->infos[index] = cq_prepared_take_info(item);
    if (all->statuses)
        all->statuses[index] = status;
    if (!status || all->first)
        return;
    all->first = status;
    cq_fail(all->err, status, "task %zu: %s", index, why.text);
}

/* Returns how many tasks from first on were dealt with. */
static size_t push_batch(bulk *all, size_t first)
{
    bool wrong[MANY_AT_ONCE];
    int64_t begun_ns = cq_mono_ns(), took_ns;
    size_t count = prepare_batch(all, first);

    for (size_t i = 0; i < count; i++)
        wrong[i] = all->items[i].settled;
    send_batch(all, count);
    took_ns = cq_mono_ns() - begun_ns;
    for (size_t i = 0; i < count; i++) {
        if (!wrong[i]) {
            cq_client_measure(all->client, &all->items[i], took_ns);
            cq_client_trace(all->client, &all->items[i]);
        }
        if (all->ticks)
            answer_tick(all, first + i, &all->items[i], wrong[i]);
        else
            answer_task(all, first + i, &all->items[i], wrong[i]);
        cq_prepared_release(&all->items[i]);
    }
    return count;
}

static cronq_status push_all(bulk *all)
{
    size_t room = all->task_count < MANY_AT_ONCE ? all->task_count + 1 : MANY_AT_ONCE;

    all->items = calloc(room, sizeof *all->items);
    if (!all->items)
        return cq_fail_nomem(all->err);
    for (size_t first = 0; first < all->task_count;)
        first += push_batch(all, first);
    free(all->items);
    return all->first;
}

cronq_status cronq_client_push_many(cronq_client *client, const cronq_task *const *tasks,
                                    size_t task_count, cronq_status *statuses,
                                    cronq_task_info **infos, cronq_error *err)
{
    bulk all = { .client = client,
                 .tasks = tasks,
                 .task_count = task_count,
                 .statuses = statuses,
                 .infos = infos,
                 .err = err };

    if (!client)
        return cq_fail(err, CRONQ_EINVAL, "client is NULL");
    if (!tasks && task_count)
        return cq_fail(err, CRONQ_EINVAL, "tasks is NULL but task_count is %zu",
                       task_count);
    for (size_t i = 0; i < task_count; i++) {
        if (statuses)
            statuses[i] = CRONQ_ENOMEM;
        if (infos)
            infos[i] = NULL;
    }
    return push_all(&all);
}

void cq_client_push_ticks(cronq_client *client, cq_tick *ticks, size_t count)
{
    cronq_error why = { 0 };
    bulk all = { .client = client, .ticks = ticks, .task_count = count, .err = &why };

    for (size_t i = 0; i < count; i++) {
        ticks[i].info = NULL;
        ticks[i].result = (cronq_error){ 0 };
    }
    push_all(&all);
    for (size_t i = 0; i < count && why.code; i++)
        ticks[i].result = why;
}
