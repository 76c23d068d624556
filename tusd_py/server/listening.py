"""Sockets to listen on, bound the way Go does it."""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

_BACKLOG = 2048
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 -- what the operator may ask for
_FIRST_INHERITED = 3
_PORTS = range(65536)


class CannotListen(Exception):
    """The address cannot be used; the text says why."""


def listen_on_port(host: str, port: str) -> socket.socket:
    """A TCP socket; an unspecified host means IPv4 and IPv6 at once. Raises `CannotListen`."""
    try:
        number = _port_number(port)
        if host in _EVERYWHERE and socket.has_dualstack_ipv6():
            return socket.create_server(("::", number), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
        found = socket.getaddrinfo(host or "0.0.0.0", number, type=socket.SOCK_STREAM)  # noqa: S104
        # Of the addresses of a name, Go takes one of IPv4 if there is any.
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise CannotListen(f"listen tcp {host}:{port}: {error}") from error


def _port_number(port: str) -> int:
    """Checked here, since `getaddrinfo` passes over the upper bits of a number. Raises OSError."""
    if not re.fullmatch("[+-]?[0-9]{1,20}", port):
        return socket.getservbyname(port, "tcp")
    number = int(port)
    if number not in _PORTS:
        raise OSError(f"a port is a number from {_PORTS[0]} to {_PORTS[-1]}, or the name of a service")
    return number


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


def take_inherited_socket(environment: MutableMapping[str, str]) -> socket.socket | None:
    """The socket that systemd has opened for this process (sd_listen_fds(3)), whatever its name; None without one.

    What says so is removed from the environment, which programs that we start would take to be about them. Raises
    `CannotListen` for more than one socket, and for one that nobody can connect to.
    """
    count, process = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_PID", "")
    environment.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()) or not count.isdigit() or count == "0":
        return None
    if count != "1":
        raise CannotListen(f"systemd has passed {count} sockets: give the socket unit one Listen line")
    try:
        listener = socket.socket(fileno=_FIRST_INHERITED)
        is_listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise CannotListen(f"systemd's socket cannot be used: {error}") from error
    if not is_listening or listener.type != socket.SOCK_STREAM:
        raise CannotListen("systemd's socket does not listen: it needs ListenStream= and Accept=no")
    os.set_inheritable(_FIRST_INHERITED, False)
    return listener


def address_of(listener: socket.socket) -> str:
    """`host:port` as Go writes it, with the port that was really bound; the path of a UNIX socket."""
    address = listener.getsockname()
    if isinstance(address, bytes):  # a name that is in no directory: its first byte is zero, which is written as @
        return "@" + address[1:].decode(errors="replace")
    if isinstance(address, str):
        return address
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
