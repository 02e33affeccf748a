/* SPDX-License-Identifier: MIT */
/* crash.c - taking down crashes, and telling of them. */
#include "worker/crash.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define STACK_BYTES ((size_t)64 * 1024)

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define SANITIZED true
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS };

bool cq_crash_install(cq_crash_fn *handler)
{
    struct sigaction action = { .sa_sigaction = handler,
                                .sa_flags = SA_SIGINFO | SA_ONSTACK };
    void *frame;

    if (SANITIZED)
        return false;
    backtrace(&frame, 1); /* the first call loads a library */
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, NULL);
    return true;
}

void *cq_crash_stack_new(void)
{
    stack_t stack = { .ss_size = STACK_BYTES };

    if (SANITIZED)
        return NULL;
    stack.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack.ss_sp == MAP_FAILED)
        return NULL;
    if (sigaltstack(&stack, NULL) == 0)
        return stack.ss_sp;
    munmap(stack.ss_sp, STACK_BYTES);
    return NULL;
}

void cq_crash_stack_free(void *memory)
{
    stack_t none = { .ss_flags = SS_DISABLE };

    if (!memory)
        return;
    sigaltstack(&none, NULL);
    munmap(memory, STACK_BYTES);
}

void cq_crash_take(cq_crash *crash, int number, const siginfo_t *info)
{
    crash->code = info->si_code;
    crash->address = info->si_code > 0 ? (uint64_t)(uintptr_t)info->si_addr : 0;
    crash->frame_count = 0;
    crash->signal = number;
}

void cq_crash_take_frames(cq_crash *crash)
{
    void *frames[CQ_CRASH_FRAMES];
    int count = backtrace(frames, CQ_CRASH_FRAMES);

    for (int i = 0; i < count; i++)
        crash->frames[i] = (uint64_t)(uintptr_t)frames[i];
    crash->frame_count = count;
}

static bool has_address(const cq_crash *crash)
{
    return crash->signal != SIGABRT && crash->code > 0;
}

static const char *signal_name(int number)
{
    const char *name = sigabbrev_np(number);

    return name ? name : "UNKNOWN";
}

const char *cq_crash_text(const cq_crash *crash, int wait_status,
                          char text[CQ_CRASH_TEXT_BYTES])
{
    if (crash && crash->signal && has_address(crash))
        snprintf(text, CQ_CRASH_TEXT_BYTES, "SIG%s at 0x%llx", signal_name(crash->signal),
                 (unsigned long long)crash->address);
    else if (crash && crash->signal)
        snprintf(text, CQ_CRASH_TEXT_BYTES, "SIG%s", signal_name(crash->signal));
    else if (WIFSIGNALED(wait_status))
        snprintf(text, CQ_CRASH_TEXT_BYTES, "SIG%s", signal_name(WTERMSIG(wait_status)));
    else
        snprintf(text, CQ_CRASH_TEXT_BYTES, "exit status %d", WEXITSTATUS(wait_status));
    return text;
}

static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    return slash ? slash + 1 : path ? path : "?";
}

void cq_crash_log(const cq_crash *crash, const cronq_logger *logger,
                  const cq_log_about *about)
{
    for (int i = 0; i < crash->frame_count && i < CQ_CRASH_FRAMES; i++) {
        uintptr_t address = (uintptr_t)crash->frames[i];
        Dl_info info;
        const void *place = (const void *)address;

        if (!dladdr(place, &info)) {
            CQ_LOG_ABOUT(logger, CRONQ_LOG_ERROR, about, "  #%d 0x%llx", i,
                         (unsigned long long)address);
            continue;
        }
        CQ_LOG_ABOUT(logger, CRONQ_LOG_ERROR, about, "  #%d %s+0x%llx%s%s%s", i,
                     base_name(info.dli_fname),
                     (unsigned long long)(address - (uintptr_t)info.dli_fbase),
                     info.dli_sname ? " (" : "", info.dli_sname ? info.dli_sname : "",
                     info.dli_sname ? ")" : "");
    }
}
