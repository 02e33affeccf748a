/* SPDX-License-Identifier: MIT */
/* faults/power_test.c - the power is cut: what had not reached the disk is gone, or is
 * there in part. Accepted tasks are stored, and the file is whole. */
#include "faults/faulty_vfs.h"
#include "faults/ledger.h"

#include "support/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STEPS 120

typedef struct world {
    ledger *ledger;
    char folder[SCRATCH_ROOM], uri[192];
    char cut_folder[SCRATCH_ROOM], cut_path[128];
    cq_broker *broker;
    ledger_worker *worker;
} world;

static void open_world(world *w, const char *parameter)
{
    char path[128];
    cronq_error err = { 0 };

    w->worker = calloc(1, sizeof *w->worker);
    w->ledger = ledger_new();
    snprintf(path, sizeof path, "%s/cronq.db", scratch_new(w->folder));
    snprintf(w->uri, sizeof w->uri, "sqlite:%s?vfs=" FAULTY_VFS "%s", path, parameter);
    snprintf(w->cut_path, sizeof w->cut_path, "%s/cronq.db", scratch_new(w->cut_folder));
    faulty_remember(true);
    w->broker = ledger_open(w->uri, 1000);
    ledger_worker_init(w->worker, w->broker, 7);
    if (w->broker->ops->ping(w->broker, &err))
        fail_msg("%s", err.text);
}

static void close_world(world *w)
{
    ledger_worker_release(w->worker);
    w->broker->ops->free(w->broker);
    faulty_remember(false);
    scratch_remove(w->folder);
    scratch_remove(w->cut_folder);
    ledger_free(w->ledger);
    free(w->worker);
}

/* Nothing of what was under way, about half of it, nearly all. */
static void cut(const world *w, int step, bool lossy)
{
    for (unsigned chance = 0; chance < 3; chance++) {
        char when[64];

        snprintf(when, sizeof when, "cut after step %d, chance %u", step, chance);
        scratch_empty(w->cut_folder);
        faulty_cut(w->cut_path, chance ? 3 - chance : 0, (unsigned)step);
        ledger_check_cut(w->ledger, w->cut_path, lossy, when);
    }
}

static void work_and_cut(const char *parameter, bool lossy)
{
    world w;

    open_world(&w, parameter);
    for (int step = 0; step < STEPS; step++) {
        cronq_error err = { 0 };
        cronq_status status = step % 3 == 0
                                  ? ledger_push(w.ledger, w.broker, 40, &err)
                                  : ledger_exchange(w.ledger, w.worker, 15, &err);

        if (status)
            fail_msg("%s", err.text);
        cut(&w, step, lossy);
    }
    close_world(&w);
}

static void what_was_accepted_survives_a_power_cut(void **state)
{
    (void)state;
    work_and_cut("", false);
}

static void with_synchronous_normal_the_file_survives_a_power_cut(void **state)
{
    (void)state;
    work_and_cut("&synchronous=normal", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_accepted_survives_a_power_cut),
        cmocka_unit_test(with_synchronous_normal_the_file_survives_a_power_cut),
    };

    faulty_register();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
