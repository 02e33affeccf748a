/* SPDX-License-Identifier: MIT */
/* rows.c - the table of faults with their bounds. */
#include "chaos/chaos.h"

#define DURABLE "appendonly yes\nappendfsync always\n"
#define SLOWLY  DURABLE "key-load-delay 1000\nloading-process-events-interval-bytes 1024\n"

#define ALONE "min-replicas-to-write 1\nmin-replicas-max-lag 2\n"

/* clang-format off */
const chaos_row chaos_rows[] = {
    { "F0", "nothing happens", CHAOS_SHORT, fault_none, 1000, 5000, NULL, 0 },
    { "F1", "workers killed, 9 times", CHAOS_SHORT, fault_worker_kill, 1500, 15000, NULL, 0 },
    { "F1-file", "the same on SQLite", CHAOS_FILE, fault_worker_kill, 1500, 15000, NULL, 0 },
    { "F2", "a worker stopped for 6 s", 0, fault_worker_stop, 1000, 15000, NULL, 0 },
    { "F3", "workers told to end, one by one", 0, fault_worker_term, 1500, 10000, NULL, 0 },
    { "F3-twice", "workers told twice", 0, fault_worker_term_twice, 1500, 10000, NULL, 0 },
    { "F3-outage", "told while the store hangs", CHAOS_OUTAGE, fault_worker_term_outage, 3000, 15000, NULL, 0 },
    { "F4", "redis killed 3 times", CHAOS_SHORT | CHAOS_OUTAGE, fault_store_kill, 5000, 15000, DURABLE, 0 },
    { "F4-5s", "redis killed, back after 5 s", CHAOS_OUTAGE | CHAOS_IDLES, fault_store_kill_5, 5000, 15000, DURABLE, 0 },
    { "F5-5s", "redis hangs for 5 s", CHAOS_USUAL | CHAOS_IDLES, fault_store_pause_5, 5000, 15000, NULL, 0 },
    { "F5-20s", "redis hangs for 20 s", CHAOS_USUAL | CHAOS_IDLES, fault_store_pause_20, 5000, 15000, NULL, 0 },
    { "F5-35s", "redis hangs for 35 s", CHAOS_USUAL | CHAOS_IDLES | CHAOS_OUTAGE, fault_store_pause_35, 5000, 45000, NULL, 0 },
    { "F6", "cut after the command", CHAOS_SHORT | CHAOS_PROXIED | CHAOS_USUAL, fault_cut_after, 2000, 40000, NULL, 0 },
    { "F7", "cut before the command", CHAOS_PROXIED | CHAOS_USUAL, fault_cut_before, 2000, 40000, NULL, 0 },
    { "F7-within", "cut within the reply", CHAOS_PROXIED | CHAOS_USUAL, fault_cut_within, 2000, 40000, NULL, 0 },
    { "F7-slow", "single bytes, then 2 s late", CHAOS_PROXIED | CHAOS_USUAL, fault_slow, 5000, 40000, NULL, 0 },
    { "F7-half", "half open for 8 s", CHAOS_PROXIED | CHAOS_USUAL, fault_half_open, 15000, 40000, NULL, 0 },
    { "F8", "refused for 30 s", CHAOS_OUTAGE | CHAOS_IDLES, fault_store_gone_30, 5000, 15000, DURABLE, 0 },
    { "F8-drop", "dropped for 10 s", CHAOS_PROXIED | CHAOS_OUTAGE | CHAOS_IDLES, fault_refuse, 5000, 15000, NULL, 0 },
    { "F9", "scripts flushed 30 times", CHAOS_SHORT, fault_script_flush, 1000, 5000, NULL, 0 },
    { "F10", "loading for 3 s", CHAOS_OUTAGE, fault_loading, 5000, 15000, SLOWLY, 0 },
    { "F11", "read-only for 4 s", CHAOS_OUTAGE, fault_readonly, 3000, 15000, NULL, 0 },
    { "F12", "master killed, twice", CHAOS_SENTINEL | CHAOS_OUTAGE, fault_master_dies, 3000, 30000, NULL, 1 },
    { "F12-plan", "master changed, pushes Wait 2", CHAOS_SENTINEL | CHAOS_OUTAGE, fault_master_changes, 15000, 30000, NULL, 2 },
    { "F13", "a master left alone for 6 s", CHAOS_SENTINEL | CHAOS_OUTAGE, fault_no_replicas, 3000, 15000, ALONE, 0 },
    { "F14", "a cluster's node killed", CHAOS_CLUSTER | CHAOS_OUTAGE, fault_node_dies, 5000, 30000, NULL, 1 },
    { "F15", "the queue's slot moves", CHAOS_CLUSTER | CHAOS_OUTAGE, fault_slot_moves, 3000, 30000, NULL, 0 },
    { "F16", "maxmemory reached", CHAOS_SHORT, fault_full, 1000, 10000, NULL, 0 },
    { "F17", "a store that evicts", 0, fault_evicting, 1000, 5000, "maxmemory 100mb\nmaxmemory-policy allkeys-lru\n", 0 },
    { "F18", "a stranger's script for 6 s", CHAOS_OUTAGE | CHAOS_IDLES, fault_busy, 3000, 15000, "busy-reply-threshold 200\n", 0 },
    { "F19", "a command forbidden for 6 s", CHAOS_TCP | CHAOS_OUTAGE, fault_forbidden, 5000, 40000, NULL, 0 },
    { "F19-user", "the user deleted for 6 s", CHAOS_TCP | CHAOS_OUTAGE | CHAOS_IDLES, fault_user_gone, 5000, 40000, NULL, 0 },
    { "F20", "bad certificates, three kinds", CHAOS_TLS | CHAOS_OUTAGE | CHAOS_IDLES, fault_certificates, 6000, 15000, NULL, 0 },
    { "F24", "lists deleted by hand", CHAOS_DAMAGES | CHAOS_OUTAGE, fault_lists_deleted, 1000, 15000, NULL, 0 },
    { "F24-all", "FLUSHALL 3 times", CHAOS_DAMAGES | CHAOS_LOSES | CHAOS_OUTAGE, fault_flushed, 1000, 15000, NULL, 0 },
    { "F25", "garbage in the store", CHAOS_SHORT | CHAOS_DAMAGES, fault_garbage, 2000, 15000, NULL, 0 },
    { "F32", "cancelled while deaf", 0, fault_deaf, 2000, 5000, NULL, 0 },
    { "F29-lock", "file locked by another, 1 s", CHAOS_FILE, fault_file_locked, 1000, 10000, NULL, 0 },
};
/* clang-format on */

const size_t chaos_row_count = sizeof chaos_rows / sizeof *chaos_rows;
