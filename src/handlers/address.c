/* SPDX-License-Identifier: MIT */
/* address.c - is an address one of the public internet? By the registries of IANA for
 * special purposes. */
#include "handlers/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct range4 {
    uint32_t first;
    int bits;
} range4;

#define IP(a, b, c, d) \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const range4 special4[] = {
    { IP(0, 0, 0, 0), 8 },      { IP(10, 0, 0, 0), 8 },     { IP(100, 64, 0, 0), 10 },
    { IP(127, 0, 0, 0), 8 },    { IP(169, 254, 0, 0), 16 }, { IP(172, 16, 0, 0), 12 },
    { IP(192, 0, 0, 0), 24 },   { IP(192, 0, 2, 0), 24 },   { IP(192, 88, 99, 0), 24 },
    { IP(192, 168, 0, 0), 16 }, { IP(198, 18, 0, 0), 15 },  { IP(198, 51, 100, 0), 24 },
    { IP(203, 0, 113, 0), 24 }, { IP(224, 0, 0, 0), 3 },
};

static bool is_public4(uint32_t address)
{
    for (size_t i = 0; i < sizeof special4 / sizeof special4[0]; i++)
        if ((address ^ special4[i].first) >> (32 - special4[i].bits) == 0)
            return false;
    return true;
}

static bool begins(const uint8_t *address, const char *prefix, size_t bytes)
{
    return memcmp(address, prefix, bytes) == 0;
}

static uint32_t inner4(const uint8_t *at)
{
    return IP(at[0], at[1], at[2], at[3]);
}

/* Public is what was given out (2000::/3) and holds no special IPv4 address. */
static bool is_public6(const uint8_t *a)
{
    if (begins(a, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) || /* mapped */
        begins(a, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 12)) /* NAT64 */
        return is_public4(inner4(a + 12));
    if (begins(a, "\x20\x02", 2)) /* 6to4 */
        return is_public4(inner4(a + 2));
    if (begins(a, "\x20\x01", 2) && a[2] < 2) /* protocols, Teredo */
        return false;
    if (begins(a, "\x20\x01\x0d\xb8", 4) || (begins(a, "\x3f\xff", 2) && a[2] < 16))
        return false; /* documentation */
    return a[0] >> 5 == 1;
}

bool cq_address_is_public(const struct sockaddr *address)
{
    const struct sockaddr_in *four = (const void *)address;
    const struct sockaddr_in6 *six = (const void *)address;

    if (address->sa_family == AF_INET)
        return is_public4(ntohl(four->sin_addr.s_addr));
    return address->sa_family == AF_INET6 && is_public6(six->sin6_addr.s6_addr);
}
