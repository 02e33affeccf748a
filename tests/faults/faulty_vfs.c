/* SPDX-License-Identifier: MIT */
/* faults/faulty_vfs.c - a shim between SQLite and the file system. One thread at a time.
 */
#include "faults/faulty_vfs.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A file as it is on the disk, and what is on its way there. */
typedef struct image {
    unsigned char *bytes;
    sqlite3_int64 size, room; /* room: bytes that were allocated */
    struct pending {
        unsigned char *bytes; /* NULL: the file ends at `at` */
        sqlite3_int64 at, len;
    } * pending;
    size_t count;
} image;

typedef struct faulty_file {
    sqlite3_file base; /* first */
    sqlite3_file *real;
    image *image; /* NULL: it is not remembered */
} faulty_file;

static image images[2]; /* the database, its log */
static bool remembers;

static struct {
    faulty_kind kind;
    int nth, seen, failures;
    bool all_later;
    const char *reserve;
} plan;

void faulty_set(faulty_kind kind, int nth, bool all_later, const char *reserve)
{
    plan.kind = kind;
    plan.nth = nth;
    plan.seen = plan.failures = 0;
    plan.all_later = all_later;
    plan.reserve = reserve;
}

int faulty_failures(void)
{
    return plan.failures;
}

static bool fails(faulty_kind kind)
{
    if (plan.kind != kind || !plan.nth)
        return false;
    plan.seen++;
    if (plan.seen != plan.nth && !(plan.all_later && plan.seen > plan.nth))
        return false;
    plan.failures++;
    return true;
}

/* ---- what a power cut leaves ---- */

static void set_size(image *to, sqlite3_int64 size)
{
    if (size >= to->room) { /* twice as much: a sanitizer copies each time */
        to->room = 2 * size + 1;
        to->bytes = realloc(to->bytes, (size_t)to->room);
    }
    if (size > to->size)
        memset(to->bytes + to->size, 0, (size_t)(size - to->size));
    to->size = size;
}

static void apply(image *to, const struct pending *change)
{
    if (!change->bytes) {
        set_size(to, change->at);
        return;
    }
    if (change->at + change->len > to->size)
        set_size(to, change->at + change->len);
    memcpy(to->bytes + change->at, change->bytes, (size_t)change->len);
}

static void note(sqlite3_file *file, const void *data, sqlite3_int64 len,
                 sqlite3_int64 at)
{
    image *to = ((faulty_file *)(void *)file)->image;
    struct pending *change;

    if (!to)
        return;
    to->pending = realloc(to->pending, (to->count + 1) * sizeof *to->pending);
    change = &to->pending[to->count++];
    *change = (struct pending){ data ? malloc((size_t)len + 1) : NULL, at, len };
    if (data)
        memcpy(change->bytes, data, (size_t)len);
}

static void forget(image *of)
{
    for (size_t i = 0; i < of->count; i++)
        free(of->pending[i].bytes);
    of->count = 0;
}

static void note_sync(sqlite3_file *file)
{
    image *to = ((faulty_file *)(void *)file)->image;

    if (!to)
        return;
    for (size_t i = 0; i < to->count; i++)
        apply(to, &to->pending[i]);
    forget(to);
}

void faulty_remember(bool on)
{
    for (int i = 0; i < 2; i++) {
        forget(&images[i]);
        free(images[i].pending);
        free(images[i].bytes);
        images[i] = (image){ .bytes = NULL };
    }
    remembers = on;
}

static void leave(const image *from, const char *path, unsigned chance, unsigned *seed)
{
    image left = { .bytes = NULL };
    FILE *file;

    set_size(&left, from->size);
    if (from->size)
        memcpy(left.bytes, from->bytes, (size_t)from->size);
    for (size_t i = 0; i < from->count; i++)
        if (chance && (unsigned)rand_r(seed) % chance == 0)
            apply(&left, &from->pending[i]);
    file = fopen(path, "w");
    if (!file || fwrite(left.bytes, 1, (size_t)left.size, file) != (size_t)left.size)
        abort();
    fclose(file);
    free(left.bytes);
}

void faulty_cut(const char *path, unsigned chance, unsigned seed)
{
    char name[256];

    leave(&images[0], path, chance, &seed);
    snprintf(name, sizeof name, "%s-wal", path);
    leave(&images[1], name, chance, &seed);
}

/* ---- the methods ---- */

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((faulty_file *)(void *)file)->real;
}

static int grow_fails(sqlite3_file *real, sqlite3_int64 end)
{
    sqlite3_int64 size = 0;
    struct stat st;

    if (plan.kind != FAULTY_GROWTH || stat(plan.reserve, &st) < 0 || st.st_size == 0)
        return 0;
    real->pMethods->xFileSize(real, &size);
    return end > size && fails(FAULTY_GROWTH);
}

static int close_file(sqlite3_file *file)
{
    sqlite3_file *real = real_of(file);
    int code = real->pMethods->xClose(real);

    free(real);
    return code;
}

static int read_file(sqlite3_file *file, void *data, int len, sqlite3_int64 at)
{
    sqlite3_file *real = real_of(file);

    return fails(FAULTY_READ) ? SQLITE_IOERR_READ
                              : real->pMethods->xRead(real, data, len, at);
}

static int write_file(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    sqlite3_file *real = real_of(file);

    if (fails(FAULTY_WRITE))
        return SQLITE_IOERR_WRITE;
    if (fails(FAULTY_FULL) || grow_fails(real, at + len))
        return SQLITE_FULL;
    note(file, data, len, at);
    return real->pMethods->xWrite(real, data, len, at);
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 size)
{
    note(file, NULL, 0, size);
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int sync_file(sqlite3_file *file, int flags)
{
    sqlite3_file *real = real_of(file);

    if (fails(FAULTY_SYNC))
        return SQLITE_IOERR_FSYNC;
    note_sync(file);
    return real->pMethods->xSync(real, flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int lock_file(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int unlock_file(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int check_reserved(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int control_file(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int shm_map(sqlite3_file *file, int page, int size, int extend,
                   void volatile **out)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out);
}

static int shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int shm_unmap(sqlite3_file *file, int delete)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), delete);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = file_size,
    .xLock = lock_file,
    .xUnlock = unlock_file,
    .xCheckReservedLock = check_reserved,
    .xFileControl = control_file,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *out_flags)
{
    sqlite3_vfs *usual = vfs->pAppData;
    faulty_file *faulty = (faulty_file *)(void *)file;
    int code;

    faulty->base.pMethods = NULL;
    faulty->image = NULL;
    faulty->real = calloc(1, (size_t)usual->szOsFile);
    if (!faulty->real)
        return SQLITE_NOMEM;
    code = usual->xOpen(usual, name, faulty->real, flags, out_flags);
    if (code) {
        free(faulty->real);
        return code;
    }
    faulty->base.pMethods = &methods;
    faulty->image = !remembers                    ? NULL
                    : flags & SQLITE_OPEN_MAIN_DB ? &images[0]
                    : flags & SQLITE_OPEN_WAL     ? &images[1]
                                                  : NULL;
    return SQLITE_OK;
}

void faulty_register(void)
{
    static sqlite3_vfs vfs;
    sqlite3_vfs *usual = sqlite3_vfs_find(NULL);

    vfs = *usual;
    vfs.szOsFile = sizeof(faulty_file);
    vfs.zName = FAULTY_VFS;
    vfs.pAppData = usual;
    vfs.xOpen = open_file;
    vfs.pNext = NULL;
    sqlite3_vfs_register(&vfs, 0);
}
