/* SPDX-License-Identifier: MIT */
/* tree.c - YAML text as a tree of nodes.
 *
 * libyaml's events, one function a kind. A limit or a fault of syntax ends the reading
 * (NULL travels up); faults of a value are reported and read over. An alias is a pointer
 * to the node of its anchor, which is known only when that node is complete: so there are
 * no circles, and no bomb is unfolded here. */
#include "config/tree.h"

#include "base/utf8.h"

#include <yaml.h>

typedef struct anchor {
    struct anchor *older;
    const char *name;
    const cq_node *node;
} anchor;

typedef struct builder {
    yaml_parser_t parser;
    cq_str text;
    cq_arena *arena;
    cq_findings *findings;
    cq_buf scratch;
    anchor *anchors;
    size_t depth, node_count, alias_count;
} builder;

static const cq_node *build_node(builder *b, const yaml_event_t *event);

static cq_mark mark_of(yaml_mark_t mark)
{
    return (cq_mark){ mark.line + 1, mark.column + 1 };
}

/* The place of a byte. */
static cq_mark mark_at(cq_str text, size_t offset)
{
    cq_mark mark = { 1, 1 };

    for (size_t i = 0; i < offset && i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (c == '\n') {
            mark.line++;
            mark.column = 1;
        } else if ((c & 0xC0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

static bool is_indented_by_tab(cq_str text, size_t line)
{
    const char *at = text.data, *end = text.data + text.len;

    for (size_t i = 0; i < line && at; i++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    while (at && at < end && *at == ' ')
        at++;
    return at && at < end && *at == '\t';
}

static void report_syntax(builder *b)
{
    const yaml_parser_t *p = &b->parser;
    const char *problem = p->problem ? p->problem : "no YAML";
    cq_mark mark = mark_of(p->problem_mark);
    const char *hint = "";

    if (p->error == YAML_MEMORY_ERROR) {
        cq_find_nomem(b->findings);
        return;
    }
    if (p->error == YAML_READER_ERROR)
        mark = mark_at(b->text, p->problem_offset);
    else if (is_indented_by_tab(b->text, p->problem_mark.line))
        hint = "; indent with spaces, not with tabs";
    cq_find_error(b->findings, mark, NULL, "%s%s%s%s", p->context ? p->context : "",
                  p->context ? ", " : "", problem, hint);
}

static bool next_event(builder *b, yaml_event_t *event)
{
    if (yaml_parser_parse(&b->parser, event))
        return true;
    report_syntax(b);
    return false;
}

static cq_node *new_node(builder *b, cq_node_kind kind, const yaml_event_t *event)
{
    cq_node *node;

    if (++b->node_count > CQ_YAML_MAX_NODES) {
        cq_find_error(b->findings, mark_of(event->start_mark), NULL,
                      "the file has more than %d values", CQ_YAML_MAX_NODES);
        return NULL;
    }
    node = cq_arena_calloc(b->arena, 1, sizeof *node);
    if (!node) {
        cq_find_nomem(b->findings);
        return NULL;
    }
    node->kind = kind;
    node->mark = mark_of(event->start_mark);
    return node;
}

static bool keep_anchor(builder *b, const yaml_char_t *name, const cq_node *node)
{
    anchor *kept;

    if (!name)
        return true;
    kept = cq_arena_alloc(b->arena, sizeof *kept);
    if (!kept) {
        cq_find_nomem(b->findings);
        return false;
    }
    *kept = (anchor){ b->anchors, NULL, node };
    kept->name = cq_arena_dup(b->arena, name, strlen((const char *)name));
    if (!kept->name) {
        cq_find_nomem(b->findings);
        return false;
    }
    b->anchors = kept;
    return true;
}

static const cq_node *build_alias(builder *b, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    cq_mark mark = mark_of(event->start_mark);

    if (++b->alias_count > CQ_YAML_MAX_ALIASES) {
        cq_find_error(b->findings, mark, NULL, "the file has more than %d aliases",
                      CQ_YAML_MAX_ALIASES);
        return NULL;
    }
    for (const anchor *at = b->anchors; at; at = at->older)
        if (strcmp(at->name, name) == 0)
            return at->node;
    cq_find_error(b->findings, mark, NULL,
                  "*%.80s: there is no anchor &%.80s that is complete here", name, name);
    return NULL;
}

static void refuse_tag(builder *b, const yaml_char_t *tag, cq_node *node)
{
    cq_quoted quoted;

    if (!tag)
        return;
    cq_find_error(b->findings, node->mark, NULL, "the tag %s: tags are not supported",
                  cq_quote(&quoted, cq_str_of((const char *)tag)));
    node->is_broken = true;
}

/* Only a plain scalar can be null; one that became empty by its variables counts. */
static bool is_null(const cq_node *node, bool is_plain)
{
    static const char *const words[] = { "", "~", "null", "Null", "NULL" };

    for (size_t i = 0; is_plain && i < sizeof words / sizeof words[0]; i++)
        if (strcmp(node->text.data, words[i]) == 0 && node->text.len == strlen(words[i]))
            return i == 0 || !node->from_environment;
    return false;
}

static bool copy_text(builder *b, cq_str *out, const char *data, size_t len)
{
    const char *copy = cq_arena_dup(b->arena, len ? data : "", len);

    if (!copy) {
        cq_find_nomem(b->findings);
        return false;
    }
    *out = (cq_str){ copy, len };
    return true;
}

static bool set_text(builder *b, cq_node *node, const yaml_event_t *event)
{
    cq_str value = { (const char *)event->data.scalar.value, event->data.scalar.length };
    bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    if (!copy_text(b, &node->source, value.data, value.len))
        return false;
    node->text = node->source;
    if (memchr(value.data, '$', value.len)) {
        cq_buf_reset(&b->scratch);
        node->is_broken = !cq_expand(&b->scratch, value, node->mark, b->findings);
        if (!copy_text(b, &node->text, b->scratch.data, b->scratch.len))
            return false;
        node->from_environment = !cq_str_eq(node->text, node->source);
    }
    node->is_null = !node->is_broken && is_null(node, is_plain);
    return true;
}

static const cq_node *build_scalar(builder *b, const yaml_event_t *event)
{
    cq_node *node = new_node(b, CQ_NODE_SCALAR, event);

    if (!node || !set_text(b, node, event))
        return NULL;
    refuse_tag(b, event->data.scalar.tag, node);
    return keep_anchor(b, event->data.scalar.anchor, node) ? node : NULL;
}

static cq_entry *append_entry(builder *b, cq_node *node, cq_entry ***tail, cq_mark mark)
{
    cq_entry *entry;

    if (++node->count > CQ_YAML_MAX_ENTRIES) {
        cq_find_error(b->findings, mark, NULL, "more than %d entries",
                      CQ_YAML_MAX_ENTRIES);
        return NULL;
    }
    entry = cq_arena_calloc(b->arena, 1, sizeof *entry);
    if (!entry) {
        cq_find_nomem(b->findings);
        return NULL;
    }
    entry->mark = mark;
    **tail = entry;
    *tail = &entry->next;
    return entry;
}

static bool read_key(builder *b, cq_entry *entry, const yaml_event_t *event)
{
    cq_str value = { (const char *)event->data.scalar.value, event->data.scalar.length };

    if (event->type != YAML_SCALAR_EVENT) {
        cq_find_error(b->findings, entry->mark, NULL,
                      "a key must be a plain text here, not a list, mapping or alias");
        return false;
    }
    return copy_text(b, &entry->key, value.data, value.len);
}

/* Reads one entry, whose first event is given. */
static bool build_entry(builder *b, cq_node *node, cq_entry ***tail, yaml_event_t *event)
{
    cq_entry *entry = append_entry(b, node, tail, mark_of(event->start_mark));

    if (!entry)
        return false;
    if (node->kind == CQ_NODE_MAP) {
        if (!read_key(b, entry, event))
            return false;
        yaml_event_delete(event);
        if (!next_event(b, event))
            return false;
    }
    entry->value = build_node(b, event);
    return entry->value != NULL;
}

static bool build_entries(builder *b, cq_node *node)
{
    yaml_event_type_t end =
        node->kind == CQ_NODE_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    cq_entry **tail = &node->first;

    for (;;) {
        yaml_event_t event = { 0 };
        bool done, good;

        if (!next_event(b, &event))
            return false;
        done = event.type == end;
        good = done || build_entry(b, node, &tail, &event);
        yaml_event_delete(&event);
        if (done || !good)
            return good;
    }
}

static const cq_node *build_collection(builder *b, cq_node_kind kind,
                                       const yaml_event_t *event, const yaml_char_t *tag,
                                       const yaml_char_t *name)
{
    cq_node *node = new_node(b, kind, event);
    bool good;

    if (!node)
        return NULL;
    if (b->depth == CQ_YAML_MAX_DEPTH) {
        cq_find_error(b->findings, node->mark, NULL, "more than %d levels deep",
                      CQ_YAML_MAX_DEPTH);
        return NULL;
    }
    refuse_tag(b, tag, node);
    b->depth++;
    good = build_entries(b, node);
    b->depth--;
    return good && keep_anchor(b, name, node) ? node : NULL;
}

static const cq_node *build_node(builder *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return build_alias(b, event);
    case YAML_SCALAR_EVENT:
        return build_scalar(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return build_collection(b, CQ_NODE_LIST, event, event->data.sequence_start.tag,
                                event->data.sequence_start.anchor);
    case YAML_MAPPING_START_EVENT:
        return build_collection(b, CQ_NODE_MAP, event, event->data.mapping_start.tag,
                                event->data.mapping_start.anchor);
    default:
        cq_find_error(b->findings, mark_of(event->start_mark), NULL, "no value here");
        return NULL;
    }
}

/* The next event that is not of this kind; false: reported. */
static bool skip_to(builder *b, yaml_event_type_t type, yaml_event_t *event)
{
    bool good;

    do {
        yaml_event_delete(event);
        good = next_event(b, event);
    } while (good && event->type == type);
    return good;
}

static const cq_node *build_document(builder *b)
{
    yaml_event_t event = { 0 };
    const cq_node *node = NULL;

    if (skip_to(b, YAML_STREAM_START_EVENT, &event)) {
        if (event.type == YAML_STREAM_END_EVENT)
            node = new_node(b, CQ_NODE_MAP, &event);
        else if (skip_to(b, YAML_DOCUMENT_START_EVENT, &event))
            node = build_node(b, &event);
    }
    yaml_event_delete(&event);
    return node;
}

/* After the document only the end may come. */
static bool is_alone(builder *b)
{
    yaml_event_t event = { 0 };
    bool alone = false;

    if (skip_to(b, YAML_DOCUMENT_END_EVENT, &event)) {
        alone = event.type == YAML_STREAM_END_EVENT || event.type == YAML_NO_EVENT;
        if (!alone)
            cq_find_error(b->findings, mark_of(event.start_mark), NULL,
                          "a second document begins here; only one is read");
    }
    yaml_event_delete(&event);
    return alone;
}

static bool check_bytes(cq_str text, cq_findings *findings)
{
    size_t at = 0, len;

    if (text.len > CQ_YAML_MAX_BYTES) {
        cq_find_error(findings, (cq_mark){ 1, 1 }, NULL, "more than %zu bytes",
                      CQ_YAML_MAX_BYTES);
        return false;
    }
    for (; at < text.len; at += len) {
        len = cq_utf8_sequence(text.data + at, text.len - at);
        if (len == 0) {
            cq_find_error(findings, mark_at(text, at), NULL, "byte 0x%02x is not UTF-8",
                          (unsigned char)text.data[at]);
            return false;
        }
    }
    return true;
}

const cq_node *cq_tree_parse(cq_str text, cq_arena *arena, cq_findings *findings)
{
    builder b = { .text = text, .arena = arena, .findings = findings };
    const cq_node *node;

    if (!check_bytes(text, findings))
        return NULL;
    if (cq_str_starts(text, CQ_STR("\xEF\xBB\xBF"))) /* a byte order mark */
        b.text = text = (cq_str){ text.data + 3, text.len - 3 };
    if (!yaml_parser_initialize(&b.parser)) {
        cq_find_nomem(findings);
        return NULL;
    }
    cq_buf_init(&b.scratch, CQ_YAML_MAX_BYTES);
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)text.data, text.len);
    node = build_document(&b);
    if (node && !is_alone(&b))
        node = NULL;
    yaml_parser_delete(&b.parser);
    cq_buf_release(&b.scratch);
    return node;
}
