/* SPDX-License-Identifier: MIT */
/* broker/sqlite/file.c - where a database may lie, and whether it still lies there. */
#include "broker/sqlite/sqlite.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Their locks and shared memory do not reach other machines, or lie. */
static const struct {
    unsigned long magic;
    const char *name;
} network_file_systems[] = {
    { 0x00006969, "NFS" },        { 0x0000517b, "SMB" },    { 0xfe534d42, "SMB" },
    { 0xff534d42, "CIFS" },       { 0x01021997, "9P" },     { 0x00c36400, "Ceph" },
    { 0x5346414f, "AFS" },        { 0x6b414653, "AFS" },    { 0x73757245, "Coda" },
    { 0x0000564c, "NCP" },        { 0x7461636f, "OCFS2" },  { 0x01161970, "GFS2" },
    { 0x0bd00bd0, "Lustre" },     { 0x47504653, "GPFS" },   { 0x20030528, "PVFS2" },
    { 0x786f4256, "VirtualBox" }, { 0xbacbacbc, "VMware" }, { 0x19830326, "FhGFS" },
    { 0xaad7aaea, "PanFS" },
};

const char *cq_sqlite_network_name(unsigned long magic)
{
    size_t count = sizeof network_file_systems / sizeof *network_file_systems;

    for (size_t i = 0; i < count; i++)
        if (network_file_systems[i].magic == (magic & 0xffffffff))
            return network_file_systems[i].name;
    return NULL;
}

cronq_status cq_sqlite_check_place(const char *path, cronq_error *err)
{
    const char *slash = strrchr(path, '/'), *name;
    char *folder = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
    struct statfs fs;
    int failed;

    if (!folder)
        return cq_fail_nomem(err);
    failed = statfs(folder, &fs);
    if (failed)
        cq_fail_errno(err, CRONQ_EIO, errno, "%s: the directory of the database", path);
    free(folder);
    if (failed)
        return CRONQ_EIO;
    name = cq_sqlite_network_name((unsigned long)fs.f_type);
    if (name)
        return cq_fail(err, CRONQ_EUNSUPPORTED,
                       "%s is on a network file system (%s), whose locks can not be "
                       "relied on: use a local disk, or Redis",
                       path, name);
    return CRONQ_OK;
}

/* The files are told by stat of their paths: whoever opened and closed one would drop the
 * locks that SQLite has on it. */
static cq_sqlite_identity identify(const char *path, const char *suffix)
{
    char name[4096 + 8];
    struct stat st;

    snprintf(name, sizeof name, "%s%s", path, suffix);
    if (stat(name, &st) < 0)
        return (cq_sqlite_identity){ 0 };
    return (cq_sqlite_identity){ st.st_dev, st.st_ino };
}

cronq_status cq_sqlite_check_files(cq_sqlite *store, cronq_error *err)
{
    static const char *const suffixes[CQ_SQLITE_FILES] = { "", "-wal", "-shm" };

    for (int i = 0; i < CQ_SQLITE_FILES && !store->in_memory; i++) {
        cq_sqlite_identity now = identify(store->path, suffixes[i]),
                           *known = &store->files[i];

        if (!known->inode) {
            *known = now;
        } else if (known->inode != now.inode || known->device != now.device) {
            cq_sqlite_disconnect(store, true);
            return cq_fail(err, CRONQ_EIO, "%s%s was deleted or replaced", store->path,
                           suffixes[i]);
        }
    }
    return CRONQ_OK;
}
