/* SPDX-License-Identifier: MIT */
/* log/sink.h - a descriptor that takes lines, whatever becomes of its other end.
 *
 * Invariants: a line is one write. After a part of a line got through, the next write
 * begins with a newline, so that one line is broken and no other. While the other end
 * does not take anything (stuck), no write waits. Not thread-safe. */
#ifndef CQ_LOG_SINK_H
#define CQ_LOG_SINK_H

#include <cronq/base.h>

typedef struct cq_sink {
    int fd;         /* -1: none */
    bool is_socket; /* send(2) can do without SIGPIPE and without waiting */
    bool is_pipe;   /* writes may raise SIGPIPE */
    bool torn;      /* the last write was not whole */
    bool stuck;     /* the last write found no room */
} cq_sink;

/* A duplicate of fd that does not block, without changing fd for those who share it. */
cronq_status cq_sink_dup(cq_sink *sink, int fd, cronq_error *err);
/* A file, created when missing, written at its end. */
cronq_status cq_sink_open(cq_sink *sink, const char *path, cronq_error *err);
void cq_sink_close(cq_sink *sink);

/* Did all of it get through? line[-1] must be readable memory that holds a newline. */
bool cq_sink_write(cq_sink *sink, const char *line, size_t len);

#endif
