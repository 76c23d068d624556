"""Short messages between the processes that share a directory: one Unix datagram socket for each, in `run/`.

They only make things quicker: a message that is lost costs the receiver one round of polling.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LARGEST = 4096


class Messages:
    """Sends to every other process, or to one by its name; `on_message(text, sender)` is called on the event loop."""

    def __init__(self, directory: Path, on_message: Callable[[str, str], None]) -> None:
        self._directory = directory
        self._on_message = on_message
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._folder = -1
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """The socket is addressed by the directory's descriptor, since a socket's path may have 108 bytes at most."""
        self._folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(self._address(self._name))
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self.read)

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._folder)
            os.close(self._folder)

    def broadcast(self, text: str) -> None:
        if self._socket is not None:
            for name in os.listdir(self._folder):
                if name != self._name and not name.startswith("."):
                    self.send(name, text)

    def send(self, name: str, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(f"{self._name}\0{text}".encode()[:_LARGEST], self._address(name))
        except ConnectionRefusedError:
            with suppress(OSError):
                os.unlink(name, dir_fd=self._folder)  # its process is gone
        except OSError:
            pass  # a full queue or a name that has just gone: the receiver polls

    def read(self) -> None:
        """Hear now what has been said by now."""
        with suppress(BlockingIOError):
            while self._socket is not None:
                sender, _, text = self._socket.recv(_LARGEST).decode(errors="replace").partition("\0")
                if "/" not in sender:
                    self._on_message(text, sender)

    def _address(self, name: str) -> str:
        return f"/proc/self/fd/{self._folder}/{name}"
