"""Which peers are proxies that may say how the outside names this server."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.types import Scope


class Proxies:
    """Everybody with `behind_proxy` (as tusd), nobody without; with `trusted` networks (CIDR) peers in these alone.

    Raises ValueError for what is no network. A peer on a UNIX socket is on this machine, and trusted.
    """

    def __init__(self, *, behind_proxy: bool = False, trusted: Sequence[str] = ()) -> None:
        self._is_on = behind_proxy or bool(trusted)
        try:
            self._networks = tuple(ip_network(network) for network in trusted)
        except ValueError as error:
            raise ValueError(f"trusted_proxies must be networks such as 10.0.0.0/8: {error}") from error

    def trusts_peer_of(self, scope: Scope) -> bool:
        if not (self._is_on and self._networks):
            return self._is_on
        peer, server = scope.get("client"), scope.get("server")
        if not peer:
            return not server or server[1] is None  # a port of ours means TCP, and a peer that has gone
        try:
            address = ip_address(peer[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped  # how IPv4 looks on a socket for both
        return any(address in network for network in self._networks)
