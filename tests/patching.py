"""PATCH requests that no client library sends: in pieces, and not to their end."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from tests.running import CHUNK, DEADLINE, Answer, Server


def chunked(server: Server, url: str, offset: int, pieces: list[bytes], **headers: str) -> Answer:
    """A PATCH in chunked coding, one chunk for each piece."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = CHUNK | {"Upload-Offset": str(offset), "Transfer-Encoding": "chunked"} | named
        connection.request("PATCH", urlsplit(url).path, iter(pieces), fields, encode_chunked=True)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def patch_head(url: str, offset: int, size: int, more: str = "X-Filler: 1") -> bytes:
    """The head of a PATCH of `size` bytes, which the test sends or does not; `more` is a header line of its own."""
    path = urlsplit(url).path
    return (
        f"PATCH {path} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n{more}\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {size}\r\n\r\n"
    ).encode()
