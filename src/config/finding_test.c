/* SPDX-License-Identifier: MIT */
/* finding_test.c - a bad file becomes a list of all that is wrong, an odd one of
 * warnings. */
#include "base/buf.h"
#include "config/finding.h"
#include "config/fixture.h"
#include "config/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Each stands behind "Name: a\nWorkConf:\n  " at line 3, column 3. */
static void each_wrong_value_has_its_message(void **state)
{
    static const struct {
        const char *line, *fault;
        cronq_status status;
    } rows[] = {
        { "GroupGracePeriod: 5ms", "GroupGracePeriod: 5 ms is out of", CRONQ_EINVAL },
        { "GroupMaxDelay: 999ms", "GroupMaxDelay: 999 ms is out of", CRONQ_EINVAL },
        { "Concurrency: ten", "t.yaml:3:16: WorkConf.Concurrency: \"ten\" is no whole",
          CRONQ_EINVAL },
        { "Concurrency: -1", "\"-1\" is out of range; 0 to 10000 are allowed",
          CRONQ_EINVAL },
        { "Concurrency: 10001", "out of range", CRONQ_EINVAL },
        { "Concurrency: 99999999999999999999999", "out of range", CRONQ_EINVAL },
        { "Concurrency: 010", "begins with 0", CRONQ_EINVAL },
        { "Concurrency: 0x10", "no whole number", CRONQ_EINVAL },
        { "Concurrency: 1e3", "no whole number", CRONQ_EINVAL },
        { "Concurrency: .inf", "no whole number", CRONQ_EINVAL },
        { "Concurrency: 1.0", "no whole number", CRONQ_EINVAL },
        { "Concurrency: ''", "no whole number", CRONQ_EINVAL },
        { "Concurrency: '-'", "no whole number", CRONQ_EINVAL },
        { "Concurrency: [1]", "must be a number, is a list", CRONQ_EINVAL },
        { "Concurrency: {a: 1}", "must be a number, is a mapping", CRONQ_EINVAL },
        { "StrictPriority: 1", "\"1\" is neither true nor false", CRONQ_EINVAL },
        { "StrictPriority: null true", "neither", CRONQ_EINVAL },
        { "ReadTimeout: -2", "\"-2\" is out of range", CRONQ_EINVAL },
        { "ReadTimeout: 1.5", "no duration such as", CRONQ_EINVAL },
        { "ReadTimeout: 5 s", "no duration such as", CRONQ_EINVAL },
        { "ReadTimeout: -1s", "out of range", CRONQ_EINVAL },
        { "ReadTimeout: 08", "begins with 0", CRONQ_EINVAL },
        { "ReadTimeout: 315360001", "out of range", CRONQ_EINVAL },
        { "ReadTimeout: 9223372036854775807", "out of range", CRONQ_EINVAL },
        { "ShutdownTimeout: -1", "out of range", CRONQ_EINVAL },
        { "Mode: singel", "did you mean \"single\"?", CRONQ_EINVAL },
        { "Mode: xyz", "\"xyz\" is none of single|sentinel|cluster|embedded",
          CRONQ_EINVAL },
        { "Mode: single", "single needs WorkConf.Addr", CRONQ_EINVAL },
        { "{Mode: single, Addr: }", "single needs WorkConf.Addr", CRONQ_EINVAL },
        { "Mode: sentinel", "3:9: WorkConf.Mode: needs WorkConf.SentinelAddrs",
          CRONQ_EINVAL },
        { "{Mode: sentinel, SentinelAddrs: [a]}", "needs WorkConf.MasterName",
          CRONQ_EINVAL },
        { "{MasterName: m, SentinelAddrs: ['a:x']}", "\"a:x\" is not HOST:PORT",
          CRONQ_EINVAL },
        { "Mode: cluster", "needs WorkConf.Addrs", CRONQ_EINVAL },
        { "{Addrs: [a], DB: 1}", "only database 0", CRONQ_EINVAL },
        { "Addrs: ['u@a']", "is not HOST:PORT", CRONQ_EINVAL },
        { "TLS: {CA: x}", "WorkConf.TLS: must be", CRONQ_EINVAL },
        { "TLSCAFile: x", "WorkConf.TLSCAFile: needs WorkConf.TLS: true", CRONQ_EINVAL },
        { "{TLS: true, TLSMinVersion: 1.1}", "none of 1.2|1.3", CRONQ_EINVAL },
        { "OnArchive: {Timeout: 5}", "needs a Command or a URL", CRONQ_EINVAL },
        { "OnArchive: {Command: [a], URL: 'http://h/'}", "one of the two", CRONQ_EINVAL },
        { "Aggregate: {Join: lines}", "WorkConf.Aggregate.Type", CRONQ_EINVAL },
        { "Aggregate: {Type: t, Join: xml}", "none of lines|json-array", CRONQ_EINVAL },
        { "Addr: redis://:hunter2@h:1", "is a URI", CRONQ_EINVAL },
        { "Addr: hunter2@h:1", "is a URI", CRONQ_EINVAL },
        { "Addr: h:0", "a port of 1 to 65535", CRONQ_EINVAL },
        { "Addr: h:65536", "a port of 1 to 65535", CRONQ_EINVAL },
        { "Addr: 'h:'", "not HOST:PORT", CRONQ_EINVAL },
        { "Addr: '::1'", "not HOST:PORT", CRONQ_EINVAL },
        { "Addr: h/1", "not HOST:PORT", CRONQ_EINVAL },
        { "Addr: ''", "has 0 bytes; 1 to 1024 are allowed", CRONQ_EINVAL },
        { "{Addr: x.sock, Network: unix}", "absolute path", CRONQ_EINVAL },
        { "Username: \"a\\nb\"", "control character", CRONQ_EINVAL },
        { "Username: [a]", "must be a text, is a list", CRONQ_EINVAL },
        { "Queues: {'a{b}': 1}", "3:12: WorkConf.Queues: \"a{b}\" has a brace",
          CRONQ_EINVAL },
        { "Namespace: 'a{b}'", "WorkConf.Namespace: has a brace", CRONQ_EINVAL },
        { "Namespace: ' '", "WorkConf.Namespace: is blank", CRONQ_EINVAL },
        { "Namespace: ${CRONQ_LATIN1}", "WorkConf.Namespace: is not UTF-8",
          CRONQ_EINVAL },
        { "Queues: [a, b]", "must be a mapping of queues", CRONQ_EINVAL },
        { "Queues: {a: x}", "WorkConf.Queues.a: \"x\" is no whole number", CRONQ_EINVAL },
        { "Queues: {a: 1, a: 2}", "\"a\" is already set at line 3", CRONQ_EINVAL },
        { "Queues: {\"a\\0b\": 1}", "control character", CRONQ_EINVAL },
        { "SentinelAddrs: a", "must be a list of texts", CRONQ_EINVAL },
        { "Address: h", "3:3: WorkConf.Address: unknown key; did you mean \"Addr\"?",
          CRONQ_EINVAL },
        { "Concurency: 3", "did you mean \"Concurrency\"?", CRONQ_EINVAL },
        { "Level: debug", "unknown key; did you mean \"Log.Level\"?", CRONQ_EINVAL },
        { "Zzzzzzzzzzz: 1", "WorkConf.Zzzzzzzzzzz: unknown key", CRONQ_EINVAL },
        { "{DB: 1, db: 2}", "WorkConf.DB: is already set at line 3", CRONQ_EINVAL },
        { "<<: {DB: 1}", "merge keys are not supported", CRONQ_EINVAL },
        { "DB: !!int 3", "tags are not supported", CRONQ_EINVAL },
        { "[DB]: 3", "a key must be a plain text", CRONQ_EINVAL },
        { "Retry: 3", "must be a section, is a text", CRONQ_EINVAL },
        { "Password: ${CRONQ_TEST_UNSET}", "${CRONQ_TEST_UNSET}: this variable",
          CRONQ_EINVAL },
        { "Password: ${}", "in ${}", CRONQ_EINVAL },
        { "Password: ${A-b}", "in ${}", CRONQ_EINVAL },
        { "Password: ${1A}", "in ${}", CRONQ_EINVAL },
        { "Password: '${A'", "3:13: a ${ has no }", CRONQ_EINVAL },
    };
    char text[400];

    (void)state;
    unsetenv("CRONQ_TEST_UNSET");
    setenv("CRONQ_LATIN1", "caf\xe9", 1);
    for (size_t i = 0; i < ROWS(rows); i++) {
        snprintf(text, sizeof text, "Name: a\nWorkConf:\n  %s\n", rows[i].line);
        fixture_expect_fault(text, rows[i].status, rows[i].fault);
    }
}

static void what_the_server_would_refuse_is_found(void **state)
{
    (void)state;
    fixture_expect_fault("Name: a\nWorkConf: {ShutdownTimeout: 31622401}\n", CRONQ_EINVAL,
                         "0 s to 31622400 s are allowed");
    fixture_expect_fault("Name: a\nWorkConf: {Retry: {Delay: fixed, Cap: 20000h}}\n",
                         CRONQ_EINVAL, "out of range");
}

/* Each stands behind "Name: a\nTasks:\n- ". */
static void each_wrong_task_has_its_message(void **state)
{
    static const struct {
        const char *task, *fault;
    } rows[] = {
        { "{Command: [x]}", "t.yaml:3:3: Tasks[0].Pattern: is not set" },
        { "{Pattern: , Command: [x]}", "Tasks[0].Pattern: is not set" },
        { "{Pattern: ' ', Command: [x]}", "Tasks[0].Pattern: is blank" },
        { "{Pattern: a}", "neither a Command or URL to run" },
        { "{Pattern: a, Cron: , Command: }", "neither a Command or URL to run" },
        { "{Pattern: a, Command: echo hi}", "must be a list of texts, as in" },
        { "{Pattern: a, Command: []}", "has 0 entries; 1 to 1000" },
        { "{Pattern: a, Command: ['']}", "is empty" },
        { "{Pattern: a, Command: [x, [y]]}", "must be a text, is a list" },
        { "{Pattern: a, Command: [x, null]}", "must be a text, is nothing" },
        { "{Pattern: a, Command: [\"x\\0y\"]}", "NUL" },
        { "{Pattern: a, Command: [x], Env: {A-B: 1}}", "\"A-B\" can not be a variable" },
        { "{Pattern: a, Command: [x], Env: {CRONQ_QUEUE: 1}}", "can not be a variable" },
        { "{Pattern: a, Command: [x], Env: {A: 1, A: 2}}", "already set" },
        { "{Pattern: a, Command: [x], Env: {A: }}", "must be a text, is nothing" },
        { "{Pattern: a, Cron: '@daily', Unique: 500ms}", "at least 1 s" },
        { "{Pattern: a, Cron: '@daily', Queue: ' '}", "Tasks[0].Queue: is blank" },
        { "{Pattern: a, Cron: '@daily', Command: [x], Queue: q}",
          "\"q\" is not in WorkConf.Queues" },
        { "{Pattern: a, Cron: '61 * * * *'}", "3:22: Tasks[0].Cron: minute, column 1" },
        { "{Pattern: a, Cron: 'x'}", "3:22: Tasks[0].Cron: " },
        { "{Pattern: a, Cron: '@daily', TimeZone: Bad/Zone}",
          "3:42: Tasks[0].TimeZone: " },
        { "{Pattern: a, Cron: '@daily', Overlap: maybe}", "none of allow|skip" },
        { "{Pattern: a, Cron: '@daily', MaxRetry: -1}", "out of range" },
        { "{Pattern: a, Cron: '@daily', MaxRetry: 2147483648}", "out of range" },
        { "{Pattern: a, Comand: [x], Cron: '@daily'}", "did you mean \"Command\"?" },
        { "text", "Tasks[0]: must be a section, is a text" },
        { "{Pattern: a, Command: [x]}\n- {Pattern: a, Command: [y]}",
          "Tasks[1].Pattern: is the same as at line 3" },
        { "{Pattern: a, Name: n, Cron: '@daily'}\n- {Pattern: b, Name: n, Cron: "
          "'@daily'}",
          "Tasks[1].Name: is the same as at line 3" },
        { "{Pattern: a, Cron: '@daily'}\n- {Pattern: a, Cron: '@daily'}",
          "4:22: Tasks[1].Cron: is the entry of line 3 again" },
    };
    char text[400];

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        snprintf(text, sizeof text, "Name: a\nTasks:\n- %s\n", rows[i].task);
        fixture_expect_fault(text, CRONQ_EINVAL, rows[i].fault);
    }
}

static void text_that_is_no_yaml_has_a_place(void **state)
{
    static const struct {
        const char *text, *fault;
    } rows[] = {
        { "", "t.yaml:1:1: Name: is not set" },
        { "# only a comment\n", "Name: is not set" },
        { "~", "Name: is not set" },
        { "text", "the file: must be a mapping, is a text" },
        { "[a]", "must be a mapping, is a list" },
        { "Name: a\nLog:\n\tLevel: info\n", "t.yaml:3:1: " },
        { "Name: a\nLog:\n\tLevel: info\n", "indent with spaces, not with tabs" },
        { "Name: [a", "t.yaml:2:1: while parsing a flow sequence" },
        { "Name: 'a", "while scanning a quoted scalar" },
        { "Name: a\nLog: b: c\n", "t.yaml:2:7: mapping values are not allowed" },
        { "Name: a\xff", "t.yaml:1:8: byte 0xff is not UTF-8" },
        { "Name: \xc3\xa9\xed\xa0\x80", "t.yaml:1:8: byte 0xed is not UTF-8" },
        { "Name: a\nLog: \x01", "t.yaml:2:6: control characters are not allowed" },
        { "Name: a\n---\nName: b\n", "t.yaml:2:1: a second document begins here" },
        { "Name: *a", "there is no anchor &a" },
        { "Name: &a [*a]", "there is no anchor &a that is complete" },
        { "Name: ", "Name: is not set" },
        { "Name: ''", "Name: has 0 bytes" },
        { "Name: a\nname: b", "t.yaml:2:1: Name: is already set at line 1" },
        { "Name: a\n? [x]\n: y", "a key must be a plain text" },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++)
        fixture_expect_fault(rows[i].text, CRONQ_EINVAL, rows[i].fault);
}

static void file_stops_at_its_limits(void **state)
{
    static char big[CQ_YAML_MAX_BYTES + 200];
    cronq_config *config = fixture_config();
    cronq_bytes text = { big, 0 };
    cq_buf buf;

    (void)state;
    memset(big, '[', 10000);
    big[10000] = '\0';
    fixture_expect_fault(big, CRONQ_EINVAL, "t.yaml:1:33: more than 32 levels deep");
    memset(big, ' ', sizeof big);
    memcpy(big, "Name: a\n", 8);
    big[7 + 1] = '#';
    text.len = CQ_YAML_MAX_BYTES;
    assert_int_equal(cronq_config_parse(config, "t", text, NULL), CRONQ_OK);
    text.len++;
    assert_int_equal(cronq_config_parse(config, "t", text, NULL), CRONQ_EINVAL);
    assert_string_equal(cronq_config_error_at(config, 0),
                        "t:1:1: more than 1048576 bytes");
    cronq_config_free(config);
    cq_buf_init(&buf, sizeof big);
    cq_buf_append_text(&buf, "Name: &a a\nProfiling: [");
    for (int i = 0; i < CQ_YAML_MAX_ALIASES + 1; i++)
        cq_buf_append_text(&buf, "*a ,");
    cq_buf_append_text(&buf, "]");
    fixture_expect_fault(cq_buf_text(&buf), CRONQ_EINVAL, "more than 100 aliases");
    cq_buf_reset(&buf);
    cq_buf_append_text(&buf, "Name: a\nProfiling: [");
    for (int i = 0; i < CQ_YAML_MAX_ENTRIES + 1; i++)
        cq_buf_append_text(&buf, "1,");
    cq_buf_append_text(&buf, "]");
    fixture_expect_fault(cq_buf_text(&buf), CRONQ_EINVAL, "more than 10000 entries");
    cq_buf_release(&buf);
}

/* Ten times ten times … : nothing unfolds it. */
static void laughs_are_not_unfolded(void **state)
{
    cq_buf buf;

    (void)state;
    cq_buf_init(&buf, 10000);
    cq_buf_append_text(&buf, "Name: a\nProfiling:\n- &l0 x\n");
    for (int i = 1; i < 10; i++) {
        cq_buf_printf(&buf, "- &l%d [", i);
        for (int k = 0; k < 10; k++)
            cq_buf_printf(&buf, "*l%d ,", i - 1);
        cq_buf_append_text(&buf, "]\n");
    }
    fixture_expect_warning(cq_buf_text(&buf), "Profiling: is known from go-zero");
    cq_buf_release(&buf);
}

static void odd_things_are_warned_of(void **state)
{
    static const struct {
        const char *text, *warning;
    } rows[] = {
        { "WorkConf: {Queues: {a: 1, b: 0}}", "2:27: WorkConf.Queues: \"b: 0\" is ign" },
        { "WorkConf: {Queues: {a: 1, '': 4}}", "a queue needs a name" },
        { "WorkConf: {Retry: {Cap: 4}}", "no effect without Delay" },
        { "Mode: pro", "2:7: Mode: is known from go-zero but not built yet: ignored" },
        { "Log: {KeepDays: 3}", "Log.KeepDays: is known from go-zero" },
        { "Tasks: [{Pattern: a, Command: [x], Queue: q}]",
          "Tasks[0].Queue: has no effect without Cron" },
        { "Tasks: [{Pattern: a, Cron: '0 0 30 2 *'}]",
          "Tasks[0].Cron: does not come in the next five years" },
        { "Tasks: [{Pattern: a, Cron: '@daily', Dir: /}]",
          "Tasks[0].Dir: has no effect without Command" },
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        snprintf(text, sizeof text, "Name: a\n%s\n", rows[i].text);
        fixture_expect_warning(text, rows[i].warning);
    }
}

static void all_faults_are_listed_in_order(void **state)
{
    cronq_config *config = fixture_config();
    cronq_error err = { 0 };

    (void)state;
    assert_int_equal(fixture_parse(config,
                                   "WorkConf: {TLS: flag, DB: x}\nLog: {Level: loud}\n"
                                   "Tasks: [{Pattern: a}]\nName:\n",
                                   &err),
                     CRONQ_EINVAL);
    assert_int_equal(cronq_config_error_count(config), 5);
    assert_non_null(strstr(cronq_config_error_at(config, 0), "1:17: WorkConf.TLS"));
    assert_non_null(strstr(cronq_config_error_at(config, 1), "1:27: WorkConf.DB"));
    assert_non_null(strstr(cronq_config_error_at(config, 2), "2:14: Log.Level"));
    assert_non_null(strstr(cronq_config_error_at(config, 3), "3:9: Tasks[0]"));
    assert_non_null(strstr(cronq_config_error_at(config, 4), "4:1: Name: is not set"));
    assert_non_null(strstr(err.text, "(and 4 more)"));
    cronq_config_free(config);
}

static void a_thousand_faults_become_a_hundred(void **state)
{
    cronq_config *config = fixture_config();
    cq_buf buf;

    (void)state;
    cq_buf_init(&buf, 100000);
    cq_buf_append_text(&buf, "Name: a\n");
    for (int i = 0; i < 1000; i++)
        cq_buf_printf(&buf, "Unknown%d: 1\n", i);
    assert_int_equal(fixture_parse(config, cq_buf_text(&buf), NULL), CRONQ_EINVAL);
    assert_int_equal(cronq_config_error_count(config), CQ_FINDING_MAX + 1);
    assert_string_equal(cronq_config_error_at(config, CQ_FINDING_MAX),
                        "t.yaml: and 900 more");
    cq_buf_release(&buf);
    cronq_config_free(config);
}

static void values_are_escaped_and_cut_in_messages(void **state)
{
    cronq_config *config = fixture_config();
    char text[400];

    (void)state;
    snprintf(text, sizeof text, "Name: a\nWorkConf: {DB: \"\\e[31m\xc3\xa9%0200d\"}\n",
             7);
    assert_int_equal(fixture_parse(config, text, NULL), CRONQ_EINVAL);
    assert_non_null(strstr(cronq_config_error_at(config, 0), "\"\\x1b[31m\xc3\xa9"));
    assert_non_null(strstr(cronq_config_error_at(config, 0), "00…\" is no whole"));
    assert_true(strlen(cronq_config_error_at(config, 0)) < 200);
    cronq_config_free(config);
}

static void no_message_holds_a_password(void **state)
{
    static const char *const files[] = {
        "WorkConf: {Password: [hunter2]}",
        "WorkConf: {Password: \"hunter2\\n\"}",
        "WorkConf: {Passwort: hunter2}",
        "WorkConf: {Addr: 'redis://u:hunter2@h'}",
        "WorkConf: {DB: '${CRONQ_SECRET}', Addr: '${CRONQ_SECRET}@h'}",
        "WorkConf: {Concurrency: '${CRONQ_SECRET}', Queues: {a: '${CRONQ_SECRET}'}}",
        "WorkConf: {Password: hunter2, Mode: sentinel}",
    };

    (void)state;
    setenv("CRONQ_SECRET", "hunter2", 1);
    for (size_t i = 0; i < ROWS(files); i++) {
        cronq_config *config = fixture_config();
        cronq_error err = { 0 };

        assert_int_not_equal(fixture_parse(config, files[i], &err), CRONQ_OK);
        assert_null(strstr(err.text, "hunter2"));
        for (size_t k = 0; k < cronq_config_error_count(config); k++)
            assert_null(strstr(cronq_config_error_at(config, k), "hunter2"));
        cronq_config_free(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_wrong_value_has_its_message),
        cmocka_unit_test(what_the_server_would_refuse_is_found),
        cmocka_unit_test(each_wrong_task_has_its_message),
        cmocka_unit_test(text_that_is_no_yaml_has_a_place),
        cmocka_unit_test(file_stops_at_its_limits),
        cmocka_unit_test(laughs_are_not_unfolded),
        cmocka_unit_test(odd_things_are_warned_of),
        cmocka_unit_test(all_faults_are_listed_in_order),
        cmocka_unit_test(a_thousand_faults_become_a_hundred),
        cmocka_unit_test(values_are_escaped_and_cut_in_messages),
        cmocka_unit_test(no_message_holds_a_password),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
