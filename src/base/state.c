/* SPDX-License-Identifier: MIT */
/* base/state.c - the state directory of the program. */
#include "base/state.h"

#include "base/error.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_LIMIT_BYTES 4000

static bool is_absolute(const char *path)
{
    return path && path[0] == '/';
}

/* Without a slash at its end. */
static cronq_status state_folder(cq_buf *out, cronq_error *err)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (is_absolute(state)) /* a relative one is to be ignored, says its specification */
        cq_buf_printf(out, "%s/cronq", state);
    else if (geteuid() == 0)
        cq_buf_append_text(out, "/var/lib/cronq");
    else if (is_absolute(home))
        cq_buf_printf(out, "%s/.local/state/cronq", home);
    else
        return cq_fail(err, CRONQ_ENOENT,
                       "no store is named, and there is no HOME to keep one in");
    if (out->status)
        return cq_fail(err, out->status,
                       "the path of the state directory is longer than "
                       "%d bytes",
                       PATH_LIMIT_BYTES);
    return CRONQ_OK;
}

void cq_sqlite_uri(cq_buf *out, const char *path)
{
    cq_buf_append_text(out, "sqlite:");
    for (; *path; path++) {
        if (isalnum((unsigned char)*path) || strchr("/.-_~", *path))
            cq_buf_append_char(out, *path);
        else
            cq_buf_printf(out, "%%%02X", (unsigned char)*path);
    }
}

cronq_status cq_state_uri(cq_buf *out, cronq_error *err)
{
    cronq_status status;
    cq_buf folder;

    cq_buf_init(&folder, PATH_LIMIT_BYTES);
    status = state_folder(&folder, err);
    if (!status) {
        cq_sqlite_uri(out, cq_buf_text(&folder));
        cq_buf_append_text(out, "/cronq.db");
        status = out->status ? cq_fail_nomem(err) : CRONQ_OK;
    }
    cq_buf_release(&folder);
    return status;
}

cronq_status cq_state_make_folder(cronq_error *err)
{
    cronq_status status;
    char *path, *at;
    cq_buf folder;

    cq_buf_init(&folder, PATH_LIMIT_BYTES + 1);
    status = state_folder(&folder, err);
    cq_buf_append_char(&folder, '/');
    if (!status && !cq_buf_text(&folder))
        status = cq_fail_nomem(err);
    path = folder.data;
    for (at = path; !status && (at = strchr(at + 1, '/'));) {
        *at = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            status = cq_fail_errno(err, CRONQ_EIO, errno, "%s can not be made", path);
        *at = '/';
    }
    cq_buf_release(&folder);
    return status;
}
