"""TLS as tusd has it: three modes, and certificates that can be changed while connections are open."""

from __future__ import annotations

import fcntl
import logging
import ssl
import termios
from contextlib import suppress
from typing import Any, cast

from tusd_py.core.log_event import LogEvent

log = logging.getLogger("tusd_py")

_AES_256 = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
_FORWARD_SECRET = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    f"{_AES_256}:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)

MODES = {
    "tls13": (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3, ""),
    "tls12": (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3, _FORWARD_SECRET),
    "tls12-strong": (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, _AES_256),
}
"""The lowest and the highest version, and the cipher suites of 1.2 in our order of preference."""


_SURELY_TAKEN = 4096
"""Bytes that the kernel takes of a connection at once if it has none of it, or as many; it has room for more."""


class TlsConnection(ssl.SSLObject):
    """One that a thread may read for a while in the event loop's place.

    It is not made for two at once, so the event loop must have nothing to do with it then. It has if an answer waits
    to be sent: when that goes, or fails to, it looks for what else there is to send.
    """

    incoming: ssl.MemoryBIO
    _waiting = 0

    def write(self, data: Any) -> int:
        count = super().write(data)
        self._waiting += count
        return count

    def note_request(self, descriptor: int) -> None:
        """A request has come on the socket: most often its client has had the answers to all others."""
        with suppress(OSError):
            if not any(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))):
                self._waiting = max(0, self._waiting - _SURELY_TAKEN)

    def has_sent_all(self) -> bool:
        """Whether the kernel is known to have everything that was written before the event loop's last turn."""
        return self._waiting <= _SURELY_TAKEN

    def read_into(self, view: memoryview) -> int:
        """Decrypt at most a record; 0 after the last one. Raises SSLWantReadError until `incoming` has a whole one."""
        return cast(int, self.read(len(view), view))


class _Context(ssl.SSLContext):
    sslobject_class = TlsConnection

    def wrap_bio(self, incoming: ssl.MemoryBIO, *others: Any, **named: Any) -> TlsConnection:
        connection = cast(TlsConnection, super().wrap_bio(incoming, *others, **named))
        connection.incoming = incoming
        return connection


class UnusableCertificate(Exception):
    """The certificate and its key cannot be used; the text says why."""


class Certificates:
    """The certificate with its chain and the key of the server, from PEM files. Raises `UnusableCertificate`.

    `context` is what a server is started with. A certificate that is read later comes with a context of its own, to
    which every new handshake is moved: reading it into the old one would keep a former certificate of another kind of
    key beside it, and lose the one in use if the new key does not fit.
    """

    def __init__(self, certificate: str, key: str, mode: str) -> None:
        self._certificate = certificate
        self._key = key
        self._mode = mode
        self.context = self._current = self._read()
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Use what the files hold now for connections that are made from now on; if it is of no use, what they held."""
        try:
            self._current = self._read()
        except UnusableCertificate as error:
            log.error(LogEvent("CertificatesNotReloaded", error=str(error)))  # noqa: TRY400 -- the text says it all
        else:
            log.info(LogEvent("CertificatesReloaded", certificate=self._certificate))

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called in every handshake, also for clients that name no host."""
        connection.context = self._current

    def _read(self) -> ssl.SSLContext:
        lowest, highest, ciphers = MODES[self._mode]
        context = _Context(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version, context.maximum_version = lowest, highest
        context.options |= ssl.OP_NO_RENEGOTIATION
        if ciphers:
            context.set_ciphers(ciphers)
        context.set_alpn_protocols(["http/1.1"])
        try:
            # Without a password, OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(self._certificate, self._key, password="")
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise UnusableCertificate(f"{self._certificate} and {self._key} cannot be used for TLS: {error}") from error
        return context
