/* SPDX-License-Identifier: MIT */
/* options.c - reading option structs that grow at their end and carry their size. */
#include "base/options.h"

#include "base/error.h"

#include <string.h>

cronq_status cq_options_copy(void *out, size_t out_size, const void *options,
                             const char *name, cronq_error *err)
{
    const unsigned char *bytes = options;
    size_t size = sizeof size;

    if (options)
        memcpy(&size, options, sizeof size);
    if (size < sizeof size)
        return cq_fail(err, CRONQ_EINVAL, "%s: struct_size is not set; use its macro",
                       name);
    for (size_t i = out_size; options && i < size; i++)
        if (bytes[i])
            return cq_fail(err, CRONQ_ESIZE,
                           "%s: a field behind byte %zu is not known to version %s", name,
                           out_size, cronq_version_string());
    memset(out, 0, out_size);
    if (options)
        memcpy(out, options, size < out_size ? size : out_size);
    memcpy(out, &out_size, sizeof out_size);
    return CRONQ_OK;
}
