/* SPDX-License-Identifier: MIT */
/* history_test.c - the checker finds what is wrong with a history, and nothing else. */
#include "support/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static bool only_b_is_stored(const char *id, void *arg)
{
    (void)arg;
    return strcmp(id, "b") == 0;
}

static const struct {
    const char *what, *text;
    bool outage_is_cause;
    history_verdict expected;
} cases[] = {
    { "done",
      "accept a 0 0 10\nstart a 0 7 11\nend a 0 7 12\n",
      false,
      { .accepted = 1, .done = 1 } },
    { "run before its push was answered",
      "start a 0 7 9\nend a 0 7 10\naccept a 0 0 11\n",
      false,
      { .accepted = 1, .done = 1 } },
    { "stored and lost",
      "accept a 0 0 10\naccept b 0 0 11\nstart a 0 7 12\n",
      false,
      { .accepted = 2, .stored = 1, .lost = 1 } },
    { "again without a cause",
      "accept a 0 0 10\nstart a 0 7 11\nend a 0 7 12\nstart a 0 8 20\nend a 0 8 21\n",
      true,
      { .accepted = 1, .done = 1, .uncaused = 1 } },
    { "another's cause",
      "accept a 0 0 10\nstart a 0 7 11\nend a 0 7 12\ncause b 0 7 13\nstart a 0 8 20\n",
      true,
      { .accepted = 1, .done = 1, .uncaused = 1 } },
    { "lease expired",
      "accept a 0 0 10\nstart a 0 7 11\ncause a 0 8 19\nstart a 1 8 20\nend a 1 8 21\n",
      false,
      { .accepted = 1, .done = 1, .caused = 1 } },
    { "its worker crashed",
      "accept a 0 0 10\nstart a 0 7 11\ncrash - 0 7 12\nstart a 0 8 20\nend a 0 8 21\n",
      false,
      { .accepted = 1, .done = 1, .caused = 1 } },
    { "another worker crashed",
      "accept a 0 0 10\nstart a 0 7 11\ncrash - 0 6 12\nstart a 0 8 20\nend a 0 8 21\n",
      false,
      { .accepted = 1, .done = 1, .uncaused = 1 } },
    { "around an outage",
      "accept a 0 0 10\nstart a 0 7 11\noutage - 0 0 12\nback - 0 0 15\nstart a 0 7 20\n"
      "end a 0 7 21\n",
      true,
      { .accepted = 1, .done = 1, .caused = 1 } },
    { "around an outage that is no cause",
      "accept a 0 0 10\nstart a 0 7 11\noutage - 0 0 12\nback - 0 0 15\nstart a 0 7 20\n"
      "end a 0 7 21\n",
      false,
      { .accepted = 1, .done = 1, .uncaused = 1 } },
    { "pushed twice, as its answer was lost",
      "start a 0 7 5\nend a 0 7 9\naccept a 0 0 10\nstart a 0 7 11\nend a 0 7 12\n",
      false,
      { .accepted = 1, .done = 1, .caused = 1 } },
    { "after it was cancelled",
      "accept a 0 0 10\ncancel a 0 0 11\nstart a 0 7 12\n"
      "end a 0 7 13\n",
      false,
      { .accepted = 1, .done = 1, .after_cancel = 1 } },
};

static void each_history_has_its_verdict(void **state)
{
    char path[] = "/tmp/cronq-history-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const history_rules rules = { .outage_is_cause = cases[i].outage_is_cause,
                                      .is_stored = only_b_is_stored };
        history_verdict verdict;

        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, cases[i].text, strlen(cases[i].text), 0),
                         strlen(cases[i].text));
        history_judge(path, &rules, &verdict);
        verdict.text[0] = '\0';
        if (memcmp(&verdict, &cases[i].expected, offsetof(history_verdict, text)) != 0)
            fail_msg("%s: %zu accepted, %zu done, %zu stored, %zu lost, %zu/%zu again, "
                     "%zu after cancel",
                     cases[i].what, verdict.accepted, verdict.done, verdict.stored,
                     verdict.lost, verdict.caused, verdict.uncaused,
                     verdict.after_cancel);
    }
    close(fd);
    unlink(path);
}

/* A push that a fault keeps waiting may have been run long before it is accepted. */
static void what_ended_before_the_fault_did_shows_no_recovery(void **state)
{
    const char text[] = "start a 0 7 5\nend a 0 7 9\naccept a 0 0 21\n"
                        "accept b 0 0 22\nstart b 0 7 23\nend b 0 7 25\n";
    char path[] = "/tmp/cronq-history-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    assert_int_equal(history_resumed_at_ms(path, 20), 25);
    assert_int_equal(history_resumed_at_ms(path, 23), 0);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_history_has_its_verdict),
        cmocka_unit_test(what_ended_before_the_fault_did_shows_no_recovery),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
