"""Heads of requests that are answered before any application sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_MOST_HEADERS = 1000


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`header_bytes` of a request's head, and the seconds in which it must come or an idle connection may stay."""

    header_bytes: int = 1024 * 1024
    timeout: float = 60.0


def refused_head(
    target: bytes, headers: Sequence[tuple[bytes, bytes]], limits: ConnectionLimits, *, needs_host: bool
) -> bytes | None:
    """The answer to a head that must not be served, or None for one that may; names are in lower case."""
    size = len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > limits.header_bytes or len(headers) > _MOST_HEADERS:
        return TOO_LARGE
    if needs_host and sum(name == b"host" for name, _ in headers) != 1:
        return INVALID  # RFC 9112 3.2
    if any(name == b"transfer-encoding" and value.lower() != b"chunked" for name, value in headers):
        return _UNKNOWN_CODING  # RFC 9112 6.1
    return None


def _answer(status: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(status) + 1}\r\nconnection: close\r\n\r\n{status}\n"
    ).encode()


INVALID = _answer("400 Bad Request")
TOO_LARGE = _answer("431 Request Header Fields Too Large")
_UNKNOWN_CODING = _answer("501 Not Implemented")
