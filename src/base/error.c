/* SPDX-License-Identifier: MIT */
/* error.c - statuses by name, and filling a cronq_error. */
#include "base/error.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static const struct {
    cronq_status status;
    const char *name;
    const char *text;
} statuses[] = {
#define ROW(name, value, text) { CRONQ_##name, #name, text },
    CRONQ_STATUS_MAP(ROW)
#undef ROW
};

const char *cronq_status_name(cronq_status status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i].status == status)
            return statuses[i].name;
    return "UNKNOWN";
}

const char *cronq_status_text(cronq_status status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i].status == status)
            return statuses[i].text;
    return "unknown status";
}

uint32_t cronq_version(void)
{
    return CRONQ_VERSION_NUM;
}

#define TEXT_OF(x)       #x
#define VERSION(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

const char *cronq_version_string(void)
{
    return VERSION(CRONQ_VERSION_MAJOR, CRONQ_VERSION_MINOR, CRONQ_VERSION_PATCH);
}

cronq_status cq_vfail(cronq_error *err, cronq_status code, const char *format,
                      va_list args)
{
    char raw[sizeof err->text];

    if (!err)
        return code;
    vsnprintf(raw, sizeof raw, format, args);
    err->code = code;
    cq_utf8_copy(err->text, sizeof err->text, raw, strlen(raw));
    return code;
}

cronq_status(cq_fail)(cronq_error *err, cronq_status code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    cq_vfail(err, code, format, args);
    va_end(args);
    return code;
}

cronq_status cq_fail_errno(cronq_error *err, cronq_status code, int errnum,
                           const char *format, ...)
{
    char reason[128];
    va_list args;

    va_start(args, format);
    cq_vfail(err, code, format, args);
    va_end(args);
    if (err) {
        size_t len = strlen(err->text);
        snprintf(err->text + len, sizeof err->text - len, ": %s",
                 strerror_r(errnum, reason, sizeof reason));
    }
    return code;
}

cronq_status(cq_fail_nomem)(cronq_error *err)
{
    return cq_fail(err, CRONQ_ENOMEM, "out of memory");
}
