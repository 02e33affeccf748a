/* SPDX-License-Identifier: MIT */
/* account.c - whom a command runs as. */
#include "handlers/account.h"

#include "base/error.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#define ENTRY_BYTES ((size_t)64 << 10) /* of a line of passwd or group */
#define GROUPS_MAX  1024

static bool is_number(const char *text, unsigned *out)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    *out = (unsigned)value;
    return *text >= '0' && *text <= '9' && !*end && value < ~0u;
}

/* NULL: there is none of that name; a number needs none. */
static const struct passwd *find_user(const char *name, struct passwd *entry, char *room)
{
    struct passwd *found = NULL;
    unsigned number;

    if (is_number(name, &number))
        (void)getpwuid_r(number, entry, room, ENTRY_BYTES, &found);
    else
        (void)getpwnam_r(name, entry, room, ENTRY_BYTES, &found);
    return found;
}

static bool find_group(const char *name, char *room, gid_t *out)
{
    struct group entry, *found = NULL;
    unsigned number;

    if (is_number(name, &number)) {
        *out = number;
        return true;
    }
    if (getgrnam_r(name, &entry, room, ENTRY_BYTES, &found) != 0 || !found)
        return false;
    *out = found->gr_gid;
    return true;
}

/* All the groups of a known user, else only the one. */
static bool list_groups(const char *name, cq_arena *arena, cq_process_user *user)
{
    int count = name ? GROUPS_MAX : 1;
    gid_t *groups = cq_arena_calloc(arena, (size_t)count, sizeof *groups);

    if (!groups)
        return false;
    groups[0] = user->gid;
    if (name && getgrouplist(name, user->gid, groups, &count) < 0)
        count = GROUPS_MAX;
    user->groups = groups;
    user->group_count = (size_t)count;
    return true;
}

static const char *copy(cq_arena *arena, const char *text)
{
    return cq_arena_dup(arena, text, strlen(text));
}

static cronq_status find(const char *user, const char *group, char *room, cq_arena *arena,
                         cq_account *out, cronq_error *err)
{
    struct passwd entry;
    const struct passwd *found = user ? find_user(user, &entry, room) : NULL;
    unsigned number = geteuid();

    if (user && !found && !is_number(user, &number))
        return cq_fail(err, CRONQ_EINVAL, "there is no user %.100s", user);
    if (user && !found && !group)
        return cq_fail(err, CRONQ_EINVAL, "user %.100s has no entry: a group is needed",
                       user);
    out->user.uid = found ? found->pw_uid : number;
    out->user.gid = found ? found->pw_gid : getegid();
    out->name = found ? copy(arena, found->pw_name) : NULL;
    out->home = found ? copy(arena, found->pw_dir) : NULL;
    if (found && (!out->name || !out->home))
        return cq_fail_nomem(err);
    if (group && !find_group(group, room, &out->user.gid))
        return cq_fail(err, CRONQ_EINVAL, "there is no group %.100s", group);
    if (out->user.uid == geteuid() && out->user.gid == getegid())
        return CRONQ_OK;
    if (geteuid() != 0)
        return cq_fail(err, CRONQ_EINVAL, "only root can run commands as another user");
    out->user.is_set = true;
    return list_groups(out->name, arena, &out->user) ? CRONQ_OK : cq_fail_nomem(err);
}

cronq_status cq_account_find(const char *user, const char *group, cq_arena *arena,
                             cq_account *out, cronq_error *err)
{
    cq_account account = { 0 };
    char *room;
    cronq_status status;

    if (!user && !group) {
        *out = account;
        return CRONQ_OK;
    }
    room = malloc(ENTRY_BYTES);
    if (!room)
        return cq_fail_nomem(err);
    status = find(user, group, room, arena, &account, err);
    free(room);
    if (!status)
        *out = account;
    return status;
}
