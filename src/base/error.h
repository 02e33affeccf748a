/* SPDX-License-Identifier: MIT */
/* base/error.h - filling a cronq_error.
 *
 * A function that fails writes its caller's error once and returns the status. Code that
 * cleans up after a failure passes NULL, so that the first error is the one reported. */
#ifndef CQ_BASE_ERROR_H
#define CQ_BASE_ERROR_H

#include <cronq/base.h>
#include <stdarg.h>

/* Write code and the formatted sentence to err (which may be NULL) and return code.
 * Bytes that are not UTF-8 are replaced; a text that is too long is cut. */
cronq_status cq_fail(cronq_error *err, cronq_status code, const char *format, ...)
    CRONQ_PRINTF(3, 4);
cronq_status cq_vfail(cronq_error *err, cronq_status code, const char *format,
                      va_list args) CRONQ_PRINTF(3, 0);

/* cq_fail with ": " and the text of errno appended. */
cronq_status cq_fail_errno(cronq_error *err, cronq_status code, int errnum,
                           const char *format, ...) CRONQ_PRINTF(4, 5);

/* Out of memory, with the usual sentence. */
cronq_status cq_fail_nomem(cronq_error *err);

#ifdef __clang_analyzer__ /* it can not see that these never return OK */
#define cq_fail(err, code, ...) ((void)(cq_fail)(err, code, __VA_ARGS__), (code))
#define cq_fail_nomem(err)      ((void)(cq_fail_nomem)(err), CRONQ_ENOMEM)
#endif

#endif
