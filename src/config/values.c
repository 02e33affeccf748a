/* SPDX-License-Identifier: MIT */
/* values.c - the tree, read by the table of keys. */
#include "config/values.h"

#include "config/scalar.h"

#include <stdio.h>

#define PATH_BYTES    200
#define QUEUE_BYTES   200
#define ENV_KEY_BYTES 200
#define REQUIRED      "required"

static void read_map(cq_reader *r, const char *section_path, const char *shown,
                     const cq_node *node, cq_section *section);

static void *take(cq_reader *r, size_t count, size_t size)
{
    void *memory = cq_arena_calloc(r->arena, count ? count : 1, size);

    if (!memory)
        cq_find_nomem(r->findings);
    return memory;
}

static bool check_count(cq_reader *r, const cq_place *at)
{
    if ((int64_t)at->node->count >= at->row->least &&
        (int64_t)at->node->count <= at->row->most)
        return true;
    cq_find_error(r->findings, at->node->mark, at->path,
                  "has %zu entries; %lld to %lld are allowed", at->node->count,
                  (long long)at->row->least, (long long)at->row->most);
    return false;
}

/* A text among others: not a list, not nothing, no NUL in it. */
static bool is_inner_text(cq_reader *r, const cq_place *at, const cq_node *node)
{
    cq_place inner = { at->row, at->path, node };

    if (!cq_expect(r, &inner, CQ_NODE_SCALAR, "a text"))
        return false;
    if (!memchr(node->text.data, '\0', node->text.len))
        return true;
    cq_find_error(r->findings, node->mark, at->path, "has a NUL character");
    return false;
}

static bool read_texts(cq_reader *r, const cq_place *at, cq_value *value)
{
    const char **texts;
    bool good = true;

    if (!cq_expect(r, at, CQ_NODE_LIST, "a list of texts, as in [date, -u]") ||
        !check_count(r, at))
        return false;
    texts = take(r, at->node->count + 1, sizeof *texts);
    if (!texts)
        return false;
    for (const cq_entry *entry = at->node->first; entry; entry = entry->next) {
        good = is_inner_text(r, at, entry->value) && good;
        texts[value->count++] = entry->value->text.data;
    }
    value->texts = texts;
    return good;
}

/* A pair's name and value, with names that are unique; NULL: reported. */
static bool read_pair_name(cq_reader *r, const cq_place *at, const cq_entry *entry,
                           const cq_pair *before, size_t count)
{
    cq_quoted quoted;

    for (size_t i = 0; i < count; i++)
        if (cq_str_eq(cq_str_of(before[i].name), entry->key)) {
            cq_find_error(r->findings, entry->mark, at->path,
                          "%s is already set at line %zu", cq_quote(&quoted, entry->key),
                          before[i].mark.line);
            return false;
        }
    if (!cq_has_control(entry->key))
        return true;
    cq_find_error(r->findings, entry->mark, at->path,
                  "the name %s has a control character", cq_quote(&quoted, entry->key));
    return false;
}

static bool read_weight(cq_reader *r, const cq_place *at, const cq_entry *entry,
                        cq_pair *pair)
{
    static const cq_key_row row = { "", CQ_KEY_INT, INT32_MIN, 1000000, NULL, "", "" };
    char path[PATH_BYTES + QUEUE_BYTES];
    cq_place inner = { &row, path, entry->value };
    cq_value value = { 0 };
    cq_quoted quoted;

    if (cq_queue_fault(entry->key) && entry->key.len > strspn(entry->key.data, " ")) {
        cq_find_error(r->findings, entry->mark, at->path, "%s %s",
                      cq_quote(&quoted, entry->key), cq_queue_fault(entry->key));
        return false;
    }
    if (entry->key.len > QUEUE_BYTES) {
        cq_find_error(r->findings, entry->mark, at->path,
                      "the queue name %s has %zu bytes; at most %d are allowed",
                      cq_quote(&quoted, entry->key), entry->key.len, QUEUE_BYTES);
        return false;
    }
    snprintf(path, sizeof path, "%s.%.*s", at->path, CQ_FMT(entry->key));
    if (!cq_read_int(r, &inner, &value))
        return false;
    pair->number = value.number;
    return true;
}

static bool read_weights(cq_reader *r, const cq_place *at, cq_value *value)
{
    cq_pair *pairs;
    bool good = true;

    if (!cq_expect(r, at, CQ_NODE_MAP, "a mapping of queues to weights") ||
        !check_count(r, at))
        return false;
    pairs = take(r, at->node->count, sizeof *pairs);
    for (const cq_entry *e = pairs ? at->node->first : NULL; e; e = e->next) {
        cq_pair *pair = &pairs[value->count];

        *pair = (cq_pair){ .mark = e->mark, .name = e->key.data };
        if (!read_pair_name(r, at, e, pairs, value->count) ||
            !read_weight(r, at, e, pair))
            good = false;
        else if (strspn(pair->name, " ") == e->key.len || pair->number < 1)
            cq_find_warning(r->findings, e->mark, at->path,
                            "\"%.200s: %lld\" is ignored: a queue needs a name, and a "
                            "weight of at least 1",
                            pair->name, (long long)pair->number);
        else
            value->count++;
    }
    value->pairs = pairs;
    return good;
}

/* As the shell has it; those of cronq's own would be replaced. */
static bool is_variable_name(cq_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';

        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.len > 0 && name.len <= ENV_KEY_BYTES &&
           !cq_str_starts(name, CQ_STR("CRONQ_"));
}

/* A token of RFC 9110. */
static bool is_header_name(cq_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];

        if (c <= ' ' || c >= 0x7F || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return name.len > 0 && name.len <= ENV_KEY_BYTES;
}

static bool is_pair_name(cq_reader *r, const cq_place *at, const cq_entry *entry)
{
    cq_quoted quoted;

    if (at->row->type == CQ_KEY_HEADERS) {
        if (is_header_name(entry->key))
            return true;
        cq_find_error(r->findings, entry->mark, at->path,
                      "%s can not be the name of an HTTP header",
                      cq_quote(&quoted, entry->key));
        return false;
    }
    if (is_variable_name(entry->key))
        return true;
    cq_find_error(r->findings, entry->mark, at->path,
                  "%s can not be a variable's name: letters, digits and _, not CRONQ_…",
                  cq_quote(&quoted, entry->key));
    return false;
}

static bool read_pairs(cq_reader *r, const cq_place *at, cq_value *value)
{
    cq_pair *pairs;
    bool good = true;

    if (!cq_expect(r, at, CQ_NODE_MAP, "a mapping of names to texts") ||
        !check_count(r, at))
        return false;
    pairs = take(r, at->node->count, sizeof *pairs);
    for (const cq_entry *e = pairs ? at->node->first : NULL; e; e = e->next) {
        if (!is_pair_name(r, at, e) || !read_pair_name(r, at, e, pairs, value->count) ||
            !is_inner_text(r, at, e->value)) {
            good = false;
        } else {
            pairs[value->count++] = (cq_pair){ .mark = e->mark,
                                               .name = e->key.data,
                                               .text = e->value->text.data };
        }
    }
    value->pairs = pairs;
    return good;
}

static bool read_sections(cq_reader *r, const cq_place *at, cq_value *value)
{
    cq_section **sections;
    char path[PATH_BYTES], shown[PATH_BYTES];
    size_t index = 0;

    if (!cq_expect(r, at, CQ_NODE_LIST, "a list of sections") || !check_count(r, at))
        return false;
    sections = take(r, at->node->count, sizeof *sections);
    snprintf(path, sizeof path, "%s[]", at->row->path);
    for (const cq_entry *e = sections ? at->node->first : NULL; e; e = e->next, index++) {
        cq_place inner = { at->row, shown, e->value };
        cq_section *section;

        snprintf(shown, sizeof shown, "%s[%zu]", at->path, index);
        if (!cq_expect(r, &inner, CQ_NODE_MAP, "a section"))
            continue;
        section = take(r, 1, sizeof *section);
        if (!section)
            return false;
        section->mark = e->value->mark;
        section->index = index;
        sections[value->count++] = section;
        read_map(r, path, shown, e->value, section);
    }
    value->sections = sections;
    return true;
}

static bool read_unbuilt(cq_reader *r, const cq_place *at, cq_value *value)
{
    (void)value;
    cq_find_warning(r->findings, at->node->mark, at->path,
                    "is known from go-zero but not built yet: ignored");
    return true;
}

/* SECTION is read by read_entry, which has the values that it fills. */
static bool (*const readers[])(cq_reader *, const cq_place *, cq_value *) = {
    [CQ_KEY_TEXT] = cq_read_text,      [CQ_KEY_QUEUE] = cq_read_text,
    [CQ_KEY_DATA] = cq_read_text,      [CQ_KEY_INT] = cq_read_int,
    [CQ_KEY_BOOL] = cq_read_bool,      [CQ_KEY_TIME] = cq_read_time,
    [CQ_KEY_CHOICE] = cq_read_choice,  [CQ_KEY_TEXTS] = read_texts,
    [CQ_KEY_WEIGHTS] = read_weights,   [CQ_KEY_PAIRS] = read_pairs,
    [CQ_KEY_HEADERS] = read_pairs,     [CQ_KEY_RATIO] = cq_read_ratio,
    [CQ_KEY_SECTIONS] = read_sections, [CQ_KEY_UNBUILT] = read_unbuilt,
};

static void read_value(cq_reader *r, cq_key key, const char *shown, const cq_entry *entry,
                       cq_section *section)
{
    const cq_key_row *row = &cq_key_rows[key];
    cq_place at = { row, shown, entry->value };
    cq_value *value = &section->values[key], read = { .key_mark = entry->mark };

    value->key_mark = entry->mark;
    if (entry->value->is_null) {
        if (strcmp(row->standard, REQUIRED) == 0)
            cq_find_error(r->findings, entry->mark, shown, "is not set");
        return;
    }
    if (row->type == CQ_KEY_SECTION) {
        value->given = cq_expect(r, &at, CQ_NODE_MAP, "a section");
        if (value->given)
            read_map(r, row->path, shown, entry->value, section);
        return;
    }
    read.mark = entry->value->mark;
    read.from_environment = entry->value->from_environment;
    read.given = true;
    if (readers[row->type](r, &at, &read))
        *value = read;
    else
        value->is_wrong = true;
}

static void report_unknown(cq_reader *r, const char *section_path, const char *shown,
                           const cq_entry *entry)
{
    const char *nearest = cq_key_nearest(section_path, entry->key);
    char path[PATH_BYTES];
    cq_quoted quoted;

    cq_quote(&quoted, entry->key);
    snprintf(path, sizeof path, "%s%s%.*s", shown, *shown ? "." : "",
             (int)strlen(quoted.text) - 2, quoted.text + 1);
    if (cq_str_eq(entry->key, CQ_STR("<<")))
        cq_find_error(r->findings, entry->mark, path, "merge keys are not supported");
    else if (nearest)
        cq_find_error(r->findings, entry->mark, path, "unknown key; did you mean \"%s\"?",
                      nearest);
    else
        cq_find_error(r->findings, entry->mark, path, "unknown key");
}

static void read_entry(cq_reader *r, const char *section_path, const char *shown,
                       const cq_entry *entry, cq_section *section)
{
    cq_key key = cq_key_find(section_path, entry->key);
    char path[PATH_BYTES];

    if (key == CQ_KEY_COUNT) {
        report_unknown(r, section_path, shown, entry);
        return;
    }
    snprintf(path, sizeof path, "%s%s%s", shown, *shown ? "." : "", cq_key_leaf(key));
    if (section->values[key].key_mark.line) {
        cq_find_error(r->findings, entry->mark, path, "is already set at line %zu",
                      section->values[key].key_mark.line);
        return;
    }
    read_value(r, key, path, entry, section);
}

static void check_required(cq_reader *r, const char *section_path, const char *shown,
                           const cq_section *section, cq_mark mark)
{
    for (cq_key key = 0; key < CQ_KEY_COUNT; key++) {
        const cq_value *value = &section->values[key];
        char path[PATH_BYTES];

        if (strcmp(cq_key_rows[key].standard, REQUIRED) != 0 ||
            cq_key_find(section_path, cq_str_of(cq_key_leaf(key))) != key)
            continue;
        snprintf(path, sizeof path, "%s%s%s", shown, *shown ? "." : "", cq_key_leaf(key));
        if (!value->key_mark.line)
            cq_find_error(r->findings, mark, path, "is not set");
    }
}

static void read_map(cq_reader *r, const char *section_path, const char *shown,
                     const cq_node *node, cq_section *section)
{
    for (const cq_entry *entry = node->first; entry; entry = entry->next)
        read_entry(r, section_path, shown, entry, section);
    check_required(r, section_path, shown, section, node->mark);
}

cq_section *cq_values_read(const cq_node *root, cq_arena *arena, cq_findings *findings)
{
    cq_reader r = { arena, findings };
    static const cq_key_row row = { "", CQ_KEY_SECTION, 0, 0, NULL, "", "" };
    cq_place at = { &row, "the file", root };
    cq_section *section = take(&r, 1, sizeof *section);

    if (!section)
        return NULL;
    section->mark = root->mark;
    if (root->is_null)
        check_required(&r, "", "", section, root->mark);
    else if (cq_expect(&r, &at, CQ_NODE_MAP, "a mapping"))
        read_map(&r, "", "", root, section);
    return section;
}
