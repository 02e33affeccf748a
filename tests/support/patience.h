/* SPDX-License-Identifier: MIT */
/* support/patience.h - how many times longer than usual a test lets something take.
 *
 * Programs that sanitizers watch are slower, and so are their tests' measures of time. */
#ifndef CQ_TEST_PATIENCE_H
#define CQ_TEST_PATIENCE_H

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define PATIENCE 8
#endif
#elif defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define PATIENCE 8
#endif

/* It has a thread of its own, and is lost in the child of a vfork of several threads. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

#ifndef PATIENCE
#define PATIENCE 1
#endif

#endif
