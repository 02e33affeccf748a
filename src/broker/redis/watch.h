/* SPDX-License-Identifier: MIT */
/* broker/redis/watch.h - how a waiting fetcher learns that there is work.
 *
 * Two connections a node; without a cluster there is one node. The listener is subscribed
 * to what the node says about changed keys and to cancellations; the watcher has tracking
 * on, redirected to the listener: each key that it reads is armed, and the next change of
 * it is noticed once. So waiting costs nothing, and nothing is missed: what changes after
 * the reading is noticed.
 *
 * In a cluster the nodes are those that have a queue of the intake's. A slot that moves
 * away is noticed only through the keys that it held: so the pending list of each queue
 * is read every check interval as well, which is redirected then.
 *
 * Invariants: what is under the lock is shared; the listener connections are the
 * listening thread's, everything else the fetcher's. A view is either stale, to be read
 * before it is believed, or armed, or (without tracking) as old as the last look.
 * tracked_id is the listener that the watcher's notices go to; when it is not the present
 * listener, every view of the node is stale. Either thread may find that a queue has
 * moved; each drops its own connection of a node that has become another. */
#ifndef CQ_BROKER_REDIS_WATCH_H
#define CQ_BROKER_REDIS_WATCH_H

#include "broker/redis/redis.h"

#include "base/clock.h"
#include "base/random.h"
#include "base/thread.h"

/* The keys of a queue that tell whether there is work; bits of stale and noticed. */
enum {
    CQ_VIEW_PENDING = 1,
    CQ_VIEW_PAUSED = 2,
    CQ_VIEW_SCHEDULED = 4,
    CQ_VIEW_RETRY = 8,
    CQ_VIEW_ALL = 15,
};

#define CQ_WATCH_NOBODY UINT16_MAX

typedef struct cq_view {
    uint8_t stale;
    uint16_t node; /* as of the last look; CQ_WATCH_NOBODY: nobody tells which */
    bool paused;
    uint64_t next;         /* hash of the id that runs next; 0: none is pending */
    int64_t due_s[2];      /* of the first scheduled and retry; INT64_MAX: none */
    uint64_t due_first[2]; /* hashes of their ids */
} cq_view;

/* A side that was quiet for so long is asked for a sign of life. With the read timeout,
 * and the second that a listener may listen, a half-open connection is found in 15 s. */
#define CQ_WATCH_QUIET_NS (5 * CQ_NS_PER_S)

/* What the last answer was given for: given again in vain it would make a busy loop. */
typedef struct cq_told {
    uint64_t signature; /* 0: nothing was told */
    uint64_t exchanges, delivered;
    int64_t at_mono_ns;
} cq_told;

#define CQ_NOTHING_DUE INT64_MAX

typedef struct cq_watch_node {
    cq_pool *pool;       /* under lock; NULL: the place is free */
    int64_t listener_id; /* under lock; 0: nobody listens */

    cq_conn *listener;
    cq_pool *listened; /* the listener's */
    int64_t own_id;    /* the listener's, when it hears notices; else 0 */
    int64_t retry_at;  /* monotonic; it is not opened before */
    int64_t reopen_at; /* monotonic; when notices were refused; else 0 */
    int64_t heard_at;  /* monotonic; its last message */
    int64_t pinged_at; /* monotonic; after heard_at: not answered yet */

    cq_conn *watcher;
    cq_pool *watched;      /* the watcher's */
    int64_t tracked_id;    /* 0: no tracking */
    int64_t refused_until; /* monotonic; tracking is not tried before */
    bool used;             /* by a view, in this look… */
    bool failed;           /* …which it did not answer */
} cq_watch_node;

struct cq_redis_watch {
    cq_redis_intake *intake;
    cq_event event; /* something below has changed */
    _Atomic bool woken;

    pthread_mutex_t lock;
    bool notices; /* under lock, and so are the next */
    uint8_t noticed[CQ_QUEUES_LIMIT];
    uint16_t node_of[CQ_QUEUES_LIMIT]; /* CQ_WATCH_NOBODY: nobody tells which */
    size_t node_count;                 /* places that were ever used */
    cq_watch_node nodes[CQ_QUEUES_LIMIT];

    cq_arena arena;
    cq_random random;
    size_t looked;      /* places, in the last look */
    int64_t probe_at;   /* monotonic; the next look at everything in any case */
    int64_t poll_at;    /* monotonic; the next look at what nobody tells of */
    bool complained;    /* that tracking is refused */
    bool moved;         /* a queue, in this look */
    bool found_nothing; /* the last notice was for others */
    bool at_once;       /* work was told without having been seen… */
    uint64_t before;    /* …and so much had been delivered */
    cq_told work, due;
    cq_view views[CQ_QUEUES_LIMIT];
};

static inline int64_t cq_watch_check_ns(const cq_redis_watch *watch)
{
    return watch->intake->redis->check_ms * CQ_NS_PER_MS;
}

/* ---- watch_look.c, for the fetcher ---- */

typedef enum cq_seen {
    CQ_SEEN_ALL,
    CQ_SEEN_SOME, /* some queues are on nodes that did not answer */
    CQ_SEEN_NOTHING,
} cq_seen;

/* Read what is stale, in one pipeline a node; what has moved, once more where it is. */
cq_seen cq_watch_look(cq_redis_watch *watch);

/* Take over what the listening side has noted; which parts of any queue. */
uint8_t cq_watch_gather(cq_redis_watch *watch);

/* Close the watcher of a node: all of its queues are to be read again. */
void cq_watch_drop(cq_redis_watch *watch, size_t node);

/* ---- watch_node.c ---- */

/* Which nodes there are now. Queues that were found elsewhere are noted as
 * changed. Either thread; without a cluster nothing changes. Returns their number. */
size_t cq_watch_map(cq_redis_watch *watch);

/* The pool of a node; NULL: the place is free. */
cq_pool *cq_watch_pool(cq_redis_watch *watch, size_t node);

int64_t cq_watch_listener(cq_redis_watch *watch, size_t node);

/* Of a node that is still of this pool; wakes the fetcher. */
void cq_watch_set_listener(cq_redis_watch *watch, size_t node, const cq_pool *pool,
                           int64_t id);

#endif
