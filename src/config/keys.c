/* SPDX-License-Identifier: MIT */
/* keys.c - the table of keys, and finding in it what somebody meant. */
#include "config/keys.h"

#include <cronq/config.h>

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define WORD_BYTES 48 /* longer words are not compared */

const cq_key_row cq_key_rows[CQ_KEY_COUNT] = {
#define CQ_KEY_ROW(id, path, type, least, most, choices, standard, doc) \
    [CQ_K_##id] = { path, CQ_KEY_##type, least, most, choices, standard, doc },
    CQ_CONFIG_KEYS(CQ_KEY_ROW)
#undef CQ_KEY_ROW
};

const char *cq_key_leaf(cq_key key)
{
    const char *dot = strrchr(cq_key_rows[key].path, '.');

    return dot ? dot + 1 : cq_key_rows[key].path;
}

static bool is_in_section(cq_key key, const char *section)
{
    const char *path = cq_key_rows[key].path;
    size_t len = strlen(section);

    if (len == 0)
        return cq_key_leaf(key) == path;
    return strncmp(path, section, len) == 0 && cq_key_leaf(key) == path + len + 1;
}

static bool equal_any_case(const char *word, cq_str text)
{
    return strlen(word) == text.len && strncasecmp(word, text.data, text.len) == 0;
}

cq_key cq_key_find(const char *section, cq_str name)
{
    for (cq_key key = 0; key < CQ_KEY_COUNT; key++)
        if (is_in_section(key, section) && equal_any_case(cq_key_leaf(key), name))
            return key;
    return CQ_KEY_COUNT;
}

/* How many characters are to be put in, taken out or replaced (Levenshtein), without
 * regard to case. */
static size_t distance(cq_str a, cq_str b)
{
    size_t row[WORD_BYTES + 1];

    if (a.len > WORD_BYTES || b.len > WORD_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = tolower((unsigned char)a.data[i - 1]) ==
                        tolower((unsigned char)b.data[j - 1]);
            size_t best = diagonal + !same;

            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b.len];
}

/* A third of the word may be wrong; what is only too long or too short is half as wrong.
 */
static bool is_nearer(cq_str candidate, cq_str text, size_t *best)
{
    size_t far = distance(candidate, text);
    size_t common = candidate.len < text.len ? candidate.len : text.len;

    if (far != SIZE_MAX && common > 2 &&
        strncasecmp(candidate.data, text.data, common) == 0)
        far = (far + 1) / 2;
    if (far > (text.len + 2) / 3 || far >= *best)
        return false;
    *best = far;
    return true;
}

const char *cq_key_nearest(const char *section, cq_str name)
{
    const char *found = NULL;
    size_t best = SIZE_MAX;

    for (cq_key key = 0; key < CQ_KEY_COUNT; key++)
        if (is_in_section(key, section) &&
            is_nearer(cq_str_of(cq_key_leaf(key)), name, &best))
            found = cq_key_leaf(key);
    for (cq_key key = 0; best > 1 && key < CQ_KEY_COUNT; key++)
        if (equal_any_case(cq_key_leaf(key), name)) {
            best = 0;
            found = cq_key_rows[key].path;
        }
    return found;
}

/* The choice that begins at *at, which moves to the next; false at the end. */
static bool next_choice(const char **at, cq_str *choice)
{
    size_t len;

    if (!*at || !**at)
        return false;
    len = strcspn(*at, "|");
    *choice = (cq_str){ *at, len };
    *at += len + ((*at)[len] == '|');
    return true;
}

int cq_choice_find(const char *choices, cq_str text)
{
    cq_str choice;

    for (int i = 0; next_choice(&choices, &choice); i++)
        if (choice.len == text.len && strncasecmp(choice.data, text.data, text.len) == 0)
            return i;
    return -1;
}

cq_str cq_choice_nearest(const char *choices, cq_str text)
{
    cq_str choice, found = { NULL, 0 };
    size_t best = SIZE_MAX;

    while (next_choice(&choices, &choice))
        if (is_nearer(choice, text, &best))
            found = choice;
    return found;
}

static const char *const type_names[] = {
    [CQ_KEY_TEXT] = "text",
    [CQ_KEY_QUEUE] = "text",
    [CQ_KEY_DATA] = "text",
    [CQ_KEY_INT] = "number",
    [CQ_KEY_BOOL] = "true or false",
    [CQ_KEY_TIME] = "seconds, or a duration",
    [CQ_KEY_CHOICE] = "one of",
    [CQ_KEY_TEXTS] = "list of texts",
    [CQ_KEY_WEIGHTS] = "name: weight, …",
    [CQ_KEY_PAIRS] = "NAME: text, …",
    [CQ_KEY_HEADERS] = "NAME: text, …",
    [CQ_KEY_RATIO] = "number from 0 to 1",
    [CQ_KEY_SECTION] = "section",
    [CQ_KEY_SECTIONS] = "list of sections",
    [CQ_KEY_UNBUILT] = "any",
};

static void print_range(const cq_key_row *row, char *out, size_t size)
{
    long long least = row->least, most = row->most;

    *out = '\0';
    if (row->type <= CQ_KEY_DATA)
        snprintf(out, size, "%lld to %lld bytes", least, most);
    else if (row->type == CQ_KEY_INT)
        snprintf(out, size, "%lld to %lld", least, most);
    else if (row->type == CQ_KEY_TIME)
        snprintf(out, size, "%s0 to %lld %s", least < 0 ? "-1, or " : "",
                 most == CQ_TEN_YEARS_S ? 10LL : most / CQ_DAY_S,
                 most == CQ_TEN_YEARS_S ? "years"
                 : most == CQ_DAY_S     ? "day"
                                        : "days");
    else if (row->type == CQ_KEY_CHOICE)
        snprintf(out, size, "%s", row->choices);
    else if (most > 0)
        snprintf(out, size, "%lld to %lld entries", least, most);
}

size_t cronq_config_key_count(void)
{
    return CQ_KEY_COUNT;
}

bool cronq_config_key_at(size_t index, cronq_config_key *key)
{
    const cq_key_row *row;

    if (index >= CQ_KEY_COUNT)
        return false;
    row = &cq_key_rows[index];
    key->path = row->path;
    key->type = type_names[row->type];
    key->default_text = row->standard;
    key->doc = row->type == CQ_KEY_UNBUILT ? "known from go-zero, not built yet: ignored"
                                           : row->doc;
    print_range(row, key->range, sizeof key->range);
    return true;
}
