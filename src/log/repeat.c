/* SPDX-License-Identifier: MIT */
/* repeat.c - which of the lines that repeat are written. */
#include "log/repeat.h"

#include <stdio.h>

/* FNV-1a. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 14695981039346656037u;

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash;
}

static void begin(cq_repeat_slot *slot, uint64_t hash, const char *place, int64_t now_ms)
{
    *slot = (cq_repeat_slot){ .hash = hash, .begun_ms = now_ms };
    snprintf(slot->place, sizeof slot->place, "%.60s", place);
}

bool cq_repeats_admit(cq_repeats *repeats, const cronq_log_record *record, int64_t now_ms,
                      cq_repeat_slot *over)
{
    const char *place = record->caller ? record->caller
                        : record->text ? record->text
                                       : "";
    uint64_t hash = hash_of(place);
    cq_repeat_slot *slot = &repeats->slots[hash % CQ_REPEAT_SLOTS];

    over->left_out = 0;
    if (record->level < CRONQ_LOG_WARN)
        return true;
    if (slot->hash != hash || now_ms - slot->begun_ms >= CQ_REPEAT_WINDOW_MS) {
        *over = *slot;
        begin(slot, hash, place, now_ms);
    }
    if (slot->count < repeats->limit) {
        slot->count++;
        return true;
    }
    slot->left_out++;
    return false;
}
