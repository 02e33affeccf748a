/* SPDX-License-Identifier: MIT */
/* net/stream.h - bytes to and from a server: TCP, TLS or a Unix socket.
 *
 * The descriptor does not block: read and write do what can be done at once, wait waits.
 * After a failure only close is of use. Texts of errors do not name the address. */
#ifndef CQ_NET_STREAM_H
#define CQ_NET_STREAM_H

#include "net/uri.h"

typedef struct cq_stream {
    int fd;
    cq_tls_session *tls;                /* NULL: plain */
    short reading_needs, writing_needs; /* with TLS each may have to wait for either */
} cq_stream;

/* Connect, within the dial timeout for all addresses of a name and TLS together (the
 * lookup of the name itself takes what the system's resolver takes). EIO, EAUTH. */
cronq_status cq_stream_open(cq_stream *stream, const cq_endpoint *endpoint,
                            cronq_error *err);
void cq_stream_close(cq_stream *stream);

/* *count is 0 when nothing can be done without waiting. EIO, also at the end; EAUTH when
 * the server turns out not to like our certificate. */
cronq_status cq_stream_read(cq_stream *stream, void *data, size_t size, size_t *count,
                            cronq_error *err);
cronq_status cq_stream_write(cq_stream *stream, const void *data, size_t size,
                             size_t *count, cronq_error *err);

/* Wait until one of the events (POLLIN, POLLOUT) is worth a try; *ready says which, 0:
 * the time is up. Negative: for ever. */
cronq_status cq_stream_wait(cq_stream *stream, short events, int64_t timeout_ms,
                            short *ready, cronq_error *err);

/* Ends reading and writing, whatever thread is in it; the descriptor stays. */
void cq_stream_shut(const cq_stream *stream);

/* Open, and with nothing to read? For one that idles and awaits nothing. */
bool cq_stream_quiet(const cq_stream *stream);

#endif
