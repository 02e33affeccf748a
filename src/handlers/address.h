/* SPDX-License-Identifier: MIT */
/* handlers/address.h - is an address one of the public internet? */
#ifndef CQ_HANDLERS_ADDRESS_H
#define CQ_HANDLERS_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* False for loopback, private, link-local, shared, documentation, multicast and reserved
 * ones, in IPv6 also when they hold such an IPv4 address, and for other families. */
bool cq_address_is_public(const struct sockaddr *address);

#endif
