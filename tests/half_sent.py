"""Requests that stop in the middle of their bodies, one for each way in which a body can come."""

from __future__ import annotations

import hashlib
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.running import CHUNK, Server, eventually, request_head

BODY = bytes(range(251)) * 2400
"""What all of them send the start of, and what a whole upload is: no block of it stands at another's place."""

SENT = 300_000
SMALL = 200_000
"""The announced length of a body that does not go by way of the socket itself."""

_CHECKSUM = "sha256 " + b64encode(hashlib.sha256(BODY).digest()).decode()
_CHUNKED = {"Transfer-Encoding": "chunked"}
_LENGTH = {"Content-Length": str(len(BODY))}

WAYS: dict[str, dict[str, str]] = {
    "small": {"Content-Length": str(SMALL)},
    "large": _LENGTH,
    "chunked": _CHUNKED,
    "checksum": _LENGTH | {"Upload-Checksum": _CHECKSUM},
    "checksum, chunked": _CHUNKED | {"Upload-Checksum": _CHECKSUM},
    "trailer": _CHUNKED | {"Trailer": "Upload-Checksum"},
}


@dataclass(frozen=True)
class HalfSent:
    """A request on its `connection`; of the bytes that it has brought `kept` are to count when no more come."""

    name: str
    connection: socket.socket
    url: str
    kept: int

    def assert_resumable(self, server: Server) -> None:
        """The offset is as it should be, and the rest completes the upload."""
        assert server.offset(self.url) == self.kept, self.name
        assert server.patch(self.url, self.kept, BODY[self.kept :]).status == 204, self.name
        assert server.path_of(self.url).read_bytes() == BODY, self.name


@contextmanager
def half_sent_requests(server: Server) -> Iterator[list[HalfSent]]:
    """Bodies of new uploads, by PATCH and with the creation, in every way; what was sent of them is in the files."""
    with ExitStack() as stack:
        requests = []
        for method in ("PATCH", "POST"):
            for way, framing in WAYS.items():
                connection = stack.enter_context(server.connection())
                requests.append(_half_sent(server, connection, method, way, framing))
        yield requests


def _half_sent(server: Server, connection: socket.socket, method: str, way: str, framing: dict[str, str]) -> HalfSent:
    sent = SMALL // 2 if way == "small" else SENT
    data = b"%x\r\n%b" % (len(BODY), BODY[:sent]) if framing.items() >= _CHUNKED.items() else BODY[:sent]
    if method == "PATCH":
        url = server.create(len(BODY))
        head = request_head(method, urlsplit(url).path, CHUNK | framing | {"Upload-Offset": "0"})
        connection.sendall(head + data)
    else:
        before = set(server.upload_dir.glob("*.info"))
        head = request_head(method, urlsplit(server.url).path, CHUNK | framing | {"Upload-Length": str(len(BODY))})
        connection.sendall(head + data)
        (info,) = eventually(lambda: set(server.upload_dir.glob("*.info")) - before)
        url = server.url + info.stem
    eventually(lambda: server.path_of(url).stat().st_size >= sent)
    is_verified = "checksum" in way or "trailer" in way
    return HalfSent(f"{method}, {way}", connection, url, 0 if is_verified else sent)
