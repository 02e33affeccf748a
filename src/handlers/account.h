/* SPDX-License-Identifier: MIT */
/* handlers/account.h - whom a command runs as. */
#ifndef CQ_HANDLERS_ACCOUNT_H
#define CQ_HANDLERS_ACCOUNT_H

#include "base/arena.h"
#include "handlers/process.h"

typedef struct cq_account {
    cq_process_user user;
    const char *name, *home; /* NULL: not known */
} cq_account;

/* user and group are names or numbers, either may be NULL. What is this process's own
 * already is left as it is. EINVAL: there is no such, or only root may. */
cronq_status cq_account_find(const char *user, const char *group, cq_arena *arena,
                             cq_account *out, cronq_error *err);

#endif
