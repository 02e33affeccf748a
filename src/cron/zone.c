/* SPDX-License-Identifier: MIT */
/* zone.c - time zones, read from the system's TZif files (RFC 8536).
 *
 * Invariants: changes ascend in time; every offset is below 26 hours. A zone is written
 * only while it is made, so threads share it freely. Leap seconds ("right/") are ignored:
 * Unix time has none. */
#include "cron/zone.h"

#include "base/error.h"
#include "base/quote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZONE_DIR     "/usr/share/zoneinfo"
#define LOCAL_FILE   "/etc/localtime"
#define HEADER_BYTES 44
#define TYPE_BYTES   6
#define OFFSET_MAX_S (26 * 3600)
#define COUNTS_AT    20
#define VERSION_2    '2'
#define VERSION_AT   4
#define LEAP_EXTRA   4 /* bytes of a correction, after the time */

typedef struct change {
    int64_t at_s;
    int32_t offset_s; /* from then on */
} change;

struct cq_zone {
    int32_t first_offset_s; /* before any change */
    bool has_rule;          /* after the last change, or always when there is none */
    cq_zone_rule rule;
    size_t count;
    change changes[];
};

/* One of the (at most two) blocks of a file: the counts in its header, and its body. */
typedef struct block {
    size_t indicators_utc, indicators_std, leaps, changes, types, name_bytes;
    size_t time_bytes; /* 4 in the first, 8 in the second */
    const unsigned char *body;
    size_t size;
} block;

static int64_t big_endian(const unsigned char *p, size_t size)
{
    uint64_t value = p[0] & 0x80 ? UINT64_MAX : 0;

    for (size_t i = 0; i < size; i++)
        value = value << 8 | p[i];
    return (int64_t)value;
}

/* The header at the start of data; false when the block does not fit into data. */
static bool read_block(cq_str data, size_t time_bytes, block *out)
{
    const unsigned char *p = (const unsigned char *)data.data;
    size_t *counts[] = { &out->indicators_utc, &out->indicators_std, &out->leaps,
                         &out->changes,        &out->types,          &out->name_bytes };

    if (data.len < HEADER_BYTES || memcmp(p, "TZif", 4) != 0)
        return false;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        *counts[i] = (uint32_t)big_endian(p + COUNTS_AT + 4 * i, 4);
    out->time_bytes = time_bytes;
    out->body = p + HEADER_BYTES;
    out->size = out->changes * (time_bytes + 1) + out->types * TYPE_BYTES +
                out->name_bytes + out->leaps * (time_bytes + LEAP_EXTRA) +
                out->indicators_std + out->indicators_utc;
    return out->size <= data.len - HEADER_BYTES;
}

static cq_str after(cq_str data, size_t count)
{
    return (cq_str){ data.data + count, data.len - count };
}

/* The offset of a local time type; false when it is not one. */
static bool type_offset(const block *in, size_t type, int32_t *out)
{
    const unsigned char *types = in->body + in->changes * (in->time_bytes + 1);
    int64_t offset;

    if (type >= in->types)
        return false;
    offset = big_endian(types + type * TYPE_BYTES, 4);
    if (offset < -OFFSET_MAX_S || offset > OFFSET_MAX_S)
        return false;
    *out = (int32_t)offset;
    return true;
}

static bool type_is_summer(const block *in, size_t type)
{
    const unsigned char *types = in->body + in->changes * (in->time_bytes + 1);

    return type < in->types && types[type * TYPE_BYTES + 4] != 0;
}

/* The type in force before the first change: type 0 when no change uses it; else, when
 * the first change is to summer time, the nearest standard one listed before that; else
 * the first standard one. */
static size_t first_type(const block *in)
{
    const unsigned char *used = in->body + in->changes * in->time_bytes;

    if (in->changes == 0 || !memchr(used, 0, in->changes))
        return 0;
    if (type_is_summer(in, used[0]))
        for (size_t type = used[0]; type-- > 0;)
            if (!type_is_summer(in, type))
                return type;
    for (size_t type = 0; type < in->types; type++)
        if (!type_is_summer(in, type))
            return type;
    return 0;
}

static bool read_changes(const block *in, cq_zone *zone)
{
    const unsigned char *used = in->body + in->changes * in->time_bytes;

    if (!type_offset(in, first_type(in), &zone->first_offset_s))
        return false;
    zone->count = in->changes;
    for (size_t i = 0; i < in->changes; i++) {
        change *to = &zone->changes[i];

        to->at_s = big_endian(in->body + i * in->time_bytes, in->time_bytes);
        if (!type_offset(in, used[i], &to->offset_s) || (i > 0 && to->at_s < to[-1].at_s))
            return false;
    }
    return true;
}

/* "\nCET-1CEST,M3.5.0,M10.5.0/3\n" behind the second block; not having one is no error.
 */
static void read_footer(cq_str data, cq_zone *zone)
{
    const char *end;

    if (data.len < 2 || data.data[0] != '\n')
        return;
    data = after(data, 1);
    end = memchr(data.data, '\n', data.len);
    if (end)
        zone->has_rule = cq_zone_rule_parse(
            (cq_str){ data.data, (size_t)(end - data.data) }, &zone->rule);
}

static cronq_status broken(cq_str name, cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    return cq_fail(err, CRONQ_EINVAL, "%s is not a time zone: its file is not TZif",
                   cq_quoted(name, room));
}

cronq_status cq_zone_decode(cq_str name, cq_str data, cq_zone **out, cronq_error *err)
{
    cq_zone *zone;
    block in;

    if (!data.data || data.len > CQ_ZONE_FILE_MAX_BYTES || !read_block(data, 4, &in))
        return broken(name, err);
    if (data.data[VERSION_AT] >= VERSION_2) {
        data = after(data, HEADER_BYTES + in.size);
        if (!read_block(data, 8, &in))
            return broken(name, err);
    }
    zone = calloc(1, sizeof *zone + in.changes * sizeof zone->changes[0]);
    if (!zone)
        return cq_fail_nomem(err);
    if (!read_changes(&in, zone)) {
        free(zone);
        return broken(name, err);
    }
    if (in.time_bytes == 8)
        read_footer(after(data, HEADER_BYTES + in.size), zone);
    *out = zone;
    return CRONQ_OK;
}

/* The whole of a regular file of at most CQ_ZONE_FILE_MAX_BYTES, or an errno. */
static int read_whole(int fd, char **out, size_t *len)
{
    struct stat st;
    char *data;
    size_t got = 0;
    ssize_t n = 1;

    if (fstat(fd, &st) != 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return ENOENT;
    if (st.st_size > (off_t)CQ_ZONE_FILE_MAX_BYTES)
        return EFBIG;
    data = malloc((size_t)st.st_size + 1);
    if (!data)
        return ENOMEM;
    while (n > 0 && got < (size_t)st.st_size) {
        n = read(fd, data + got, (size_t)st.st_size - got);
        if (n > 0)
            got += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    if (n < 0) {
        int error = errno;

        free(data);
        return error;
    }
    *out = data;
    *len = got;
    return 0;
}

static int read_file(const char *path, char **out, size_t *len)
{
    /* Not to block when somebody put a pipe there. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), error;

    if (fd < 0)
        return errno;
    error = read_whole(fd, out, len);
    close(fd);
    return error;
}

static cronq_status refuse_file(cq_str name, const char *path, int error,
                                cronq_error *err)
{
    char room[CQ_QUOTED_ROOM];

    if (error == ENOMEM)
        return cq_fail_nomem(err);
    if (error == ENOENT || error == ENOTDIR)
        return cq_fail(err, CRONQ_EINVAL, "unknown time zone %s: no such file below %s",
                       cq_quoted(name, room), ZONE_DIR);
    return cq_fail_errno(err, CRONQ_EINVAL, error, "time zone %s: cannot read %s",
                         cq_quoted(name, room), path);
}

static cronq_status open_file(cq_str name, const char *path, cq_zone **out,
                              cronq_error *err)
{
    char *data = NULL;
    size_t len = 0;
    int error = read_file(path, &data, &len);
    cronq_status status;

    if (error)
        return refuse_file(name, path, error, err);
    status = cq_zone_decode(name, (cq_str){ data, len }, out, err);
    free(data);
    return status;
}

static cronq_status open_utc(cq_zone **out, cronq_error *err)
{
    cq_zone *zone = calloc(1, sizeof *zone);

    if (!zone)
        return cq_fail_nomem(err);
    *out = zone;
    return CRONQ_OK;
}

/* A name is a path below the zone directory and nothing else. */
static bool name_is_safe(cq_str name)
{
    return name.data && name.len <= CQ_ZONE_NAME_MAX_BYTES && name.data[0] != '/' &&
           name.data[0] != '\\' && !memchr(name.data, '\0', name.len) &&
           !memmem(name.data, name.len, "..", 2);
}

cronq_status cq_zone_open(cq_str name, cq_zone **out, cronq_error *err)
{
    char path[sizeof ZONE_DIR + 1 + CQ_ZONE_NAME_MAX_BYTES], room[CQ_QUOTED_ROOM];

    if (name.len == 0 || cq_str_eq(name, CQ_STR("UTC")))
        return open_utc(out, err);
    if (cq_str_eq(name, CQ_STR("Local")))
        return access(LOCAL_FILE, F_OK) == 0 ? open_file(name, LOCAL_FILE, out, err)
                                             : open_utc(out, err);
    if (!name_is_safe(name))
        return cq_fail(err, CRONQ_EINVAL,
                       "%s cannot be a time zone: at most %d bytes, without \"..\" and "
                       "without a leading slash",
                       cq_quoted(name, room), CQ_ZONE_NAME_MAX_BYTES);
    snprintf(path, sizeof path, "%s/%.*s", ZONE_DIR, CQ_FMT(name));
    return open_file(name, path, out, err);
}

void cq_zone_free(cq_zone *zone)
{
    free(zone);
}

/* How many changes are not after unix_s. */
static size_t changes_until(const cq_zone *zone, int64_t unix_s)
{
    size_t low = 0, high = zone->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (zone->changes[middle].at_s <= unix_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

cq_zone_span cq_zone_span_at(const cq_zone *zone, int64_t unix_s)
{
    cq_zone_span span = { INT64_MIN, INT64_MAX, 0 };
    size_t past;

    if (!zone)
        return span;
    past = changes_until(zone, unix_s);
    span.offset_s = past ? zone->changes[past - 1].offset_s : zone->first_offset_s;
    if (past < zone->count)
        span.until_s = zone->changes[past].at_s;
    else if (zone->has_rule)
        span = cq_zone_rule_span(&zone->rule, unix_s);
    if (past && zone->changes[past - 1].at_s > span.from_s)
        span.from_s = zone->changes[past - 1].at_s;
    return span;
}

int32_t cq_zone_offset_s(const cq_zone *zone, int64_t unix_s)
{
    return cq_zone_span_at(zone, unix_s).offset_s;
}
