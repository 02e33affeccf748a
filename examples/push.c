/* SPDX-License-Identifier: MIT */
/* push.c - puts one task into a queue. */
#include <cronq/cronq.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    const char *uri = argc > 1 ? argv[1] : "redis://127.0.0.1:6379";
    cronq_client *client = NULL;
    cronq_error err;

    if (cronq_client_new(uri, NULL, &client, &err) ||
        cronq_client_push_pack(client, CRONQ_TASK(.type = "email:welcome"), NULL, &err,
                               "{s:s}", "user", "ada"))
        fprintf(stderr, "push: %s\n", err.text);
    cronq_client_free(client);
    return client == NULL;
}
