/* SPDX-License-Identifier: MIT */
/* parse.c - cron expressions: from text to the sets of values that activate. */
#include "cron/spec.h"

#include "base/clock.h"
#include "base/duration.h"
#include "base/error.h"
#include "base/quote.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define SPEC_MAX_BYTES ((size_t)1 << 20)

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun",
                                           "jul", "aug", "sep", "oct", "nov", "dec" };
static const char *const weekday_names[] = { "sun", "mon", "tue", "wed",
                                             "thu", "fri", "sat" };

typedef struct field {
    const char *name;
    int min, max;
    const char *const *names; /* of min, min + 1, … max; or NULL */
    const char *or_name;      /* what to say of them */
} field;

static const field fields[CQ_CRON_FIELD_COUNT] = {
    [CQ_CRON_SECOND] = { "second", 0, 59, NULL, "" },
    [CQ_CRON_MINUTE] = { "minute", 0, 59, NULL, "" },
    [CQ_CRON_HOUR] = { "hour", 0, 23, NULL, "" },
    [CQ_CRON_DAY] = { "day of month", 1, 31, NULL, "" },
    [CQ_CRON_MONTH] = { "month", 1, 12, month_names, " or jan to dec" },
    [CQ_CRON_WEEKDAY] = { "day of week", 0, 6, weekday_names, " or sun to sat" },
};

static const struct {
    const char *name, *spec;
} descriptors[] = {
    { "@yearly", "0 0 0 1 1 *" },  { "@annually", "0 0 0 1 1 *" },
    { "@monthly", "0 0 0 1 * *" }, { "@weekly", "0 0 0 * * 0" },
    { "@daily", "0 0 0 * * *" },   { "@midnight", "0 0 0 * * *" },
    { "@hourly", "0 0 * * * *" },
};

/* Where an error is: in a field (or NULL) of the whole text. */
typedef struct place {
    cq_str spec;
    const field *field;
    cronq_error *err;
} place;

/* Characters before at, plus one; a byte that is not UTF-8 counts as a character. */
static size_t column_of(cq_str spec, const char *at)
{
    size_t column = 1;

    for (const char *p = spec.data, *end = spec.data + spec.len; p < at; column++) {
        size_t len = cq_utf8_sequence(p, (size_t)(end - p));

        p += len ? len : 1;
    }
    return column;
}

/* "FIELD, column N: TEXT". */
static cronq_status refuse(const place *in, const char *at, const char *format, ...)
    CRONQ_PRINTF(3, 4);

static cronq_status refuse(const place *in, const char *at, const char *format, ...)
{
    char text[sizeof in->err->text];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return cq_fail(in->err, CRONQ_EINVAL, "%s, column %zu: %s",
                   in->field ? in->field->name : "cron expression",
                   column_of(in->spec, at), text);
}

/* The length of the white space at the start of text, as Unicode has it; 0 for none. The
 * first of the wide ones is U+0085, which C does not let one write by name. */
static size_t space_at(cq_str text)
{
    static const char *const wide[] = {
        "\xc2\x85", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003",
        "\u2004",   "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
        "\u2028",   "\u2029", "\u202f", "\u205f", "\u3000",
    };

    if (text.len == 0)
        return 0;
    if (text.data[0] == ' ' || (text.data[0] >= '\t' && text.data[0] <= '\r'))
        return 1;
    if ((unsigned char)text.data[0] < 0x80)
        return 0;
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        if (cq_str_starts(text, cq_str_of(wide[i])))
            return strlen(wide[i]);
    return 0;
}

static cq_str after(cq_str text, size_t count)
{
    return (cq_str){ text.data + count, text.len - count };
}

static cq_str trim_front(cq_str text)
{
    size_t count;

    while ((count = space_at(text)) > 0)
        text = after(text, count);
    return text;
}

/* The run of other characters at the start of text, which is cut off from it. */
static cq_str take_word(cq_str *text)
{
    cq_str word = { text->data, 0 };

    while (text->len && space_at(*text) == 0) {
        size_t count = cq_utf8_sequence(text->data, text->len);

        *text = after(*text, count ? count : 1);
    }
    word.len = (size_t)(text->data - word.data);
    return word;
}

/* Cut from text what stands before the next separator; false when nothing is left. The
 * last part leaves text->data NULL. */
static bool take_part(cq_str *text, char separator, cq_str *part)
{
    const char *end;

    if (!text->data)
        return false;
    end = text->len ? memchr(text->data, separator, text->len) : NULL;
    *part = *text;
    if (end) {
        part->len = (size_t)(end - text->data);
        *text = after(*text, part->len + 1);
    } else {
        *text = (cq_str){ 0 };
    }
    return true;
}

/* Decimal digits with an optional sign, within int64. */
static bool read_int(cq_str text, int64_t *out)
{
    bool negative = text.len && text.data[0] == '-';
    int64_t value = 0;

    if (negative || (text.len && text.data[0] == '+'))
        text = after(text, 1);
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int digit = text.data[i] - '0';

        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return false;
    }
    if (!negative && value == INT64_MIN)
        return false;
    *out = negative ? value : -value;
    return true;
}

/* A number or a name; which numbers are allowed is looked at later. */
static cronq_status read_value(const place *in, cq_str text, int64_t *out)
{
    char room[CQ_QUOTED_ROOM];
    const field *f = in->field;

    for (int i = 0; f->names && i <= f->max - f->min; i++)
        if (text.len == strlen(f->names[i]) &&
            strncasecmp(text.data, f->names[i], text.len) == 0) {
            *out = f->min + i;
            return CRONQ_OK;
        }
    if (read_int(text, out))
        return CRONQ_OK;
    return refuse(in, text.data, "%s is not a number within %d and %d%s",
                  cq_quoted(text, room), f->min, f->max, f->or_name);
}

typedef struct range {
    cq_str text; /* all of it, for errors */
    int64_t first, last, step;
    bool star;
} range;

/* "*", "?", "5", "mon-fri". The reference looks at nothing behind a star. */
static cronq_status read_bounds(const place *in, cq_str text, range *out, bool *single)
{
    cq_str low, high, more;
    char room[CQ_QUOTED_ROOM];
    cronq_status status;

    take_part(&text, '-', &low);
    *single = !take_part(&text, '-', &high);
    if (low.len == 1 && (low.data[0] == '*' || low.data[0] == '?')) {
        out->first = in->field->min;
        out->last = in->field->max;
        out->star = true;
        return CRONQ_OK;
    }
    status = read_value(in, low, &out->first);
    if (status)
        return status;
    out->last = out->first;
    if (*single)
        return CRONQ_OK;
    if (take_part(&text, '-', &more))
        return refuse(in, out->text.data, "%s has more than one hyphen",
                      cq_quoted(out->text, room));
    return read_value(in, high, &out->last);
}

static cronq_status read_step(const place *in, cq_str text, range *out)
{
    char room[CQ_QUOTED_ROOM];

    if (!read_int(text, &out->step) || out->step < 1)
        return refuse(in, text.data, "step %s is not a whole number from 1",
                      cq_quoted(text, room));
    /* "*" followed by "/2" is a list of values like any other. */
    out->star = out->star && out->step == 1;
    return CRONQ_OK;
}

static cronq_status check_range(const place *in, const range *r)
{
    const field *f = in->field;
    int64_t bad = r->first < f->min || r->first > f->max ? r->first : r->last;
    char room[CQ_QUOTED_ROOM];

    if (bad < f->min || bad > f->max)
        return refuse(in, r->text.data, "%lld in %s is not within %d and %d%s",
                      (long long)bad, cq_quoted(r->text, room), f->min, f->max,
                      f->or_name);
    if (r->first > r->last)
        return refuse(in, r->text.data, "%s ends (%lld) before it begins (%lld)",
                      cq_quoted(r->text, room), (long long)r->last, (long long)r->first);
    return CRONQ_OK;
}

/* "*", "5", "1-5", each also with "/STEP"; "5/15" goes on to the end of the field. */
static cronq_status read_range(const place *in, cq_str text, uint64_t *set)
{
    range r = { .text = text, .step = 1 };
    cq_str bounds, step, more;
    char room[CQ_QUOTED_ROOM];
    cronq_status status;
    bool single;

    take_part(&text, '/', &bounds);
    status = read_bounds(in, bounds, &r, &single);
    if (status)
        return status;
    if (take_part(&text, '/', &step)) {
        if (take_part(&text, '/', &more))
            return refuse(in, r.text.data, "%s has more than one slash",
                          cq_quoted(r.text, room));
        status = read_step(in, step, &r);
        if (single)
            r.last = in->field->max;
    }
    if (!status)
        status = check_range(in, &r);
    if (status)
        return status;
    /* A longer step leaves the field as well, and cannot overflow. */
    if (r.step > in->field->max)
        r.step = in->field->max + 1;
    for (int64_t value = r.first; value <= r.last; value += r.step)
        *set |= (uint64_t)1 << value;
    if (r.star)
        *set |= CQ_CRON_STAR;
    return CRONQ_OK;
}

/* Ranges with commas between them. Empty ones are passed over, as the reference does. */
static cronq_status read_field(const place *in, cq_str text, uint64_t *set)
{
    cronq_status status = CRONQ_OK;
    cq_str part;

    while (!status && take_part(&text, ',', &part))
        if (part.len)
            status = read_range(in, part, set);
    return status;
}

/* Is a set empty whose field must match? A day or a weekday need not, when the other one
 * is given. */
static bool never_fires(const uint64_t *sets)
{
    uint64_t day = sets[CQ_CRON_DAY], weekday = sets[CQ_CRON_WEEKDAY];
    bool both = (day | weekday) & CQ_CRON_STAR;

    return sets[CQ_CRON_SECOND] == 0 || sets[CQ_CRON_MINUTE] == 0 ||
           sets[CQ_CRON_HOUR] == 0 || sets[CQ_CRON_MONTH] == 0 ||
           (both ? day == 0 || weekday == 0 : day == 0 && weekday == 0);
}

/* A seconds field without a value, where the reference would try most of the seconds of
 * five years: it does not answer in reasonable time. */
static bool tries_every_second(const uint64_t *sets)
{
    int64_t combined = 1, all = 1;

    for (int i = CQ_CRON_MINUTE; i < CQ_CRON_FIELD_COUNT; i++) {
        combined *= __builtin_popcountll(sets[i] & ~CQ_CRON_STAR);
        all *= fields[i].max - fields[i].min + 1;
    }
    return sets[CQ_CRON_SECOND] == 0 && combined > all / 2;
}

static cronq_status refuse_count(const place *in, unsigned flags, size_t count,
                                 const char *at)
{
    bool seconds = flags & CQ_CRON_OPTIONAL_SECONDS;

    return refuse(
        in, at, "%zu field%s, not %s (%sminute, hour, day of month, month, day of week)",
        count, count == 1 ? "" : "s", seconds ? "5 or 6" : "5",
        seconds ? "second, " : "");
}

static cronq_status parse_fields(place *in, cq_str text, unsigned flags, cq_cron *cron)
{
    size_t max = flags & CQ_CRON_OPTIONAL_SECONDS ? 6 : 5, count = 0, first;
    cq_str words[CQ_CRON_FIELD_COUNT] = { { 0 } };
    const char *wrong = in->spec.data + in->spec.len;
    char room[CQ_QUOTED_ROOM];

    for (text = trim_front(text); text.len; text = trim_front(text), count++) {
        cq_str word = take_word(&text);

        if (count < max)
            words[count] = word;
        else if (count == max)
            wrong = word.data;
    }
    if (count < 5 || count > max)
        return refuse_count(in, flags, count, wrong);
    first = CQ_CRON_FIELD_COUNT - count;
    cron->sets[CQ_CRON_SECOND] = 1;
    for (size_t i = first; i < CQ_CRON_FIELD_COUNT; i++) {
        cronq_status status;

        in->field = &fields[i];
        cron->sets[i] = 0;
        status = read_field(in, words[i - first], &cron->sets[i]);
        if (status)
            return status;
    }
    cron->never = never_fires(cron->sets);
    if (!tries_every_second(cron->sets))
        return CRONQ_OK;
    in->field = &fields[CQ_CRON_SECOND];
    return refuse(in, words[0].data, "%s has no value", cq_quoted(words[0], room));
}

static cronq_status parse_every(const place *in, cq_str text, cq_cron *cron)
{
    cronq_error inner = { 0 };
    int64_t ns;

    if (cq_duration_parse(text, &ns, &inner))
        return refuse(in, text.data, "@every: %s", inner.text);
    cron->every_s = ns < CQ_NS_PER_S ? 1 : ns / CQ_NS_PER_S;
    return CRONQ_OK;
}

static cronq_status parse_descriptor(place *in, cq_str text, cq_cron *cron)
{
    const cq_str every = CQ_STR("@every ");
    char room[CQ_QUOTED_ROOM];

    if (cq_str_starts(text, every))
        return parse_every(in, after(text, every.len), cron);
    for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; i++)
        if (cq_str_eq(text, cq_str_of(descriptors[i].name)))
            return parse_fields(in, cq_str_of(descriptors[i].spec),
                                CQ_CRON_OPTIONAL_SECONDS, cron);
    return refuse(
        in, text.data,
        "%s is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, "
        "@hourly and @every DURATION",
        cq_quoted(text, room));
}

static cq_str trim(cq_str text)
{
    cq_str begin = trim_front(text), rest = begin;
    const char *end = begin.data;

    while (rest.len) {
        take_word(&rest);
        end = rest.data;
        rest = trim_front(rest);
    }
    return (cq_str){ begin.data, (size_t)(end - begin.data) };
}

/* Cut "TZ=NAME " or "CRON_TZ=NAME " from the front of text. */
static cronq_status parse_zone(const place *in, cq_str *text, cq_cron *cron)
{
    bool has_zone =
        cq_str_starts(*text, CQ_STR("TZ=")) || cq_str_starts(*text, CQ_STR("CRON_TZ="));
    cronq_error inner = { 0 };
    const char *end;
    cq_str name;

    if (!has_zone)
        return CRONQ_OK;
    name = after(*text,
                 (size_t)((char *)memchr(text->data, '=', text->len) + 1 - text->data));
    end = name.len ? memchr(name.data, ' ', name.len) : NULL;
    if (!end)
        return refuse(in, name.data + name.len,
                      "the time zone has no space and fields behind it");
    *text = trim(after(name, (size_t)(end - name.data)));
    name.len = (size_t)(end - name.data);
    if (cq_str_eq(name, CQ_STR("Local")))
        return CRONQ_OK;
    if (cq_zone_open(name, &cron->own_zone, &inner))
        return inner.code == CRONQ_ENOMEM ? cq_fail_nomem(in->err)
                                          : refuse(in, name.data, "%s", inner.text);
    cron->zone = cron->own_zone;
    return CRONQ_OK;
}

static cronq_status parse_spec(cq_str spec, unsigned flags, cq_cron *cron,
                               cronq_error *err)
{
    place in = { .spec = spec, .err = err };
    cronq_status status;

    if (spec.len == 0)
        return cq_fail(err, CRONQ_EINVAL, "the cron expression is empty");
    if (spec.len > SPEC_MAX_BYTES)
        return cq_fail(err, CRONQ_EINVAL, "the cron expression has %zu bytes, above %zu",
                       spec.len, SPEC_MAX_BYTES);
    status = parse_zone(&in, &spec, cron);
    if (status)
        return status;
    if (spec.len && spec.data[0] == '@')
        return parse_descriptor(&in, spec, cron);
    return parse_fields(&in, spec, flags, cron);
}

cronq_status cq_cron_parse(cq_str spec, const cq_zone *zone, unsigned flags,
                           cq_cron **out, cronq_error *err)
{
    cq_cron *cron = calloc(1, sizeof *cron);
    cronq_status status;

    if (!cron)
        return cq_fail_nomem(err);
    cron->zone = zone;
    status = parse_spec(spec, flags, cron, err);
    if (status) {
        cq_cron_free(cron);
        return status;
    }
    *out = cron;
    return CRONQ_OK;
}

void cq_cron_free(cq_cron *cron)
{
    if (!cron)
        return;
    cq_zone_free(cron->own_zone);
    free(cron);
}

int64_t cq_cron_every_s(const cq_cron *cron)
{
    return cron->every_s;
}

const cq_zone *cq_cron_zone(const cq_cron *cron)
{
    return cron->zone;
}
