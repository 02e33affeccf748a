/* SPDX-License-Identifier: MIT */
/* fuzz_duration.c - a duration that parses prints to a text that parses to the same. */
#include "base/duration.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cronq_error err = { 0 };
    int64_t ns, back;
    cq_buf text;

    if (cq_duration_parse((cq_str){ (const char *)data, size }, &ns, &err)) {
        if (err.code != CRONQ_EINVAL || !err.text[0])
            abort();
        return 0;
    }
    cq_buf_init(&text, 64);
    cq_duration_print(&text, ns);
    if (cq_duration_parse(cq_buf_str(&text), &back, NULL) || back != ns)
        abort();
    cq_buf_release(&text);
    return 0;
}
