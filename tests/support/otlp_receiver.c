/* SPDX-License-Identifier: MIT */
/* otlp_receiver.c - a receiver of spans. */
#include "support/otlp_receiver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
/* after the others */
#include <setjmp.h>

#include <cmocka.h>

#define REQUEST_LIMIT_BYTES (16u << 20)
#define SPAN_LIMIT_COUNT    20000
#define SILENT_LIMIT_COUNT  64

struct otlp_receiver {
    int listener;
    uint16_t port;
    otlp_manner manner;
    pthread_t thread;
    atomic_bool over;
    int silent[SILENT_LIMIT_COUNT]; /* connections that get no answer */
    size_t silent_count;
    pthread_mutex_t mutex;
    received_span *spans;
    size_t span_count;
    char head[8192]; /* of the last request */
    int answered;
};

/* ---- protobuf ---- */

/* This thread is not the test's: it cannot fail it, only end it. */
static void broken(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    abort();
}

typedef struct bytes {
    const unsigned char *at, *end;
} bytes;

typedef struct field {
    uint32_t number;
    int wire;
    uint64_t value; /* of wire types 0, 1 and 5 */
    bytes content;  /* of 2 */
} field;

static uint64_t varint(bytes *in)
{
    uint64_t value = 0;

    for (int shift = 0; shift < 64 && in->at < in->end; shift += 7) {
        unsigned char byte = *in->at++;

        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return value;
    }
    broken("a number of the request is cut short");
    return 0;
}

static uint64_t fixed(bytes *in, int size)
{
    uint64_t value = 0;

    if (in->end - in->at < size)
        broken("a number of the request is cut short");
    for (int i = 0; i < size; i++)
        value |= (uint64_t)*in->at++ << (8 * i);
    return value;
}

static bool next_field(bytes *in, field *out)
{
    uint64_t tag, len;

    if (in->at == in->end)
        return false;
    tag = varint(in);
    out->number = (uint32_t)(tag >> 3);
    out->wire = (int)(tag & 7);
    switch (out->wire) {
    case 0:
        out->value = varint(in);
        return true;
    case 1:
        out->value = fixed(in, 8);
        return true;
    case 5:
        out->value = fixed(in, 4);
        return true;
    case 2:
        len = varint(in);
        if (len > (uint64_t)(in->end - in->at))
            broken("a field of the request is cut short");
        out->content = (bytes){ in->at, in->at + len };
        in->at += len;
        return true;
    default:
        broken("wire type %d", out->wire);
        return false;
    }
}

static void text_of(char *out, size_t size, bytes from)
{
    snprintf(out, size, "%.*s", (int)(from.end - from.at), (const char *)from.at);
}

static void hex_of(char *out, bytes from)
{
    for (; from.at < from.end; from.at++, out += 2)
        snprintf(out, 3, "%02x", *from.at);
}

static void append(char *out, size_t size, const char *format, ...)
{
    size_t len = strlen(out);
    va_list args;

    va_start(args, format);
    vsnprintf(out + len, size - len, format, args);
    va_end(args);
}

/* KeyValue { string key = 1; AnyValue value = 2; } */
static void read_attribute(bytes in, char *out, size_t size)
{
    char key[128] = "";
    field pair, any;

    while (next_field(&in, &pair)) {
        if (pair.number == 1) {
            text_of(key, sizeof key, pair.content);
            append(out, size, "%s=", key);
        }
        while (pair.number == 2 && next_field(&pair.content, &any)) {
            if (any.number == 1)
                append(out, size, "%.*s;", (int)(any.content.end - any.content.at),
                       (const char *)any.content.at);
            else if (any.number == 3)
                append(out, size, "%lld;", (long long)any.value);
            else
                broken("an attribute of kind %u", any.number);
        }
    }
}

static void read_event(bytes in, received_span *span)
{
    field f;

    append(span->events, sizeof span->events, "{");
    while (next_field(&in, &f)) {
        if (f.number == 2)
            append(span->events, sizeof span->events,
                   "%.*s:", (int)(f.content.end - f.content.at),
                   (const char *)f.content.at);
        else if (f.number == 3)
            read_attribute(f.content, span->events, sizeof span->events);
    }
    append(span->events, sizeof span->events, "}");
}

static void read_status(bytes in, received_span *span)
{
    field f;

    while (next_field(&in, &f)) {
        if (f.number == 2)
            text_of(span->status_text, sizeof span->status_text, f.content);
        else if (f.number == 3)
            span->status = (int)f.value;
    }
}

static void read_link(bytes in, received_span *span)
{
    field f;

    while (next_field(&in, &f))
        if (f.number == 2 && f.content.end - f.content.at == 8)
            hex_of(span->link, f.content);
}

static void read_span(bytes in, received_span *span)
{
    field f;

    while (next_field(&in, &f)) {
        ptrdiff_t len = f.wire == 2 ? f.content.end - f.content.at : 0;

        if (f.number == 1 && len == 16)
            hex_of(span->trace_id, f.content);
        else if (f.number == 2 && len == 8)
            hex_of(span->span_id, f.content);
        else if (f.number == 3)
            text_of(span->trace_state, sizeof span->trace_state, f.content);
        else if (f.number == 4 && len == 8)
            hex_of(span->parent_id, f.content);
        else if (f.number == 5)
            text_of(span->name, sizeof span->name, f.content);
        else if (f.number == 6)
            span->kind = (int)f.value;
        else if (f.number == 7 && f.wire == 1)
            span->start_ns = f.value;
        else if (f.number == 8 && f.wire == 1)
            span->end_ns = f.value;
        else if (f.number == 9)
            read_attribute(f.content, span->attributes, sizeof span->attributes);
        else if (f.number == 10)
            span->dropped_attributes = (uint32_t)f.value;
        else if (f.number == 12)
            span->dropped_events = (uint32_t)f.value;
        else if (f.number == 11)
            read_event(f.content, span);
        else if (f.number == 13)
            read_link(f.content, span);
        else if (f.number == 15)
            read_status(f.content, span);
        else if (f.number == 16 && f.wire == 5)
            span->flags = (uint32_t)f.value;
        else
            broken("field %u of a span, wire type %d", f.number, f.wire);
    }
}

static void read_scope_spans(otlp_receiver *r, bytes in, const char *service)
{
    char scope[64] = "";
    field f, inner;

    while (next_field(&in, &f)) {
        received_span *span = &r->spans[r->span_count];

        while (f.number == 1 && next_field(&f.content, &inner))
            if (inner.number == 1)
                text_of(scope, sizeof scope, inner.content);
        if (f.number != 2 || r->span_count == SPAN_LIMIT_COUNT)
            continue;
        *span = (received_span){ 0 };
        snprintf(span->service, sizeof span->service, "%s", service);
        snprintf(span->scope, sizeof span->scope, "%s", scope);
        read_span(f.content, span);
        r->span_count++;
    }
}

static void read_resource(bytes in, char *out, size_t size)
{
    char attributes[2048] = "", *at;
    field f;

    while (next_field(&in, &f))
        if (f.number == 1)
            read_attribute(f.content, attributes, sizeof attributes);
    at = strstr(attributes, "service.name=");
    if (at)
        snprintf(out, size, "%.*s", (int)strcspn(at + 13, ";"), at + 13);
}

static void read_request(otlp_receiver *r, bytes in)
{
    field f, inner;

    while (next_field(&in, &f)) {
        char service[64] = "";

        while (f.number == 1 && next_field(&f.content, &inner)) {
            if (inner.number == 1)
                read_resource(inner.content, service, sizeof service);
            else if (inner.number == 2)
                read_scope_spans(r, inner.content, service);
        }
    }
}

/* ---- HTTP ---- */

/* A whole request; the length of its head, 0 when there is none. */
static size_t read_http(int fd, char *buf, size_t *len)
{
    size_t head = 0, want = 0;

    *len = 0;
    while (!head || *len < head + want) {
        ssize_t got = recv(fd, buf + *len, REQUEST_LIMIT_BYTES - 1 - *len, 0);
        char *end, *length;

        if (got <= 0)
            return 0;
        *len += (size_t)got;
        buf[*len] = '\0';
        end = head ? NULL : strstr(buf, "\r\n\r\n");
        if (!end)
            continue;
        head = (size_t)(end - buf) + 4;
        length = strcasestr(buf, "Content-Length:");
        want = length ? strtoul(length + 15, NULL, 10) : 0;
    }
    return head;
}

static void answer(otlp_receiver *r, int fd, char *buf)
{
    static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static const char busy[] =
        "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    size_t len, head;

    while ((head = read_http(fd, buf, &len)) > 0) {
        bool refuses = r->manner == OTLP_REFUSES && r->answered++ == 0;
        const char *text = refuses ? busy : good;

        pthread_mutex_lock(&r->mutex);
        snprintf(r->head, sizeof r->head, "%.*s", (int)head, buf);
        if (!refuses)
            read_request(
                r, (bytes){ (unsigned char *)buf + head, (unsigned char *)buf + len });
        pthread_mutex_unlock(&r->mutex);
        if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
            break;
    }
    close(fd);
}

static void *serve(void *arg)
{
    otlp_receiver *r = arg;
    char *buf = malloc(REQUEST_LIMIT_BYTES);

    while (buf && !atomic_load(&r->over)) {
        struct pollfd ready = { .fd = r->listener, .events = POLLIN };
        struct timeval patience = { .tv_sec = 1 };
        int fd;

        if (poll(&ready, 1, 50) <= 0)
            continue;
        fd = accept(r->listener, NULL, NULL);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (r->manner != OTLP_SILENT)
            answer(r, fd, buf);
        else if (r->silent_count < SILENT_LIMIT_COUNT)
            r->silent[r->silent_count++] = fd;
        else
            close(fd);
    }
    free(buf);
    return NULL;
}

otlp_receiver *otlp_receiver_start(otlp_manner manner)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    otlp_receiver *r = calloc(1, sizeof *r);

    assert_non_null(r);
    r->manner = manner;
    r->spans = calloc(SPAN_LIMIT_COUNT + 1, sizeof *r->spans);
    assert_non_null(r->spans);
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(r->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(r->listener, 64), 0);
    assert_int_equal(getsockname(r->listener, (struct sockaddr *)&address, &size), 0);
    r->port = ntohs(address.sin_port);
    pthread_mutex_init(&r->mutex, NULL);
    assert_int_equal(pthread_create(&r->thread, NULL, serve, r), 0);
    return r;
}

void otlp_receiver_stop(otlp_receiver *r)
{
    atomic_store(&r->over, true);
    pthread_join(r->thread, NULL);
    close(r->listener);
    for (size_t i = 0; i < r->silent_count; i++)
        close(r->silent[i]);
    pthread_mutex_destroy(&r->mutex);
    free(r->spans);
    free(r);
}

uint16_t otlp_receiver_port(const otlp_receiver *r)
{
    return r->port;
}

static bool find(otlp_receiver *r, const char *name, size_t index, received_span *out)
{
    bool found = false;

    pthread_mutex_lock(&r->mutex);
    for (size_t i = 0; i < r->span_count && !found; i++)
        if (strcmp(r->spans[i].name, name) == 0 && index-- == 0) {
            *out = r->spans[i];
            found = true;
        }
    pthread_mutex_unlock(&r->mutex);
    return found;
}

received_span otlp_receiver_await(otlp_receiver *r, const char *name, size_t index)
{
    received_span span = { 0 };

    for (int i = 0; i < 1000; i++) {
        if (find(r, name, index, &span))
            return span;
        usleep(10000);
    }
    fail_msg("no span %zu called %s arrived", index, name);
    return span;
}

size_t otlp_receiver_count(otlp_receiver *r)
{
    size_t count;

    pthread_mutex_lock(&r->mutex);
    count = r->span_count;
    pthread_mutex_unlock(&r->mutex);
    return count;
}

bool otlp_receiver_heard(otlp_receiver *r, const char *text)
{
    bool heard;

    pthread_mutex_lock(&r->mutex);
    heard = strstr(r->head, text) != NULL;
    pthread_mutex_unlock(&r->mutex);
    return heard;
}
