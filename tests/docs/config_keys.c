/* SPDX-License-Identifier: MIT */
/* config_keys.c - docs/configuration.md has the table of keys that the program has.
 *
 * usage: config_keys [FILE]. Without FILE it prints what the page must hold between its
 * first line that begins with "| key" and the line "<!-- end of keys -->". */
#include "base/buf.h"

#include <cronq/config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_BYTES ((size_t)1 << 20)

static bool is_ignored(const cronq_config_key *key)
{
    return strstr(key->doc, "not built yet: ignored") != NULL;
}

/* "a|b" would end a cell. */
static void print_cell(cq_buf *out, const char *text)
{
    for (; *text; text++)
        if (*text == '|')
            cq_buf_append_text(out, ", ");
        else
            cq_buf_append_char(out, *text);
    cq_buf_append_text(out, " |");
}

static void print_row(cq_buf *out, const cronq_config_key *key)
{
    cq_buf_printf(out, "| `%s` | ", key->path);
    cq_buf_printf(out, "%s%s", key->type, *key->range ? ": " : "");
    print_cell(out, key->range);
    cq_buf_append_char(out, ' ');
    print_cell(out, key->default_text);
    cq_buf_append_char(out, ' ');
    print_cell(out, key->doc);
    cq_buf_append_char(out, '\n');
}

static void print_table(cq_buf *out)
{
    cronq_config_key key;

    cq_buf_append_text(out, "| key | value | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; cronq_config_key_at(i, &key); i++)
        if (!is_ignored(&key))
            print_row(out, &key);
    cq_buf_append_text(out, "\nKnown from go-zero, accepted and ignored with a warning:");
    for (size_t i = 0; cronq_config_key_at(i, &key); i++)
        if (is_ignored(&key))
            cq_buf_printf(out, " `%s`", key.path);
    cq_buf_append_text(out, ".\n");
}

int main(int argc, char **argv)
{
    char *page = calloc(1, LIMIT_BYTES), *start = NULL, *end = NULL;
    FILE *file = argc > 1 ? fopen(argv[1], "r") : NULL;
    cq_buf wanted;
    bool same;

    cq_buf_init(&wanted, LIMIT_BYTES);
    print_table(&wanted);
    if (argc < 2)
        return fputs(cq_buf_text(&wanted), stdout) < 0;
    if (page && file && fread(page, 1, LIMIT_BYTES - 1, file) > 0)
        start = strstr(page, "| key");
    if (start)
        end = strstr(start, "<!-- end of keys -->");
    same =
        end && cq_str_eq(cq_buf_str(&wanted), (cq_str){ start, (size_t)(end - start) });
    if (!same)
        printf("%s is not as the table of keys; it must have\n\n%s", argv[1],
               cq_buf_text(&wanted));
    if (file)
        fclose(file);
    free(page);
    cq_buf_release(&wanted);
    return !same;
}
