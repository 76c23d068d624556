"""Which addresses a webhook may be sent to that must not reach into the network of the server."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_UNICAST = ip_network("2000::/3")  # all that has been given out of IPv6 for the Internet
_TRANSLATED = ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the Internet, and not to this host, a private network, a link or a group."""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        if found in _TRANSLATED:
            found = IPv4Address(int(found) & 0xFFFF_FFFF)
        elif embedded := found.ipv4_mapped or found.sixtofour:
            found = embedded
        elif found not in _UNICAST:
            return False
    return found.is_global and not found.is_multicast


async def public_addresses(host: str, port: int) -> list[str]:
    """The public ones of a host's addresses, in the order in which they are to be tried. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [address for address in (str(place[0]) for *_, place in found) if is_public(address)]
