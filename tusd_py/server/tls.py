"""TLS as tusd has it: three modes, and certificates that can be changed while connections are open."""

from __future__ import annotations

import logging
import ssl

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
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
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
