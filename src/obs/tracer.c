/* SPDX-License-Identifier: MIT */
/* tracer.c - who spans are: ids, and whether a trace is sampled.
 *
 * Ids are the outputs of splitmix64 (Steele, Lea and Flood, 2014) on one counter, so that
 * threads need no lock: they have to be distinct, not secret. */
#include "obs/tracer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/options.h"
#include "base/random.h"

#include <stdlib.h>

#define GAMMA UINT64_C(0x9E3779B97F4A7C15)

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* Never zero, which stands for no id. */
static uint64_t next_id(cronq_tracer *tracer, uint64_t seed)
{
    uint64_t id = mix(
        seed + atomic_fetch_add_explicit(&tracer->counter, GAMMA, memory_order_relaxed));

    return id ? id : 1;
}

static void put_big_endian(unsigned char out[8], uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(value >> (56 - 8 * i));
}

static uint64_t threshold_of(double ratio)
{
    if (ratio < 0)
        return 0;
    return ratio == 0 || ratio >= 1 ? UINT64_C(1) << 63
                                    : (uint64_t)(ratio * 9223372036854775808.0);
}

void cq_tracer_reseed(cronq_tracer *tracer)
{
    cq_random random;

    cq_random_init(&random);
    tracer->low_seed = cq_random_next(&random);
    tracer->high_seed = cq_random_next(&random);
}

cronq_status cronq_tracer_new(const cronq_tracer_options *options, cronq_tracer **out,
                              cronq_error *err)
{
    cronq_tracer_options copy;
    cronq_tracer *tracer;
    cronq_status status =
        cq_options_copy(&copy, sizeof copy, options, "cronq_tracer_options", err);

    if (status)
        return status;
    if (!(copy.sample_ratio == CRONQ_SAMPLE_NONE ||
          (copy.sample_ratio >= 0 && copy.sample_ratio <= 1)))
        return cq_fail(err, CRONQ_EINVAL,
                       "sample_ratio is %g; from 0 (all) to 1, or CRONQ_SAMPLE_NONE",
                       copy.sample_ratio);
    tracer = calloc(1, sizeof *tracer);
    if (!tracer)
        return cq_fail_nomem(err);
    cq_tracer_reseed(tracer);
    tracer->write = copy.write;
    tracer->write_arg = copy.write_arg;
    tracer->threshold = threshold_of(copy.sample_ratio);
    tracer->retry_links = copy.retry_links;
    *out = tracer;
    return CRONQ_OK;
}

void cronq_tracer_free(cronq_tracer *tracer)
{
    free(tracer);
}

bool cq_tracer_links_retries(const cronq_tracer *tracer)
{
    return tracer->retry_links;
}

static void new_trace_id(cronq_tracer *tracer, cq_trace *out)
{
    put_big_endian(out->trace_id, next_id(tracer, tracer->high_seed));
    put_big_endian(out->trace_id + 8, next_id(tracer, tracer->low_seed));
}

/* As the SDKs decide it, so that services with the same ratio agree. */
static bool is_sampled(const cronq_tracer *tracer, const cq_trace *trace)
{
    uint64_t low = 0;

    for (int i = 8; i < 16; i++)
        low = low << 8 | trace->trace_id[i];
    return low >> 1 < tracer->threshold;
}

void cq_span_leave(cronq_tracer *tracer, cq_span_id *id)
{
    new_trace_id(tracer, &id->own);
    memset(id->parent_id, 0, sizeof id->parent_id);
}

void cq_span_identify(cronq_tracer *tracer, const cq_trace *parent, cq_span_id *out)
{
    *out = (cq_span_id){ 0 };
    if (parent) {
        out->own = *parent;
        memcpy(out->parent_id, parent->span_id, sizeof out->parent_id);
    } else {
        new_trace_id(tracer, &out->own);
        if (is_sampled(tracer, &out->own))
            out->own.flags = CQ_TRACE_FLAG_SAMPLED;
    }
    put_big_endian(out->own.span_id, next_id(tracer, tracer->low_seed));
    if (tracer->write && (out->own.flags & CQ_TRACE_FLAG_SAMPLED))
        out->start_ns = cq_wall_ns();
}
