/* SPDX-License-Identifier: MIT */
/* support/acl.h - the users that docs/redis.md tells to make. */
#ifndef CQ_TEST_ACL_H
#define CQ_TEST_ACL_H

#include "support/redis_server.h"

/* Make cronq-producer, cronq-worker and cronq-operator, with this password. */
void acl_make_users(redis_server *server, const char *password);

/* Fails the test when the server has refused something for lack of a permission. */
void acl_expect_nothing_refused(redis_server *server);

#endif
