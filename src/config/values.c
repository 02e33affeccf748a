/* SPDX-License-Identifier: MIT */
/* values.c - the tree, read by the table of keys. */
#include "config/values.h"

#include "base/clock.h"
#include "base/duration.h"

#include <cronq/store.h>
#include <limits.h>
#include <stdio.h>
#include <strings.h>

#define PATH_BYTES    200
#define QUEUE_BYTES   200
#define ENV_KEY_BYTES 200
#define REQUIRED      "required"

typedef struct reader {
    cq_arena *arena;
    cq_findings *findings;
} reader;

/* A value that is being read: by which row, and how messages call it. */
typedef struct place {
    const cq_key_row *row;
    const char *path;
    const cq_node *node;
} place;

static void read_map(reader *r, const char *section_path, const char *shown,
                     const cq_node *node, cq_section *section);

static void *take(reader *r, size_t count, size_t size)
{
    void *memory = cq_arena_calloc(r->arena, count ? count : 1, size);

    if (!memory)
        cq_find_nomem(r->findings);
    return memory;
}

static const char *kind_name(const cq_node *node)
{
    if (node->is_null)
        return "nothing";
    if (node->kind == CQ_NODE_LIST)
        return "a list";
    return node->kind == CQ_NODE_MAP ? "a mapping" : "a text";
}

/* Is the node of this kind? wanted is for the message: "a list of texts". */
static bool expect(reader *r, const place *at, cq_node_kind kind, const char *wanted)
{
    if (at->node->is_broken)
        return false;
    if (at->node->kind == kind && !at->node->is_null)
        return true;
    cq_find_error(r->findings, at->node->mark, at->path, "must be %s, is %s", wanted,
                  kind_name(at->node));
    return false;
}

static bool has_control(cq_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7F)
            return true;
    return false;
}

/* Messages about texts never show them: they may be secrets. */
static bool read_text(reader *r, const place *at, cq_value *value)
{
    cq_str text = at->node->text;

    if (!expect(r, at, CQ_NODE_SCALAR, "a text"))
        return false;
    if ((int64_t)text.len < at->row->least || (int64_t)text.len > at->row->most) {
        cq_find_error(r->findings, at->node->mark, at->path,
                      "has %zu bytes; %lld to %lld are allowed", text.len,
                      (long long)at->row->least, (long long)at->row->most);
        return false;
    }
    if (at->row->type == CQ_KEY_TEXT && has_control(text)) {
        cq_find_error(r->findings, at->node->mark, at->path,
                      "has a control character (a line break, say)");
        return false;
    }
    value->text = text.data;
    value->len = text.len;
    return true;
}

typedef enum number_form { FORM_GOOD, FORM_OTHER, FORM_LEADING_ZERO } number_form;

/* Decimal digits with a sign; what does not fit becomes the largest number. */
static number_form parse_int(cq_str text, int64_t *out)
{
    bool minus = text.len > 0 && text.data[0] == '-';
    size_t i = text.len > 0 && (minus || text.data[0] == '+') ? 1 : 0;
    int64_t number = 0;

    if (i == text.len)
        return FORM_OTHER;
    for (size_t k = i; k < text.len; k++) {
        if (text.data[k] < '0' || text.data[k] > '9')
            return FORM_OTHER;
        number = number > (INT64_MAX - 9) / 10 ? INT64_MAX / 10
                                               : number * 10 + (text.data[k] - '0');
    }
    if (text.data[i] == '0' && text.len > i + 1)
        return FORM_LEADING_ZERO;
    *out = minus ? -number : number;
    return FORM_GOOD;
}

static void report_leading_zero(reader *r, const place *at)
{
    cq_quoted quoted;

    cq_find_error(r->findings, at->node->mark, at->path,
                  "%s begins with 0, which some read as octal; write it without",
                  cq_quote(&quoted, at->node->source));
}

static bool read_int(reader *r, const place *at, cq_value *value)
{
    long long least = at->row->least, most = at->row->most;
    cq_quoted quoted;
    number_form form;

    if (!expect(r, at, CQ_NODE_SCALAR, "a number"))
        return false;
    form = parse_int(at->node->text, &value->number);
    if (form == FORM_LEADING_ZERO) {
        report_leading_zero(r, at);
        return false;
    }
    cq_quote(&quoted, at->node->source);
    if (form != FORM_GOOD) {
        cq_find_error(r->findings, at->node->mark, at->path,
                      "%s is no whole number; %lld to %lld are allowed", quoted.text,
                      least, most);
        return false;
    }
    if (value->number >= least && value->number <= most)
        return true;
    cq_find_error(r->findings, at->node->mark, at->path,
                  "%s is out of range; %lld to %lld are allowed", quoted.text, least,
                  most);
    return false;
}

static bool parse_bool(cq_str text, int64_t *out)
{
    static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i]) == text.len &&
            strncasecmp(words[i], text.data, text.len) == 0) {
            *out = (int64_t)(i & 1);
            return true;
        }
    return false;
}

static bool read_bool(reader *r, const place *at, cq_value *value)
{
    cq_quoted quoted;

    if (!expect(r, at, CQ_NODE_SCALAR, "true or false"))
        return false;
    if (parse_bool(at->node->text, &value->number))
        return true;
    cq_find_error(r->findings, at->node->mark, at->path, "%s is neither true nor false",
                  cq_quote(&quoted, at->node->source));
    return false;
}

/* Whole milliseconds, rounded up. */
static bool parse_time(cq_str text, int64_t *out_ms)
{
    int64_t number, ns;

    if (parse_int(text, &number) == FORM_GOOD) {
        *out_ms = number == -1                  ? CRONQ_NEVER
                  : number > CQ_TEN_YEARS_S * 2 ? INT64_MAX
                  : number < 0                  ? INT64_MIN
                                                : number * CQ_MS_PER_S;
        return true;
    }
    if (cq_duration_parse(text, &ns, NULL) != CRONQ_OK)
        return false;
    *out_ms = ns < 0 ? INT64_MIN : ns / CQ_NS_PER_MS + (ns % CQ_NS_PER_MS > 0);
    return true;
}

static bool read_time(reader *r, const place *at, cq_value *value)
{
    int64_t unused;
    cq_quoted quoted;

    if (!expect(r, at, CQ_NODE_SCALAR, "a number of seconds or a duration"))
        return false;
    if (parse_int(at->node->text, &unused) == FORM_LEADING_ZERO) {
        report_leading_zero(r, at);
        return false;
    }
    cq_quote(&quoted, at->node->source);
    if (!parse_time(at->node->text, &value->number)) {
        cq_find_error(r->findings, at->node->mark, at->path,
                      "%s is no number of seconds, and no duration such as 500ms or "
                      "1m30s",
                      quoted.text);
        return false;
    }
    if (value->number >= (at->row->least < 0 ? CRONQ_NEVER : 0) &&
        value->number <= at->row->most * CQ_MS_PER_S)
        return true;
    cq_find_error(r->findings, at->node->mark, at->path,
                  "%s is out of range; 0 s to %lld s%s are allowed", quoted.text,
                  (long long)at->row->most, at->row->least < 0 ? ", and -1 (never)" : "");
    return false;
}

static bool read_choice(reader *r, const place *at, cq_value *value)
{
    cq_quoted quoted;
    cq_str nearest;

    if (!expect(r, at, CQ_NODE_SCALAR, "a text"))
        return false;
    value->number = cq_choice_find(at->row->choices, at->node->text);
    if (value->number >= 0)
        return true;
    nearest = cq_choice_nearest(at->row->choices, at->node->text);
    cq_find_error(r->findings, at->node->mark, at->path, "%s is none of %s%s%.*s%s",
                  cq_quote(&quoted, at->node->source), at->row->choices,
                  nearest.len ? "; did you mean \"" : "", CQ_FMT(nearest),
                  nearest.len ? "\"?" : "");
    return false;
}

static bool check_count(reader *r, const place *at)
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
static bool is_inner_text(reader *r, const place *at, const cq_node *node)
{
    place inner = { at->row, at->path, node };

    if (!expect(r, &inner, CQ_NODE_SCALAR, "a text"))
        return false;
    if (!memchr(node->text.data, '\0', node->text.len))
        return true;
    cq_find_error(r->findings, node->mark, at->path, "has a NUL character");
    return false;
}

static bool read_texts(reader *r, const place *at, cq_value *value)
{
    const char **texts;
    bool good = true;

    if (!expect(r, at, CQ_NODE_LIST, "a list of texts, as in [date, -u]") ||
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
static bool read_pair_name(reader *r, const place *at, const cq_entry *entry,
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
    if (!has_control(entry->key))
        return true;
    cq_find_error(r->findings, entry->mark, at->path,
                  "the name %s has a control character", cq_quote(&quoted, entry->key));
    return false;
}

static bool read_weight(reader *r, const place *at, const cq_entry *entry, cq_pair *pair)
{
    static const cq_key_row row = { "", CQ_KEY_INT, INT32_MIN, 1000000, NULL, "", "" };
    char path[PATH_BYTES + QUEUE_BYTES];
    place inner = { &row, path, entry->value };
    cq_value value = { 0 };
    cq_quoted quoted;

    if (entry->key.len > QUEUE_BYTES) {
        cq_find_error(r->findings, entry->mark, at->path,
                      "the queue name %s has %zu bytes; at most %d are allowed",
                      cq_quote(&quoted, entry->key), entry->key.len, QUEUE_BYTES);
        return false;
    }
    snprintf(path, sizeof path, "%s.%.*s", at->path, CQ_FMT(entry->key));
    if (!read_int(r, &inner, &value))
        return false;
    pair->number = value.number;
    return true;
}

static bool read_weights(reader *r, const place *at, cq_value *value)
{
    cq_pair *pairs;
    bool good = true;

    if (!expect(r, at, CQ_NODE_MAP, "a mapping of queues to weights") ||
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

static bool read_pairs(reader *r, const place *at, cq_value *value)
{
    cq_pair *pairs;
    bool good = true;
    cq_quoted quoted;

    if (!expect(r, at, CQ_NODE_MAP, "a mapping of names to texts") || !check_count(r, at))
        return false;
    pairs = take(r, at->node->count, sizeof *pairs);
    for (const cq_entry *e = pairs ? at->node->first : NULL; e; e = e->next) {
        if (!is_variable_name(e->key)) {
            cq_find_error(r->findings, e->mark, at->path,
                          "%s can not be a variable's name: letters, digits and _, not "
                          "CRONQ_…",
                          cq_quote(&quoted, e->key));
            good = false;
        } else if (!read_pair_name(r, at, e, pairs, value->count) ||
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

static bool read_sections(reader *r, const place *at, cq_value *value)
{
    cq_section **sections;
    char path[PATH_BYTES], shown[PATH_BYTES];
    size_t index = 0;

    if (!expect(r, at, CQ_NODE_LIST, "a list of sections") || !check_count(r, at))
        return false;
    sections = take(r, at->node->count, sizeof *sections);
    snprintf(path, sizeof path, "%s[]", at->row->path);
    for (const cq_entry *e = sections ? at->node->first : NULL; e; e = e->next, index++) {
        place inner = { at->row, shown, e->value };
        cq_section *section;

        snprintf(shown, sizeof shown, "%s[%zu]", at->path, index);
        if (!expect(r, &inner, CQ_NODE_MAP, "a section"))
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

static bool read_refused(reader *r, const place *at, cq_value *value)
{
    bool is_text = at->node->kind == CQ_NODE_SCALAR;

    if (at->node->is_broken)
        return false;
    if (is_text && parse_bool(at->node->text, &value->number) && value->number == 0)
        return true;
    cq_find_unbuilt(r->findings, at->node->mark, at->path, "is not built yet");
    return false;
}

static bool read_unbuilt(reader *r, const place *at, cq_value *value)
{
    (void)value;
    cq_find_warning(r->findings, at->node->mark, at->path,
                    "is known from go-zero but not built yet: ignored");
    return true;
}

/* SECTION is read by read_entry, which has the values that it fills. */
static bool (*const readers[])(reader *, const place *, cq_value *) = {
    [CQ_KEY_TEXT] = read_text,       [CQ_KEY_DATA] = read_text,
    [CQ_KEY_INT] = read_int,         [CQ_KEY_BOOL] = read_bool,
    [CQ_KEY_TIME] = read_time,       [CQ_KEY_CHOICE] = read_choice,
    [CQ_KEY_TEXTS] = read_texts,     [CQ_KEY_WEIGHTS] = read_weights,
    [CQ_KEY_PAIRS] = read_pairs,     [CQ_KEY_SECTIONS] = read_sections,
    [CQ_KEY_UNBUILT] = read_unbuilt, [CQ_KEY_REFUSED] = read_refused,
};

static void read_value(reader *r, cq_key key, const char *shown, const cq_entry *entry,
                       cq_section *section)
{
    const cq_key_row *row = &cq_key_rows[key];
    place at = { row, shown, entry->value };
    cq_value *value = &section->values[key], read = { .key_mark = entry->mark };

    value->key_mark = entry->mark;
    if (entry->value->is_null) {
        if (strcmp(row->standard, REQUIRED) == 0)
            cq_find_error(r->findings, entry->mark, shown, "is not set");
        return;
    }
    if (row->type == CQ_KEY_SECTION) {
        if (expect(r, &at, CQ_NODE_MAP, "a section"))
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

static void report_unknown(reader *r, const char *section_path, const char *shown,
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

static void read_entry(reader *r, const char *section_path, const char *shown,
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

static void check_required(reader *r, const char *section_path, const char *shown,
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

static void read_map(reader *r, const char *section_path, const char *shown,
                     const cq_node *node, cq_section *section)
{
    for (const cq_entry *entry = node->first; entry; entry = entry->next)
        read_entry(r, section_path, shown, entry, section);
    check_required(r, section_path, shown, section, node->mark);
}

cq_section *cq_values_read(const cq_node *root, cq_arena *arena, cq_findings *findings)
{
    reader r = { arena, findings };
    static const cq_key_row row = { "", CQ_KEY_SECTION, 0, 0, NULL, "", "" };
    place at = { &row, "the file", root };
    cq_section *section = take(&r, 1, sizeof *section);

    if (!section)
        return NULL;
    section->mark = root->mark;
    if (root->is_null)
        check_required(&r, "", "", section, root->mark);
    else if (expect(&r, &at, CQ_NODE_MAP, "a mapping"))
        read_map(&r, "", "", root, section);
    return section;
}
