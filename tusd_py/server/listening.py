"""Sockets to listen on, bound the way Go does it."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

_BACKLOG = 2048
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 -- what the operator may ask for


class CannotListen(Exception):
    """The address cannot be used; the text says why."""


def listen_on_port(host: str, port: str) -> socket.socket:
    """A TCP socket; an unspecified host means IPv4 and IPv6 at once. Raises `CannotListen`."""
    try:
        number = int(port) if port.isascii() and port.isdigit() else socket.getservbyname(port, "tcp")
        if host in _EVERYWHERE and socket.has_dualstack_ipv6():
            return socket.create_server(("::", number), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
        family = socket.getaddrinfo(host or "0.0.0.0", number, type=socket.SOCK_STREAM)[0][0]  # noqa: S104
        return socket.create_server((host, number), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise CannotListen(f"listen tcp {host}:{port}: {error}") from error


def listen_on_path(path: str) -> socket.socket:
    """A UNIX socket; one that is left from before is replaced, any other file is not. Raises `CannotListen`."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise CannotListen(f"listen unix {path}: the file exists and is not a socket")
        Path(path).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(f"listen unix {path}: {error}") from error
    return listener


def address_of(listener: socket.socket) -> str:
    """`host:port` as Go writes it, with the port that was really bound."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
