/* SPDX-License-Identifier: MIT */
/* span.c - what a span holds while it is under way, and its end. */
#include "base/clock.h"
#include "base/error.h"
#include "obs/tracer.h"

#include <stdlib.h>

#define ATTRIBUTE_LIMIT_COUNT 128
#define EVENT_LIMIT_COUNT     128
#define CHILD_LIMIT_COUNT     1000
#define TEXT_LIMIT_BYTES      ((size_t)64 << 10)
/* The texts, and the arrays, which double and leave the smaller ones behind. */
#define MEMORY_LIMIT_BYTES (TEXT_LIMIT_BYTES + (size_t)32 * 1024)
#define STATUS_TEXT_BYTES  4096

void cq_span_init(cronq_span *span, cronq_tracer *tracer, const cq_span_id *id,
                  cronq_span_kind kind)
{
    cronq_span_record *record = &span->record;

    span->tracer = tracer;
    span->own = id->own;
    *record = (cronq_span_record){ .struct_size = sizeof *record,
                                   .flags = id->own.flags,
                                   .name = "",
                                   .kind = kind,
                                   .start_ns = id->start_ns };
    memcpy(record->trace_id, id->own.trace_id, sizeof record->trace_id);
    memcpy(record->span_id, id->own.span_id, sizeof record->span_id);
    memcpy(record->parent_id, id->parent_id, sizeof record->parent_id);
    span->attributes = span->first;
    span->attribute_room = CQ_SPAN_FIRST_ATTRIBUTES;
    span->event_room = 0;
    span->events = NULL;
    span->parent = span->children = span->next = NULL;
    span->own_open_count = 0;
    span->open_count = &span->own_open_count;
    span->is_child = false;
    cq_arena_init(&span->arena, MEMORY_LIMIT_BYTES);
    cq_trace_format(&span->own, span->traceparent);
}

static const char *copy(cronq_span *span, cq_str text)
{
    if (text.len > TEXT_LIMIT_BYTES)
        return NULL;
    return cq_arena_dup(&span->arena, text.data, text.len);
}

/* Twice the room, up to limit; the array it returns has the old elements. */
static void *grow(cronq_span *span, const void *array, size_t *room, size_t limit,
                  size_t element_size)
{
    size_t more = *room ? *room * 2 : 8;
    void *grown;

    if (more > limit)
        more = limit;
    if (more == *room)
        return NULL;
    grown = cq_arena_alloc(&span->arena, more * element_size);
    if (!grown)
        return NULL;
    if (*room)
        memcpy(grown, array, *room * element_size);
    *room = more;
    return grown;
}

/* The place of key, an old or a new one; NULL: it was counted as dropped. */
static cronq_attribute *place_of(cronq_span *span, const char *key)
{
    cronq_span_record *record = &span->record;

    for (size_t i = 0; i < record->attribute_count; i++)
        if (strcmp(span->attributes[i].key, key) == 0)
            return &span->attributes[i];
    if (record->attribute_count == span->attribute_room) {
        cronq_attribute *grown = grow(span, span->attributes, &span->attribute_room,
                                      ATTRIBUTE_LIMIT_COUNT, sizeof *grown);

        if (!grown) {
            record->dropped_attribute_count++;
            return NULL;
        }
        span->attributes = grown;
    }
    return &span->attributes[record->attribute_count];
}

static void put(cronq_span *span, const cronq_attribute *attribute)
{
    cronq_attribute *place = place_of(span, attribute->key);

    if (!place)
        return;
    if (place == span->attributes + span->record.attribute_count)
        span->record.attribute_count++;
    *place = *attribute;
}

void cq_span_put_text(cronq_span *span, const char *key, const char *value)
{
    put(span, &(cronq_attribute){ key, value, 0 });
}

void cq_span_put_str(cronq_span *span, const char *key, cq_str value)
{
    const char *kept = copy(span, value);

    if (kept)
        cq_span_put_text(span, key, kept);
    else
        span->record.dropped_attribute_count++;
}

void cq_span_put_number(cronq_span *span, const char *key, int64_t value)
{
    put(span, &(cronq_attribute){ key, NULL, value });
}

void cq_span_name(cronq_span *span, const char *prefix, cq_str type)
{
    size_t prefix_len = strlen(prefix);
    char *name = cq_arena_alloc(&span->arena, prefix_len + type.len + 1);

    if (!name)
        return;
    memcpy(name, prefix, prefix_len);
    memcpy(name + prefix_len, type.data, type.len);
    name[prefix_len + type.len] = '\0';
    span->record.name = name;
}

/* The seed's names, then those of the conventions of today. */
void cq_span_put_message(cronq_span *span, const char *operation, cq_str queue, cq_str id,
                         size_t payload_bytes)
{
    const char *kept_queue = copy(span, queue), *kept_id = copy(span, id);

    if (!kept_queue || !kept_id)
        return;
    cq_span_put_text(span, "messaging.system", "cron");
    cq_span_put_text(span, "messaging.destination", kept_queue);
    cq_span_put_text(span, "messaging.operation", operation);
    cq_span_put_text(span, "messaging.message_id", kept_id);
    cq_span_put_text(span, "messaging.destination.name", kept_queue);
    cq_span_put_text(span, "messaging.operation.name", operation);
    cq_span_put_text(span, "messaging.operation.type", operation);
    cq_span_put_text(span, "messaging.message.id", kept_id);
    cq_span_put_number(span, "messaging.message.body.size", (int64_t)payload_bytes);
}

/* ---- events and status ---- */

static const cronq_attribute *copy_attributes(cronq_span *span,
                                              const cronq_attribute *from, size_t count)
{
    cronq_attribute *to = cq_arena_alloc(&span->arena, (count + 1) * sizeof *to);

    for (size_t i = 0; to && i < count; i++) {
        to[i] = from[i];
        to[i].key = from[i].key ? copy(span, cq_str_of(from[i].key)) : NULL;
        if (from[i].text)
            to[i].text = copy(span, cq_str_of(from[i].text));
        if (!to[i].key || (from[i].text && !to[i].text))
            return NULL;
    }
    return to;
}

static bool add_event(cronq_span *span, const char *name,
                      const cronq_attribute *attributes, size_t count)
{
    cronq_span_event *grown;
    const char *kept;

    if (count > ATTRIBUTE_LIMIT_COUNT)
        return false;
    if (span->record.event_count == span->event_room) {
        grown =
            grow(span, span->events, &span->event_room, EVENT_LIMIT_COUNT, sizeof *grown);
        if (!grown)
            return false;
        span->events = grown;
    }
    kept = copy(span, cq_str_of(name));
    attributes = copy_attributes(span, attributes, count);
    if (!kept || !attributes)
        return false;
    span->events[span->record.event_count++] =
        (cronq_span_event){ kept, cq_wall_ns(), attributes, count };
    return true;
}

void cronq_span_add_event(cronq_span *span, const char *name,
                          const cronq_attribute *attributes, size_t attribute_count)
{
    if (!span || !name || (!attributes && attribute_count))
        return;
    if (!add_event(span, name, attributes, attribute_count))
        span->record.dropped_event_count++;
}

static void set_status(cronq_span *span, cronq_span_status status, cq_str text)
{
    if (text.len > STATUS_TEXT_BYTES)
        text.len = STATUS_TEXT_BYTES;
    span->record.status = status;
    span->record.status_text = text.len ? copy(span, text) : NULL;
}

void cq_span_fail(cronq_span *span, cronq_status status, cq_str text)
{
    cronq_attribute about[2] = { { "exception.type", cronq_status_name(status), 0 },
                                 { 0 } };

    set_status(span, CRONQ_SPAN_ERROR, text);
    about[1] = (cronq_attribute){ "exception.message", span->record.status_text, 0 };
    cronq_span_add_event(span, "exception", about, span->record.status_text ? 2 : 1);
    cq_span_put_text(span, "error.type", cronq_status_name(status));
}

/* ---- the public calls ---- */

void cronq_span_set_text(cronq_span *span, const char *key, const char *value)
{
    const char *kept_key, *kept_value;

    if (!span || !key || !value)
        return;
    kept_key = copy(span, cq_str_of(key));
    kept_value = copy(span, cq_str_of(value));
    if (kept_key && kept_value)
        cq_span_put_text(span, kept_key, kept_value);
    else
        span->record.dropped_attribute_count++;
}

void cronq_span_set_number(cronq_span *span, const char *key, int64_t value)
{
    const char *kept;

    if (!span || !key)
        return;
    kept = copy(span, cq_str_of(key));
    if (kept)
        cq_span_put_number(span, kept, value);
    else
        span->record.dropped_attribute_count++;
}

void cronq_span_set_status(cronq_span *span, cronq_span_status status, const char *text)
{
    if (span && span->is_child)
        set_status(span, status, cq_str_of(text));
}

const char *cronq_span_traceparent(const cronq_span *span)
{
    return span ? span->traceparent : NULL;
}

cronq_span *cronq_span_begin(cronq_span *parent, const char *name)
{
    cronq_span *span;
    cq_span_id id;

    if (!parent || *parent->open_count >= CHILD_LIMIT_COUNT)
        return NULL;
    span = malloc(sizeof *span);
    if (!span)
        return NULL;
    cq_span_identify(parent->tracer, &parent->own, &id);
    cq_span_init(span, parent->tracer, &id, CRONQ_SPAN_INTERNAL);
    cq_span_name(span, "", cq_str_of(name));
    span->record.trace_state = parent->record.trace_state;
    span->is_child = true;
    span->parent = parent;
    span->next = parent->children;
    parent->children = span;
    span->open_count = parent->open_count;
    ++*span->open_count;
    return span;
}

void cronq_span_end(cronq_span *span)
{
    cronq_span **at;

    if (!span || !span->is_child)
        return;
    at = &span->parent->children;
    while (*at != span)
        at = &(*at)->next;
    *at = span->next;
    --*span->open_count;
    cq_span_finish(span);
    free(span);
}

void cq_span_finish(cronq_span *span)
{
    cronq_span_record *record = &span->record;

    while (span->children)
        cronq_span_end(span->children);
    record->attributes = span->attributes;
    record->events = span->events;
    record->end_ns = cq_wall_ns();
    if (record->end_ns < record->start_ns) /* the clock was set back */
        record->end_ns = record->start_ns;
    span->tracer->write(span->tracer->write_arg, record);
    cq_arena_release(&span->arena);
}
