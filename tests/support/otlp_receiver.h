/* SPDX-License-Identifier: MIT */
/* support/otlp_receiver.h - a receiver of spans: HTTP on a port of 127.0.0.1, and the
 * protobuf read by the public schema (opentelemetry/proto/trace/v1/trace.proto), with
 * nothing of the code that wrote it. */
#ifndef CQ_TEST_OTLP_RECEIVER_H
#define CQ_TEST_OTLP_RECEIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct otlp_receiver otlp_receiver;

typedef struct received_span {
    char service[64], scope[64];
    char trace_id[33], span_id[17], parent_id[17]; /* "" : none */
    char name[128], trace_state[64];
    char attributes[2048]; /* "key=value;key=value;" */
    char events[1024];     /* "name{key=value;}" */
    char link[17];         /* span id */
    int kind, status;
    char status_text[128];
    uint64_t start_ns, end_ns;
    uint32_t flags, dropped_attributes, dropped_events;
} received_span;

/* What it does with requests. */
typedef enum otlp_manner {
    OTLP_TAKES,   /* 200 */
    OTLP_REFUSES, /* 503 once, then takes */
    OTLP_SILENT   /* reads, and never answers */
} otlp_manner;

otlp_receiver *otlp_receiver_start(otlp_manner manner);
void otlp_receiver_stop(otlp_receiver *receiver);
uint16_t otlp_receiver_port(const otlp_receiver *receiver);

/* Copies the span with that name, the index-th, waiting up to 10 s; fails the test. */
received_span otlp_receiver_await(otlp_receiver *receiver, const char *name,
                                  size_t index);
size_t otlp_receiver_count(otlp_receiver *receiver); /* spans */
/* Did the head of each request have this text? */
bool otlp_receiver_heard(otlp_receiver *receiver, const char *text);

#endif
