/* SPDX-License-Identifier: MIT */
/* golden.c - reading the recorded vectors of tests/golden. */
#include "support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifndef CQ_GOLDEN_DIR
#define CQ_GOLDEN_DIR "tests/golden"
#endif

const char *golden_dir(void)
{
    const char *dir = getenv("CQ_GOLDEN_DIR");

    return dir ? dir : CQ_GOLDEN_DIR;
}

size_t golden_each(const char *name, void (*check)(json_t *line, size_t number))
{
    char path[4096], *text = NULL;
    size_t room = 0, number = 0;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", golden_dir(), name);
    file = fopen(path, "r");
    if (!file)
        fail_msg("cannot open %s", path);
    while (getline(&text, &room, file) > 0) {
        json_error_t error;
        json_t *line = json_loads(text, JSON_ALLOW_NUL, &error);

        if (!line)
            fail_msg("%s:%zu: %s", path, number + 1, error.text);
        check(line, ++number);
        json_decref(line);
    }
    free(text);
    fclose(file);
    assert_true(number > 0);
    return number;
}

unsigned char *golden_unhex(const char *hex, size_t *len)
{
    size_t count = strlen(hex) / 2;
    unsigned char *bytes = malloc(count + 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < count; i++) {
        unsigned byte;

        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (unsigned char)byte;
    }
    *len = count;
    return bytes;
}
