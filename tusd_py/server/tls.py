"""TLS as tusd has it: three modes, and certificates that can be changed while connections are open."""

from __future__ import annotations

import fcntl
import logging
import socket
import ssl
import sys
import termios
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


_ACKNOWLEDGED = slice(120, 128)
"""Where `tcpi_bytes_acked` stands in Linux's `struct tcp_info` (since 4.1)."""


class TlsConnection(ssl.SSLObject):
    """One that a thread may read for a while in the event loop's place.

    It is not made for two at once, so the event loop must have nothing to do with it then. It has if an answer waits
    to be sent: when that goes, or fails to, it looks for what else there is to send. So all that is made here to be
    sent is counted, which is compared with what the kernel has been given.
    """

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    _made = 0

    def do_handshake(self) -> None:
        before = self.outgoing.pending
        try:
            super().do_handshake()
        finally:
            self._made += self.outgoing.pending - before

    def write(self, data: Any) -> int:
        before = self.outgoing.pending
        try:
            return super().write(data)
        finally:
            self._made += self.outgoing.pending - before

    def read(self, *arguments: Any) -> Any:  # also what is read may have to be answered
        before = self.outgoing.pending
        try:
            return super().read(*arguments)
        finally:
            self._made += self.outgoing.pending - before

    def has_sent_all(self, connection: socket.socket) -> bool:
        """Whether the kernel has all that was made for the peer on this TCP connection. Raises OSError for others.

        It may say no where an acknowledgement comes in this moment.
        """
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.stop)
        acknowledged = int.from_bytes(information[_ACKNOWLEDGED], sys.byteorder)
        others = int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        return acknowledged + others == self._made

    def read_into(self, view: memoryview) -> int:
        """Decrypt at most a record; 0 after the last one. Raises SSLWantReadError until `incoming` has a whole one."""
        return cast(int, self.read(len(view), view))


class _Context(ssl.SSLContext):
    sslobject_class = TlsConnection

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *others: Any, **named: Any) -> TlsConnection:
        connection = cast(TlsConnection, super().wrap_bio(incoming, outgoing, *others, **named))
        connection.incoming, connection.outgoing = incoming, outgoing
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
