/* SPDX-License-Identifier: MIT */
/* config/fixture.h - for the tests of files: texts that are good, and texts that have one
 * fault. Whatever fails in here fails the test. */
#ifndef CQ_CONFIG_FIXTURE_H
#define CQ_CONFIG_FIXTURE_H

#include <cronq/config.h>

#define ROWS(rows) (sizeof(rows) / sizeof(rows)[0])

cronq_config *fixture_config(void);
/* As a file of the name "t.yaml". */
cronq_status fixture_parse(cronq_config *config, const char *text, cronq_error *err);
/* What stands in a text without faults. */
cronq_config *fixture_good(const char *text);
/* The text has exactly this fault, or this warning and no fault. */
void fixture_expect_fault(const char *text, cronq_status status, const char *fault);
void fixture_expect_warning(const char *text, const char *warning);

#endif
