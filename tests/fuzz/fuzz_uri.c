/* SPDX-License-Identifier: MIT */
/* fuzz_uri.c - a URI is taken apart or refused, and no text tells the password. */
#include "net/uri.h"

#include <stdio.h>
#include <stdlib.h>

#define CANARY "s3cr3t-canary"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One server, or seeds to ask for servers. */
static void check_taken(cq_endpoint *endpoint)
{
    char text[512];
    int ways = (endpoint->host != NULL) + (endpoint->socket_path != NULL) +
               (endpoint->seed_count > 0);

    if (ways != 1 || endpoint->db < 0)
        abort();
    if (endpoint->host && (!endpoint->host[0] || endpoint->port == 0))
        abort();
    for (size_t i = 0; i < endpoint->seed_count; i++)
        if (!endpoint->seeds[i].host[0] || endpoint->seeds[i].port == 0)
            abort();
    cq_endpoint_print(endpoint, text, sizeof text);
    if (!text[0])
        abort();
    cq_endpoint_release(endpoint);
}

static void try_uri(const char *uri)
{
    cronq_error err = { .text = "" };
    cq_endpoint endpoint;
    cronq_status status = cq_endpoint_init(&endpoint, uri, NULL, &err);

    if (!status) {
        check_taken(&endpoint);
        return;
    }
    if (status != CRONQ_EINVAL && status != CRONQ_EUNSUPPORTED)
        abort();
    if (err.code != status || !err.text[0] || strstr(err.text, CANARY))
        abort();
}

static void try_around(const char *before, const char *text, const char *after)
{
    char *uri;

    if (asprintf(&uri, "%s%s%s", before, text, after) < 0)
        return;
    try_uri(uri);
    free(uri);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup(size ? (const char *)data : "", size);

    if (!text || strstr(text, CANARY)) {
        free(text);
        return 0;
    }
    try_uri(text);
    /* A password, however the rest of the URI mangles it. */
    try_around("redis://u:" CANARY, text, "");
    try_around("redis://u:" CANARY, text, "@h");
    if (strncmp(text, "redis://", 8) == 0)
        try_around("", text, ":" CANARY "@h");
    free(text);
    return 0;
}
