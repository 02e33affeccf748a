/* SPDX-License-Identifier: MIT */
/* duration.c - durations as Go writes and reads them. */
#include "base/duration.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/quote.h"

/* Go computes in unsigned numbers up to this, so that the least duration is in range. */
#define MAGNITUDE_MAX ((uint64_t)1 << 63)

static const struct unit {
    cq_str name;
    uint64_t ns;
} units[] = {
    { CRONQ_LIT("ns"), 1 },
    { CRONQ_LIT("us"), 1000 },
    { CRONQ_LIT("\xC2\xB5s"), 1000 }, /* U+00B5, micro sign */
    { CRONQ_LIT("\xCE\xBCs"), 1000 }, /* U+03BC, Greek mu */
    { CRONQ_LIT("ms"), CQ_NS_PER_MS },
    { CRONQ_LIT("s"), CQ_NS_PER_S },
    { CRONQ_LIT("m"), 60 * CQ_NS_PER_S },
    { CRONQ_LIT("h"), 3600 * CQ_NS_PER_S },
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits before the point; false when they exceed the range. */
static bool read_whole(cq_str *rest, uint64_t *whole)
{
    for (; rest->len && is_digit(*rest->data); rest->data++, rest->len--) {
        if (*whole > MAGNITUDE_MAX / 10)
            return false;
        *whole = *whole * 10 + (uint64_t)(*rest->data - '0');
        if (*whole > MAGNITUDE_MAX)
            return false;
    }
    return true;
}

/* Digits behind the point: their value is fraction / scale. Those too many to matter are
 * dropped. */
static void read_fraction(cq_str *rest, uint64_t *fraction, double *scale)
{
    bool full = false;

    for (; rest->len && is_digit(*rest->data); rest->data++, rest->len--) {
        uint64_t more = *fraction * 10 + (uint64_t)(*rest->data - '0');

        full = full || *fraction > (MAGNITUDE_MAX - 1) / 10 || more > MAGNITUDE_MAX;
        if (full)
            continue;
        *fraction = more;
        *scale *= 10;
    }
}

static const struct unit *read_unit(cq_str *rest, cq_str *name)
{
    size_t len = 0;

    while (len < rest->len && rest->data[len] != '.' && !is_digit(rest->data[len]))
        len++;
    *name = (cq_str){ rest->data, len };
    *rest = (cq_str){ rest->data + len, rest->len - len };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (cq_str_eq(units[i].name, *name))
            return &units[i];
    return NULL;
}

/* One number with its unit. Returns the reason when it is wrong. */
static const char *read_term(cq_str *rest, uint64_t *ns)
{
    uint64_t whole = 0, fraction = 0;
    double scale = 1;
    size_t before = rest->len, digits;
    const struct unit *unit;
    cq_str name;

    if (!read_whole(rest, &whole))
        return "is out of range";
    digits = before - rest->len;
    if (rest->len && *rest->data == '.') {
        *rest = (cq_str){ rest->data + 1, rest->len - 1 };
        before = rest->len;
        read_fraction(rest, &fraction, &scale);
        digits += before - rest->len;
    }
    if (digits == 0)
        return "has no number where one should be";
    unit = read_unit(rest, &name);
    if (!unit)
        return name.len ? "has an unknown unit (known: h, m, s, ms, us, ns)"
                        : "has a number without a unit (h, m, s, ms, us or ns)";
    if (whole > MAGNITUDE_MAX / unit->ns)
        return "is out of range";
    /* The order of these operations decides the last digit: it is Go's. */
    *ns = whole * unit->ns;
    if (fraction)
        *ns += (uint64_t)((double)fraction * ((double)unit->ns / scale));
    return *ns > MAGNITUDE_MAX ? "is out of range" : NULL;
}

static const char *parse(cq_str rest, int64_t *out_ns)
{
    uint64_t total = 0, term;
    bool negative = rest.len && *rest.data == '-';
    const char *wrong;

    if (rest.len && (*rest.data == '-' || *rest.data == '+'))
        rest = (cq_str){ rest.data + 1, rest.len - 1 };
    if (rest.len == 0)
        return "is empty";
    if (cq_str_eq(rest, CQ_STR("0"))) {
        *out_ns = 0;
        return NULL;
    }
    while (rest.len) {
        wrong = read_term(&rest, &term);
        if (wrong)
            return wrong;
        total += term;
        if (total > MAGNITUDE_MAX)
            return "is out of range";
    }
    if (!negative && total == MAGNITUDE_MAX)
        return "is out of range";
    *out_ns = (int64_t)(negative ? 0 - total : total);
    return NULL;
}

cronq_status cq_duration_parse(cq_str text, int64_t *out_ns, cronq_error *err)
{
    const char *wrong = parse(text, out_ns);
    char shown[CQ_QUOTED_ROOM];

    if (!wrong)
        return CRONQ_OK;
    return cq_fail(err, CRONQ_EINVAL, "duration %s %s", cq_quoted(text, shown), wrong);
}

/* value / 10^digits, without zeros at the end of the fraction. */
static void print_decimal(cq_buf *out, uint64_t value, unsigned digits)
{
    char fraction[10];
    uint64_t whole = value;

    for (unsigned i = digits; i > 0; i--, whole /= 10)
        fraction[i - 1] = (char)('0' + whole % 10);
    while (digits && fraction[digits - 1] == '0')
        digits--;
    cq_buf_append_int(out, (int64_t)whole);
    if (digits)
        cq_buf_append_char(out, '.');
    cq_buf_append(out, fraction, digits);
}

void cq_duration_print(cq_buf *out, int64_t ns)
{
    uint64_t rest = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    uint64_t minutes = rest / (60 * CQ_NS_PER_S);

    if (ns < 0)
        cq_buf_append_char(out, '-');
    if (rest && rest < CQ_NS_PER_S) {
        bool micro = rest >= 1000, milli = rest >= (uint64_t)CQ_NS_PER_MS;

        print_decimal(out, rest, milli ? 6 : micro ? 3 : 0);
        cq_buf_append_text(out, milli ? "ms" : micro ? "\xC2\xB5s" : "ns");
        return;
    }
    if (minutes >= 60) {
        cq_buf_append_int(out, (int64_t)(minutes / 60));
        cq_buf_append_char(out, 'h');
    }
    if (minutes) {
        cq_buf_append_int(out, (int64_t)(minutes % 60));
        cq_buf_append_char(out, 'm');
    }
    print_decimal(out, rest % (60 * CQ_NS_PER_S), 9);
    cq_buf_append_char(out, 's');
}
