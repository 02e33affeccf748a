/* SPDX-License-Identifier: MIT */
/* support/json_get.c - prints one value of the JSON text on stdin.
 *
 *     json_get [KEY|INDEX]...
 *
 * Strings are printed as they are, everything else as JSON. Exit code 1: not JSON (one
 * text, nothing behind it), or there is no such value. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *step(const json_t *value, const char *name)
{
    if (json_is_array(value))
        return json_array_get(value, (size_t)strtoull(name, NULL, 10));
    return json_object_get(value, name);
}

static void print(const json_t *value)
{
    if (json_is_string(value)) {
        puts(json_string_value(value));
        return;
    }
    json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
    putchar('\n');
}

int main(int argc, char **argv)
{
    json_error_t error;
    json_t *root = json_loadf(stdin, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    json_t *value = root;

    if (!root) {
        fprintf(stderr, "json_get: %d:%d: %s\n", error.line, error.column, error.text);
        return EXIT_FAILURE;
    }
    for (int i = 1; value && i < argc; i++)
        value = step(value, argv[i]);
    if (!value)
        fprintf(stderr, "json_get: no such value\n");
    else
        print(value);
    json_decref(root);
    return value ? EXIT_SUCCESS : EXIT_FAILURE;
}
