/* SPDX-License-Identifier: MIT */
/* finding.c - what is wrong with a file, collected. */
#include "config/finding.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_BYTES  1000
#define QUOTE_BYTES 80

void cq_findings_init(cq_findings *findings, cq_arena *arena, const char *file)
{
    memset(findings, 0, sizeof *findings);
    findings->arena = arena;
    findings->file = file;
}

void cq_find_nomem(cq_findings *findings)
{
    findings->status = CRONQ_ENOMEM;
}

static void add(cq_findings *findings, cq_finding_list *list, cq_mark mark,
                const char *what, const char *format, va_list args)
{
    char raw[TEXT_BYTES], text[TEXT_BYTES], place[64] = "";
    size_t len = 0;

    if (list->count == CQ_FINDING_MAX) {
        list->left_out++;
        return;
    }
    if (mark.line)
        snprintf(place, sizeof place, ":%zu:%zu", mark.line, mark.column);
    snprintf(raw, sizeof raw, "%.400s%s: %.300s%s", findings->file, place,
             what ? what : "", what ? ": " : "");
    len = strlen(raw);
    vsnprintf(raw + len, sizeof raw - len, format, args);
    cq_utf8_copy(text, sizeof text, raw, strlen(raw));
    list->items[list->count].mark = mark;
    list->items[list->count].text = cq_arena_dup(findings->arena, text, strlen(text));
    if (!list->items[list->count].text)
        cq_find_nomem(findings);
    else
        list->count++;
}

void cq_find_error(cq_findings *findings, cq_mark mark, const char *what,
                   const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add(findings, &findings->errors, mark, what, format, args);
    va_end(args);
    if (findings->status != CRONQ_ENOMEM)
        findings->status = CRONQ_EINVAL;
}

void cq_find_unbuilt(cq_findings *findings, cq_mark mark, const char *what,
                     const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add(findings, &findings->errors, mark, what, format, args);
    va_end(args);
    if (findings->status == CRONQ_OK)
        findings->status = CRONQ_EUNSUPPORTED;
}

void cq_find_warning(cq_findings *findings, cq_mark mark, const char *what,
                     const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add(findings, &findings->warnings, mark, what, format, args);
    va_end(args);
}

static int by_place(const void *left, const void *right)
{
    const cq_finding *a = left, *b = right;

    if (a->mark.line != b->mark.line)
        return a->mark.line < b->mark.line ? -1 : 1;
    if (a->mark.column != b->mark.column)
        return a->mark.column < b->mark.column ? -1 : 1;
    return strcmp(a->text, b->text);
}

static void finish(cq_findings *findings, cq_finding_list *list)
{
    char text[TEXT_BYTES];

    qsort(list->items, list->count, sizeof list->items[0], by_place);
    if (list->left_out == 0)
        return;
    snprintf(text, sizeof text, "%.400s: and %zu more", findings->file, list->left_out);
    list->items[list->count].mark = (cq_mark){ 0, 0 };
    list->items[list->count].text = cq_arena_dup(findings->arena, text, strlen(text));
    if (list->items[list->count].text)
        list->count++;
}

void cq_findings_sort(cq_findings *findings)
{
    finish(findings, &findings->errors);
    finish(findings, &findings->warnings);
}

const char *cq_quote(cq_quoted *out, cq_str text)
{
    size_t len = 0, size = sizeof out->text;

    out->text[len++] = '"';
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (i >= QUOTE_BYTES && (c & 0xC0) != 0x80) {
            len += (size_t)snprintf(out->text + len, size - len, "…");
            break;
        }
        if (c < 0x20 || c == 0x7F || c == '"' || c == '\\')
            len += (size_t)snprintf(out->text + len, size - len, "\\x%02x", c);
        else
            out->text[len++] = (char)c;
    }
    out->text[len++] = '"';
    out->text[len] = '\0';
    return out->text;
}
