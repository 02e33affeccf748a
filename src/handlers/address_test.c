/* SPDX-License-Identifier: MIT */
/* address_test.c - which addresses are public, at the edges of the special ranges. */
#include "handlers/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ROWS(rows) (sizeof(rows) / sizeof(rows)[0])

static void public_addresses_are_told_from_others(void **state)
{
    static const char *const publics[] = { "1.1.1.1",         "172.15.0.1",
                                           "172.32.0.1",      "100.128.0.1",
                                           "223.255.255.255", "2606:4700::1111",
                                           "::ffff:8.8.8.8",  "64:ff9b::8.8.8.8",
                                           "2002:808:808::1" };
    static const char *const others[] = {
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.2",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "198.19.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "ff02::1",
        "2001:db8::1",
        "2002:a00:1::1",
        "2001::1",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "fec0::1",
        "192.0.0.8",
        "203.0.113.9",
        "3fff::1",
    };
    struct sockaddr_in four = { .sin_family = AF_INET };
    struct sockaddr_in6 six = { .sin6_family = AF_INET6 };

    (void)state;
    for (size_t i = 0; i < ROWS(publics) + ROWS(others); i++) {
        bool wanted = i < ROWS(publics);
        const char *text = wanted ? publics[i] : others[i - ROWS(publics)];
        bool is_six = strchr(text, ':');

        assert_int_equal(
            inet_pton(is_six ? AF_INET6 : AF_INET, text,
                      is_six ? (void *)&six.sin6_addr : (void *)&four.sin_addr),
            1);
        if (cq_address_is_public(is_six ? (const void *)&six : (const void *)&four) !=
            wanted)
            fail_msg("%s", text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_addresses_are_told_from_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
