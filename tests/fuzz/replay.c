/* SPDX-License-Identifier: MIT */
/* replay.c - runs a fuzz target as an ordinary test: over every file of its corpus, and
 * over random mutations of them, the same ones each time.
 *
 * usage: replay CORPUS [MUTATIONS]. With CQ_FUZZ_SAVE=FILE in the environment each input
 * is written there before it is run, so that what crashes can be kept. */
#include "base/random.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX         512
#define INPUT_LIMIT_BYTES (64u << 10)
#define DEFAULT_MUTATIONS 2000
#define EDITS_MAX         8
#define RUN_MAX           16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    unsigned char *data;
    size_t len;
} input;

static void run(const input *in)
{
    const char *save = getenv("CQ_FUZZ_SAVE");
    unsigned char *copy = malloc(in->len ? in->len : 1);
    FILE *file = save ? fopen(save, "wb") : NULL;

    if (!copy || (save && !file)) {
        perror(save ? save : "replay");
        exit(2);
    }
    if (file) {
        fwrite(in->data, 1, in->len, file);
        fclose(file);
    }
    /* In memory of its own that ends where the input ends. */
    memcpy(copy, in->data, in->len);
    LLVMFuzzerTestOneInput(copy, in->len);
    free(copy);
}

static size_t read_corpus(const char *dir, input files[FILES_MAX])
{
    struct dirent **names;
    int found = scandir(dir, &names, NULL, alphasort);
    size_t count = 0;

    for (int i = 0; i < found; i++) {
        char path[4096];
        FILE *file;

        snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        file = names[i]->d_name[0] == '.' ? NULL : fopen(path, "rb");
        free(names[i]);
        if (!file || count == FILES_MAX)
            continue;
        files[count].data = malloc(INPUT_LIMIT_BYTES);
        if (files[count].data) {
            files[count].len = fread(files[count].data, 1, INPUT_LIMIT_BYTES, file);
            count++;
        }
        fclose(file);
    }
    if (found >= 0)
        free(names);
    return count;
}

/* Put len bytes of from at a place in the input, which grows, up to its limit. */
static void insert(input *in, size_t at, const unsigned char *from, size_t len)
{
    if (len > INPUT_LIMIT_BYTES - in->len)
        return;
    memmove(in->data + at + len, in->data + at, in->len - at);
    memmove(in->data + at, from, len);
    in->len += len;
}

static void edit(cq_random *random, input *in, const input *other)
{
    static const unsigned char edges[] = { 0x00, 0x01, 0x7F, 0x80, 0xFF, '0', ' ', '\n' };
    size_t at = (size_t)cq_random_below(random, in->len + 1);
    size_t len = 1 + (size_t)cq_random_below(random, RUN_MAX);
    unsigned char some[RUN_MAX];
    size_t from;

    switch (cq_random_below(random, 6)) {
    case 0: /* flip a bit */
        if (at < in->len)
            in->data[at] ^= (unsigned char)(1u << cq_random_below(random, 8));
        break;
    case 1: /* a byte that is an edge of something */
        if (at < in->len)
            in->data[at] = edges[cq_random_below(random, sizeof edges)];
        break;
    case 2: /* cut out */
        if (len > in->len - at)
            len = in->len - at;
        memmove(in->data + at, in->data + at + len, in->len - at - len);
        in->len -= len;
        break;
    case 3: /* cut off */
        in->len = at;
        break;
    case 4: /* a piece of another file */
        from = (size_t)cq_random_below(random, other->len + 1);
        if (len > other->len - from)
            len = other->len - from;
        memcpy(some, other->data + from, len);
        insert(in, at, some, len);
        break;
    default: /* noise */
        for (size_t i = 0; i < len; i++)
            some[i] = (unsigned char)cq_random_next(random);
        insert(in, at, some, len);
    }
}

int main(int argc, char **argv)
{
    long mutations = argc > 2 ? atol(argv[2]) : DEFAULT_MUTATIONS;
    static unsigned char room[INPUT_LIMIT_BYTES];
    static input files[FILES_MAX];
    cq_random random;
    size_t count;

    count = argc > 1 ? read_corpus(argv[1], files) : 0;
    if (count == 0) {
        fprintf(stderr, "usage: replay CORPUS [MUTATIONS]; a corpus has files\n");
        return 2;
    }
    run(&(input){ room, 0 });
    for (size_t i = 0; i < count; i++)
        run(&files[i]);
    cq_random_seed(&random, 1);
    for (long i = 0; i < mutations; i++) {
        const input *base = &files[cq_random_below(&random, count)];
        input in = { room, base->len };

        memcpy(room, base->data, base->len);
        for (uint64_t edits = 1 + cq_random_below(&random, EDITS_MAX); edits; edits--)
            edit(&random, &in, &files[cq_random_below(&random, count)]);
        run(&in);
    }
    printf("%zu files, %ld mutations\n", count, mutations);
    for (size_t i = 0; i < count; i++)
        free(files[i].data);
    return 0;
}
