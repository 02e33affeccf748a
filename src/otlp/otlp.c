/* SPDX-License-Identifier: MIT */
/* otlp.c - the queue of spans, and the thread that sends them.
 *
 * Invariants: pending holds pending_count encoded spans, both within their limits, under
 * the mutex. The thread swaps it with sending, which is its own. taken_count counts what
 * was put into pending, settled_count what was sent or given up after that. */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "base/random.h"
#include "base/thread.h"
#include "otlp/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define COUNT_LIMIT          1000000
#define SPAN_LIMIT_BYTES     ((size_t)1 << 20)
#define RESOURCE_LIMIT_COUNT 128
#define RESOURCE_LIMIT_BYTES ((size_t)1 << 20)
#define HEAD_ROOM_BYTES      ((size_t)4096)
#define TIME_LIMIT_MS        ((int64_t)24 * 3600 * 1000)
#define TRY_LIMIT_COUNT      6
#define FIRST_WAIT_MS        1000
#define LONGEST_WAIT_MS      30000
#define LONGEST_ASKED_MS     300000 /* by Retry-After */
#define TELL_PERIOD_MS       60000

struct cronq_otlp {
    cronq_logger logger;
    const cq_otlp_encoder *encoder;
    cronq_otlp_options options; /* the numbers of it; what it points to is gone */
    cq_buf resource;
    cq_http *http; /* or else: */
    int fd;
    pthread_t thread;
    bool thread_runs;

    pthread_mutex_t mutex;
    pthread_cond_t wanted, settled;
    cq_buf pending;
    _Atomic uint32_t pending_count; /* written under the mutex */
    uint64_t taken_count, settled_count;
    bool hurry;              /* somebody waits in a flush */
    atomic_bool stopping;    /* set under the mutex */
    _Atomic int64_t stop_ms; /* monotonic: when sending must end */

    /* The thread's. */
    cq_buf sending, request;
    cq_random random;
    bool failing;
    int64_t told_at_ms;
    uint64_t told_count;

    _Atomic uint64_t sent_count, dropped_count;
};

/* ---- taking spans ---- */

static bool is_full(const cronq_otlp *otlp)
{
    return atomic_load_explicit(&otlp->pending_count, memory_order_relaxed) >=
           otlp->options.queue_limit_count;
}

static void *run(void *arg);

/* With the mutex held. Not before the first span: a process that has only made one may
 * still be forked. */
static bool has_thread(cronq_otlp *otlp)
{
    if (!otlp->thread_runs)
        otlp->thread_runs =
            cq_thread_start(&otlp->thread, "cronq-otlp", run, otlp, NULL) == CRONQ_OK;
    return otlp->thread_runs;
}

/* With the mutex held. */
static bool take(cronq_otlp *otlp, const cq_buf *span)
{
    if (is_full(otlp) ||
        otlp->pending.len + span->len > otlp->options.queue_limit_bytes ||
        atomic_load(&otlp->stopping) || !has_thread(otlp))
        return false;
    cq_buf_append(&otlp->pending, span->data, span->len);
    if (otlp->pending.status) {
        otlp->pending.status = CRONQ_OK;
        return false;
    }
    otlp->taken_count++;
    if (++otlp->pending_count == otlp->options.batch_count)
        pthread_cond_signal(&otlp->wanted);
    return true;
}

void cronq_otlp_write(void *arg, const cronq_span_record *span)
{
    cronq_otlp *otlp = arg;
    bool taken = false;
    cq_buf encoded;

    if (!otlp || !span)
        return;
    if (!is_full(otlp)) {
        cq_buf_init(&encoded, SPAN_LIMIT_BYTES);
        otlp->encoder->span(&encoded, span);
        if (encoded.status == CRONQ_OK) {
            pthread_mutex_lock(&otlp->mutex);
            taken = take(otlp, &encoded);
            pthread_mutex_unlock(&otlp->mutex);
        }
        cq_buf_release(&encoded);
    }
    if (!taken)
        atomic_fetch_add(&otlp->dropped_count, 1);
}

/* ---- sending ---- */

static bool is_over(void *arg)
{
    cronq_otlp *otlp = arg;

    return atomic_load(&otlp->stopping) && cq_mono_ms() >= atomic_load(&otlp->stop_ms);
}

/* Of a line that was cut short nothing is left behind, or the next would be wrong too. */
static cq_sent append_to_file(cronq_otlp *otlp, cronq_error *err)
{
    const char *from = otlp->request.data;
    size_t left = otlp->request.len;
    off_t end = lseek(otlp->fd, 0, SEEK_END);

    while (left) {
        ssize_t written = write(otlp->fd, from, left);
        int code = errno;

        if (written < 0 && code == EINTR)
            continue;
        if (written <= 0) {
            if (end >= 0 && ftruncate(otlp->fd, end) != 0)
                code = errno;
            cq_fail_errno(err, CRONQ_EIO, code, "cannot write to the file");
            return CQ_SENT_NEVER;
        }
        from += written;
        left -= (size_t)written;
    }
    return CQ_SENT;
}

/* False when there is no time left. */
static bool pause_ms(cronq_otlp *otlp, int64_t ms)
{
    int64_t until_ns = cq_mono_ns() + ms * CQ_NS_PER_MS;

    pthread_mutex_lock(&otlp->mutex);
    while (!atomic_load(&otlp->stopping) && cq_mono_ns() < until_ns)
        cq_cond_wait_until(&otlp->wanted, &otlp->mutex, until_ns);
    pthread_mutex_unlock(&otlp->mutex);
    return !is_over(otlp);
}

static int64_t next_wait_ms(cronq_otlp *otlp, int try, int64_t asked_ms)
{
    int64_t ms = (int64_t)FIRST_WAIT_MS << try;

    ms = ms / 2 + (int64_t)cq_random_below(&otlp->random, (uint64_t)ms / 2 + 1);
    if (ms > LONGEST_WAIT_MS)
        ms = LONGEST_WAIT_MS;
    if (asked_ms > LONGEST_ASKED_MS)
        asked_ms = LONGEST_ASKED_MS;
    return asked_ms > ms ? asked_ms : ms;
}

static cq_sent try_once(cronq_otlp *otlp, int64_t *wait_ms, cronq_error *err)
{
    cq_str body = cq_buf_str(&otlp->request);

    if (!otlp->http)
        return append_to_file(otlp, err);
    return cq_http_post(otlp->http, body, otlp->options.timeout_ms, is_over, otlp,
                        wait_ms, err);
}

static bool send_request(cronq_otlp *otlp)
{
    bool last = false;

    for (int try = 0; try < TRY_LIMIT_COUNT && !last; try++) {
        int64_t wait_ms = 0;
        cronq_error err = { 0 };
        cq_sent sent;

        last = atomic_load(&otlp->stopping);
        sent = try_once(otlp, &wait_ms, &err);
        if (sent == CQ_SENT)
            return true;
        if (!otlp->failing)
            CQ_WARN(&otlp->logger, "spans cannot be sent: %s", err.text);
        otlp->failing = true;
        if (sent == CQ_SENT_NEVER || last || try + 1 == TRY_LIMIT_COUNT ||
            !pause_ms(otlp, next_wait_ms(otlp, try, wait_ms)))
            return false;
    }
    return false;
}

static void tell(cronq_otlp *otlp)
{
    uint64_t dropped = atomic_load(&otlp->dropped_count);

    if (dropped == otlp->told_count ||
        (otlp->told_at_ms && cq_mono_ms() - otlp->told_at_ms < TELL_PERIOD_MS))
        return;
    CQ_WARN(&otlp->logger, "%llu spans were lost",
            (unsigned long long)(dropped - otlp->told_count));
    otlp->told_count = dropped;
    otlp->told_at_ms = cq_mono_ms();
}

static void send_batch(cronq_otlp *otlp, uint32_t count)
{
    bool sent;

    cq_buf_reset(&otlp->request);
    otlp->encoder->request(&otlp->request, cq_buf_str(&otlp->resource),
                           cq_buf_str(&otlp->sending));
    if (!otlp->http)
        cq_buf_append_char(&otlp->request, '\n');
    sent = otlp->request.status == CRONQ_OK && send_request(otlp);
    if (sent && otlp->failing) {
        CQ_INFO(&otlp->logger, "spans are sent again");
        otlp->failing = false;
    }
    atomic_fetch_add(sent ? &otlp->sent_count : &otlp->dropped_count, count);
    tell(otlp);
}

/* With the mutex held, until there is enough, or for long enough, or no more. */
static void wait_for_spans(cronq_otlp *otlp)
{
    int64_t until_ns = cq_mono_ns() + otlp->options.delay_ms * CQ_NS_PER_MS;

    while (!atomic_load(&otlp->stopping) && !otlp->hurry &&
           otlp->pending_count < otlp->options.batch_count && cq_mono_ns() < until_ns)
        cq_cond_wait_until(&otlp->wanted, &otlp->mutex, until_ns);
    otlp->hurry = false;
}

static uint32_t swap_buffers(cronq_otlp *otlp)
{
    uint32_t count = otlp->pending_count;
    cq_buf full = otlp->pending;

    otlp->pending = otlp->sending;
    cq_buf_reset(&otlp->pending);
    otlp->sending = full;
    atomic_store(&otlp->pending_count, 0);
    return count;
}

static void *run(void *arg)
{
    cronq_otlp *otlp = arg;
    bool last = false;

    pthread_mutex_lock(&otlp->mutex);
    while (!last) {
        uint32_t count;

        wait_for_spans(otlp);
        last = atomic_load(&otlp->stopping);
        count = swap_buffers(otlp);
        if (count == 0)
            continue;
        pthread_mutex_unlock(&otlp->mutex);
        send_batch(otlp, count);
        pthread_mutex_lock(&otlp->mutex);
        otlp->settled_count += count;
        pthread_cond_broadcast(&otlp->settled);
    }
    pthread_mutex_unlock(&otlp->mutex);
    return NULL;
}

/* ---- its life ---- */

static cronq_status check_time(const char *name, int64_t *ms, int64_t standard,
                               cronq_error *err)
{
    if (*ms < 0 || *ms > TIME_LIMIT_MS)
        return cq_fail(err, CRONQ_EINVAL, "%s is %lld; from 0 (%lld) to %lld", name,
                       (long long)*ms, (long long)standard, (long long)TIME_LIMIT_MS);
    if (*ms == 0)
        *ms = standard;
    return CRONQ_OK;
}

static bool is_url(const char *url)
{
    return cq_str_starts(cq_str_of(url), CQ_STR("http://")) ||
           cq_str_starts(cq_str_of(url), CQ_STR("https://"));
}

static cronq_status check_options(cronq_otlp_options *options, cronq_error *err)
{
    if (!options->service_name || !*options->service_name)
        return cq_fail(err, CRONQ_EINVAL, "service_name is missing");
    if (!options->url == !options->path)
        return cq_fail(err, CRONQ_EINVAL, "url or path must be set, and not both");
    if (options->url && !is_url(options->url))
        return cq_fail(err, CRONQ_EINVAL,
                       "url is \"%.80s\"; it must begin with http:// or https://",
                       options->url);
    if (options->encoding != CRONQ_OTLP_PROTOBUF && options->encoding != CRONQ_OTLP_JSON)
        return cq_fail(err, CRONQ_EINVAL, "encoding is %d; it is 0 (protobuf) or 1",
                       (int)options->encoding);
    if (options->queue_limit_count > COUNT_LIMIT)
        return cq_fail(err, CRONQ_EINVAL, "queue_limit_count is %u; at most %d",
                       options->queue_limit_count, COUNT_LIMIT);
    if (options->resource_count > RESOURCE_LIMIT_COUNT)
        return cq_fail(err, CRONQ_EINVAL, "resource_count is %zu; at most %d",
                       options->resource_count, RESOURCE_LIMIT_COUNT);
    if ((options->resource_count && !options->resource) ||
        (options->header_count && !options->headers))
        return cq_fail(err, CRONQ_EINVAL, "resource or headers is NULL, its count not 0");
    if (!options->queue_limit_count)
        options->queue_limit_count = 2048;
    if (!options->batch_count)
        options->batch_count = 512;
    if (options->batch_count > options->queue_limit_count)
        options->batch_count = options->queue_limit_count;
    if (!options->queue_limit_bytes)
        options->queue_limit_bytes = (size_t)4 << 20;
    if (check_time("timeout_ms", &options->timeout_ms, 10000, err) ||
        check_time("delay_ms", &options->delay_ms, 5000, err))
        return CRONQ_EINVAL;
    return check_time("stop_timeout_ms", &options->stop_timeout_ms, 3000, err);
}

static cronq_status make_resource(cronq_otlp *otlp, const cronq_otlp_options *options,
                                  cronq_error *err)
{
    cronq_attribute attributes[RESOURCE_LIMIT_COUNT + 4] = {
        { "service.name", options->service_name, 0 },
        { "telemetry.sdk.name", "cronq", 0 },
        { "telemetry.sdk.language", "c", 0 },
        { "telemetry.sdk.version", cronq_version_string(), 0 },
    };

    for (size_t i = 0; i < options->resource_count; i++) {
        if (!options->resource[i].key || !options->resource[i].value)
            return cq_fail(err, CRONQ_EINVAL, "resource: number %zu is NULL", i);
        attributes[4 + i] =
            (cronq_attribute){ options->resource[i].key, options->resource[i].value, 0 };
    }
    cq_buf_init(&otlp->resource, RESOURCE_LIMIT_BYTES);
    otlp->encoder->resource(&otlp->resource, attributes, 4 + options->resource_count);
    if (otlp->resource.status)
        return cq_fail(err, otlp->resource.status, "resource: more than %zu bytes",
                       RESOURCE_LIMIT_BYTES);
    return CRONQ_OK;
}

static cronq_status open_target(cronq_otlp *otlp, const cronq_otlp_options *options,
                                cronq_error *err)
{
    if (options->url)
        return cq_http_new(options, otlp->encoder->content_type, &otlp->http, err);
    otlp->fd = open(options->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (otlp->fd < 0)
        return cq_fail_errno(err, CRONQ_EIO, errno, "cannot open %.200s", options->path);
    return CRONQ_OK;
}

static cronq_status start(cronq_otlp *otlp, const cronq_otlp_options *options,
                          cronq_error *err)
{
    size_t bytes = options->queue_limit_bytes;
    cronq_status status = make_resource(otlp, options, err);

    cq_buf_init(&otlp->pending, bytes);
    cq_buf_init(&otlp->sending, bytes);
    cq_buf_init(&otlp->request, bytes + otlp->resource.len + HEAD_ROOM_BYTES);
    if (!status)
        status = open_target(otlp, options, err);
    return status;
}

cronq_status cronq_otlp_new(const cronq_otlp_options *options, cronq_otlp **out,
                            cronq_error *err)
{
    cronq_otlp_options copy;
    cronq_otlp *otlp;
    cronq_status status =
        cq_options_copy(&copy, sizeof copy, options, "cronq_otlp_options", err);

    if (!status)
        status = check_options(&copy, err);
    if (status)
        return status;
    otlp = calloc(1, sizeof *otlp);
    if (!otlp)
        return cq_fail_nomem(err);
    otlp->options = copy;
    otlp->logger = copy.logger;
    otlp->fd = -1;
    otlp->encoder =
        copy.path || copy.encoding == CRONQ_OTLP_JSON ? &cq_otlp_json : &cq_otlp_protobuf;
    pthread_mutex_init(&otlp->mutex, NULL);
    cq_cond_init(&otlp->wanted);
    cq_cond_init(&otlp->settled);
    cq_random_init(&otlp->random);
    status = start(otlp, &copy, err);
    if (status)
        cronq_otlp_free(otlp);
    else
        *out = otlp;
    return status;
}

static void stop(cronq_otlp *otlp)
{
    if (!otlp->thread_runs)
        return;
    pthread_mutex_lock(&otlp->mutex);
    atomic_store(&otlp->stop_ms, cq_mono_ms() + otlp->options.stop_timeout_ms);
    atomic_store(&otlp->stopping, true);
    pthread_cond_broadcast(&otlp->wanted);
    pthread_mutex_unlock(&otlp->mutex);
    pthread_join(otlp->thread, NULL);
}

void cronq_otlp_free(cronq_otlp *otlp)
{
    if (!otlp)
        return;
    stop(otlp);
    cq_http_free(otlp->http);
    if (otlp->fd >= 0)
        close(otlp->fd);
    cq_buf_release(&otlp->resource);
    cq_buf_release(&otlp->pending);
    cq_buf_release(&otlp->sending);
    cq_buf_release(&otlp->request);
    pthread_cond_destroy(&otlp->wanted);
    pthread_cond_destroy(&otlp->settled);
    pthread_mutex_destroy(&otlp->mutex);
    free(otlp);
}

cronq_status cronq_otlp_flush(cronq_otlp *otlp, int64_t timeout_ms, cronq_error *err)
{
    int64_t until_ns = cq_mono_ns() + timeout_ms * CQ_NS_PER_MS;
    uint64_t target;
    bool done;

    pthread_mutex_lock(&otlp->mutex);
    target = otlp->taken_count;
    while (otlp->settled_count < target && cq_mono_ns() < until_ns) {
        otlp->hurry = true;
        pthread_cond_signal(&otlp->wanted);
        cq_cond_wait_until(&otlp->settled, &otlp->mutex, until_ns);
    }
    done = otlp->settled_count >= target;
    pthread_mutex_unlock(&otlp->mutex);
    return done ? CRONQ_OK
                : cq_fail(err, CRONQ_ETIMEDOUT,
                          "spans are still on their way after %lld "
                          "ms",
                          (long long)timeout_ms);
}

uint64_t cronq_otlp_sent_count(const cronq_otlp *otlp)
{
    return atomic_load(&otlp->sent_count);
}

uint64_t cronq_otlp_dropped_count(const cronq_otlp *otlp)
{
    return atomic_load(&otlp->dropped_count);
}
