"""Cross-origin access, by tusd's rules: the request's origin against a regular expression."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

METHODS = "POST, HEAD, PATCH, OPTIONS, GET, DELETE"

_TUS_HEADERS = (
    "Upload-Length, Upload-Offset, Tus-Resumable, Upload-Metadata, Upload-Defer-Length, Upload-Concat, "
    "Upload-Incomplete, Upload-Complete, Upload-Draft-Interop-Version"
)
ALLOW_HEADERS = (
    "Authorization, Origin, X-Requested-With, X-Request-ID, X-HTTP-Method-Override, Content-Type, "
    f"{_TUS_HEADERS}, Upload-Checksum"
)
EXPOSE_HEADERS = (
    "Upload-Offset, Location, Upload-Length, Tus-Version, Tus-Resumable, Tus-Max-Size, Tus-Extension, "
    "Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Incomplete, Upload-Complete, "
    "Upload-Draft-Interop-Version, Upload-Expires, Tus-Checksum-Algorithm, Retry-After, Link"
)

API_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
API_ALLOW_HEADERS = "Authorization, Content-Type, X-Chunk-Checksum"
API_EXPOSE_HEADERS = "Retry-After"


@dataclass(frozen=True, slots=True)
class Cors:
    """Who may use the server from a page of another origin; lists are added to the built-in ones.

    `allow_origin` is searched for in the origin, not matched against the whole of it. `max_age` is sent as it is.
    """

    allow_origin: re.Pattern[str] = field(default=re.compile(".*"))
    allow_credentials: bool = False
    allow_methods: str = ""
    allow_headers: str = ""
    max_age: str = "86400"
    expose_headers: str = ""
    is_enabled: bool = True
    known_methods: str = METHODS
    known_allow_headers: str = ALLOW_HEADERS
    known_expose_headers: str = EXPOSE_HEADERS

    def for_api(self) -> Cors:
        """The same policy for the JSON API, which has methods and headers of its own."""
        return replace(
            self,
            known_methods=API_METHODS,
            known_allow_headers=API_ALLOW_HEADERS,
            known_expose_headers=API_EXPOSE_HEADERS,
        )

    def allows(self, origin: str | None) -> bool:
        return not self.is_enabled or origin is None or self.allow_origin.search(origin) is not None

    def headers(self, origin: str | None, *, is_preflight: bool) -> dict[str, str]:
        """What is added to the answer for an allowed origin; nothing for a request that has none."""
        if not self.is_enabled or origin is None:
            return {}
        headers = {"access-control-allow-origin": origin, "vary": "Origin"}
        if self.allow_credentials:
            headers["access-control-allow-credentials"] = "true"
        if is_preflight:
            headers["access-control-allow-methods"] = _with(self.known_methods, self.allow_methods)
            headers["access-control-allow-headers"] = _with(self.known_allow_headers, self.allow_headers)
            headers["access-control-max-age"] = self.max_age
        else:
            headers["access-control-expose-headers"] = _with(self.known_expose_headers, self.expose_headers)
        return headers


def _with(names: str, more: str) -> str:
    return f"{names}, {more}" if more else names
