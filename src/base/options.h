/* SPDX-License-Identifier: MIT */
/* base/options.h - reading option structs that grow at their end and carry their size. */
#ifndef CQ_BASE_OPTIONS_H
#define CQ_BASE_OPTIONS_H

#include <cronq/base.h>

/* Copy the caller's struct (its first member is its size_t struct_size) over *out, of
 * out_size bytes, which is zeroed first; NULL stands for all defaults. EINVAL when the
 * size was not set, ESIZE when the caller's header is newer and a field that we do not
 * know is not zero. name is for the text. */
cronq_status cq_options_copy(void *out, size_t out_size, const void *options,
                             const char *name, cronq_error *err);

#endif
