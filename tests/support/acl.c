/* SPDX-License-Identifier: MIT */
/* support/acl.c - the users that docs/redis.md tells to make. */
#include "support/acl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LINE_BYTES  4096
#define WORDS_LIMIT 200
#define BEGIN       "    ACL SETUSER "

static void make_user(redis_server *server, char *line, const char *password)
{
    const char *words[WORDS_LIMIT];
    char *rest = line, *word, secret[64];
    redisReply *reply;
    int count = 0;

    snprintf(secret, sizeof secret, ">%s", password);
    while (count < WORDS_LIMIT && (word = strtok_r(rest, " \n", &rest)))
        words[count++] = strcmp(word, ">PASSWORD") == 0 ? secret : word;
    reply = redis_server_words(server, count, words);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", words[2], reply->str);
    freeReplyObject(reply);
}

void acl_make_users(redis_server *server, const char *password)
{
    FILE *page = fopen(CQ_DOCS_DIR "/redis.md", "r");
    char line[LINE_BYTES];
    int users = 0;

    assert_non_null(page);
    while (fgets(line, sizeof line, page)) {
        if (strncmp(line, BEGIN, strlen(BEGIN)) != 0)
            continue;
        make_user(server, line, password);
        users++;
    }
    fclose(page);
    assert_int_equal(users, 3);
}

/* [count, n, reason, r, context, c, object, o, …] */
void acl_expect_nothing_refused(redis_server *server)
{
    redisReply *log = redis_server_command(server, "ACL LOG 1");

    if (log->elements > 0 && log->element[0]->elements > 7)
        fail_msg("refused: %s, %s", log->element[0]->element[5]->str,
                 log->element[0]->element[7]->str);
    freeReplyObject(log);
}
