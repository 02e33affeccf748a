/* SPDX-License-Identifier: MIT */
/* worker.c - runs tasks of type "email:welcome" until it is told to stop. */
#include <cronq/cronq.h>
#include <stdio.h>

static cronq_status welcome(cronq_attempt *attempt, void *arg)
{
    cronq_bytes payload = cronq_attempt_payload(attempt);

    (void)arg;
    printf("welcome, %.*s\n", (int)payload.len, (const char *)payload.data);
    return CRONQ_OK;
}

int main(int argc, char **argv)
{
    const char *uri = argc > 1 ? argv[1] : "sqlite:cronq.db";
    cronq_server *server = NULL;
    cronq_error err;
    int failed = cronq_server_new(uri, NULL, &server, &err) ||
                 cronq_server_add(server, "email:welcome", welcome, NULL, NULL, &err) ||
                 cronq_server_run(server, &err);

    if (failed)
        fprintf(stderr, "worker: %s\n", err.text);
    cronq_server_free(server);
    return failed;
}
