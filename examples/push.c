/* SPDX-License-Identifier: MIT */
/* push.c - puts a task into a queue, to be run two seconds later. */
#include <cronq/cronq.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    const char *uri = argc > 1 ? argv[1] : "sqlite:cronq.db";
    const cronq_task *task = CRONQ_TASK(.type = "email:welcome", .process_in_ms = 2000);
    cronq_client *client = NULL;
    cronq_error err;
    int failed = cronq_client_new(uri, NULL, &client, &err) ||
                 cronq_client_push_pack(client, task, NULL, &err, "{s:s}", "name", "Ada");

    if (failed)
        fprintf(stderr, "push: %s\n", err.text);
    cronq_client_free(client);
    return failed;
}
