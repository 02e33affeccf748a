/* SPDX-License-Identifier: MIT */
/* scalar.c - reading one value by its row of the table. */
#include "config/scalar.h"

#include "base/clock.h"
#include "base/duration.h"
#include "base/utf8.h"

#include <cronq/store.h>
#include <strings.h>

static const char *kind_name(const cq_node *node)
{
    if (node->is_null)
        return "nothing";
    if (node->kind == CQ_NODE_LIST)
        return "a list";
    return node->kind == CQ_NODE_MAP ? "a mapping" : "a text";
}

bool cq_expect(cq_reader *r, const cq_place *at, cq_node_kind kind, const char *wanted)
{
    if (at->node->is_broken)
        return false;
    if (at->node->kind == kind && !at->node->is_null)
        return true;
    cq_find_error(r->findings, at->node->mark, at->path, "must be %s, is %s", wanted,
                  kind_name(at->node));
    return false;
}

bool cq_has_control(cq_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7F)
            return true;
    return false;
}

const char *cq_queue_fault(cq_str name)
{
    if (name.len > 0 && strspn(name.data, " ") == name.len)
        return "is blank";
    if (memchr(name.data, '{', name.len) || memchr(name.data, '}', name.len))
        return "has a brace, which would break the keys' hash tag";
    return NULL;
}

static const char *text_fault(cq_key_type type, cq_str text)
{
    if (type == CQ_KEY_DATA)
        return NULL;
    if (cq_has_control(text))
        return "has a control character (a line break, say)";
    if (!cq_utf8_valid(text.data, text.len))
        return "is not UTF-8";
    return type == CQ_KEY_QUEUE ? cq_queue_fault(text) : NULL;
}

/* Messages about texts never show them: they may be secrets. */
bool cq_read_text(cq_reader *r, const cq_place *at, cq_value *value)
{
    cq_str text = at->node->text;
    const char *fault = text_fault(at->row->type, text);

    if (!cq_expect(r, at, CQ_NODE_SCALAR, "a text"))
        return false;
    if ((int64_t)text.len < at->row->least || (int64_t)text.len > at->row->most) {
        cq_find_error(r->findings, at->node->mark, at->path,
                      "has %zu bytes; %lld to %lld are allowed", text.len,
                      (long long)at->row->least, (long long)at->row->most);
        return false;
    }
    if (fault) {
        cq_find_error(r->findings, at->node->mark, at->path, "%s", fault);
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

static void report_leading_zero(cq_reader *r, const cq_place *at)
{
    cq_quoted quoted;

    cq_find_error(r->findings, at->node->mark, at->path,
                  "%s begins with 0, which some read as octal; write it without",
                  cq_quote(&quoted, at->node->source));
}

bool cq_read_int(cq_reader *r, const cq_place *at, cq_value *value)
{
    long long least = at->row->least, most = at->row->most;
    cq_quoted quoted;
    number_form form;

    if (!cq_expect(r, at, CQ_NODE_SCALAR, "a number"))
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

/* "0.25": digits, at most nine of them behind the point. */
static bool parse_ratio(cq_str text, int64_t *out)
{
    int64_t number = 0, unit = 1000000000;
    bool behind = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (c == '.' && !behind && text.len > 1) {
            behind = true;
            continue;
        }
        if (c < '0' || c > '9' || (!behind && number > 1000000000) || unit == 0)
            return false;
        if (behind)
            unit /= 10;
        number = behind ? number + (c - '0') * unit : number * 10 + (c - '0') * unit;
    }
    *out = number;
    return text.len > 0 && number <= 1000000000;
}

bool cq_read_ratio(cq_reader *r, const cq_place *at, cq_value *value)
{
    cq_quoted quoted;

    if (!cq_expect(r, at, CQ_NODE_SCALAR, "a number from 0 to 1"))
        return false;
    if (parse_ratio(at->node->text, &value->number))
        return true;
    cq_find_error(r->findings, at->node->mark, at->path, "%s is no number from 0 to 1",
                  cq_quote(&quoted, at->node->source));
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

bool cq_read_bool(cq_reader *r, const cq_place *at, cq_value *value)
{
    cq_quoted quoted;

    if (!cq_expect(r, at, CQ_NODE_SCALAR, "true or false"))
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

bool cq_read_time(cq_reader *r, const cq_place *at, cq_value *value)
{
    int64_t unused;
    cq_quoted quoted;

    if (!cq_expect(r, at, CQ_NODE_SCALAR, "a number of seconds or a duration"))
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

bool cq_read_choice(cq_reader *r, const cq_place *at, cq_value *value)
{
    cq_quoted quoted;
    cq_str nearest;

    if (!cq_expect(r, at, CQ_NODE_SCALAR, "a text"))
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
