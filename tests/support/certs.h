/* SPDX-License-Identifier: MIT */
/* support/certs.h - certificates of a test's own, good and bad. */
#ifndef CQ_TEST_CERTS_H
#define CQ_TEST_CERTS_H

/* A directory below /tmp with NAME.pem and NAME.key for each of: ca (an authority),
 * server (of 127.0.0.1 and localhost), elsewhere (of elsewhere.example), expired, client,
 * all by ca; self (as server, signed by itself), other (another authority) and stranger
 * (as client, by other). The caller gives it to certs_remove. A failure fails the test.
 */
char *certs_make(void);
void certs_remove(char *dir); /* NULL is fine */

/* DIR/NAME.SUFFIX, in one of a few static places. */
const char *certs_path(const char *dir, const char *name, const char *suffix);

#endif
