"""Permissions that a pre-access hook has given for a while."""

from __future__ import annotations

import hashlib
import time

from tusd_py.core.hook_events import HttpRequest
from tusd_py.core.newest import Newest

_TRANSPORT = frozenset(
    {
        *("Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Connection", "Content-Length"),
        *("Content-Type", "Date", "Expect", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range"),
        *("If-Unmodified-Since", "Pragma", "Range", "Te", "Trailer", "Transfer-Encoding", "Upload-Checksum"),
        *("Upload-Defer-Length", "Upload-Length", "Upload-Offset", "X-Chunk-Checksum", "X-Request-Id"),
    }
)
"""Headers that differ between the requests of one client and say nothing of who it is; all others count."""


class AccessCache:
    """Remembers by mode, ids, query and every header that may say who asks, so that no other client is let in."""

    def __init__(self) -> None:
        self._ends: Newest[bytes, float] = Newest()

    def is_allowed(self, mode: str, ids: tuple[str, ...], request: HttpRequest) -> bool:
        return self._ends.get(_key(mode, ids, request), 0.0) > time.monotonic()

    def allow(self, mode: str, ids: tuple[str, ...], request: HttpRequest, seconds: float) -> None:
        """Seconds of 0 are not kept."""
        if seconds > 0:
            self._ends[_key(mode, ids, request)] = time.monotonic() + seconds


def _key(mode: str, ids: tuple[str, ...], request: HttpRequest) -> bytes:
    headers = sorted((name, tuple(values)) for name, values in request.header.items() if name not in _TRANSPORT)
    query = request.uri.partition("?")[2]
    host = request.remote_addr.rpartition(":")[0]
    return hashlib.sha256(repr((mode, ids, query, host, headers)).encode()).digest()
