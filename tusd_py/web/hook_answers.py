"""The words of hooks on the wire: the request as they are told of it, and what they change in its answer."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import Scope

from tusd_py.core.hook_events import HttpRequest, HttpResponse

_UNSEEN = frozenset({"transfer-encoding"})


def hook_request(scope: Scope, headers: Headers) -> HttpRequest:
    """The request as Go would show it: canonical header names, the raw target, the peer's address."""
    names: dict[str, list[str]] = {}
    for raw_name, value in headers.raw:
        name = raw_name.decode("latin-1").lower()
        if name not in _UNSEEN:
            canonical = "-".join(part.capitalize() for part in name.split("-"))
            names.setdefault(canonical, []).append(value.decode("utf-8", "surrogateescape"))
    query = scope.get("query_string", b"").decode("latin-1")
    raw_path = scope.get("raw_path") or str(scope["path"]).encode("utf-8", "replace")
    client = scope.get("client")
    return HttpRequest(
        method=scope["method"],
        uri=raw_path.decode("latin-1") + (f"?{query}" if query else ""),
        remote_addr=_address(*client) if client else "@",
        header=names,
    )


def change_response(response: Response, changes: Iterable[HttpResponse]) -> None:
    """Let hooks have their way with status, headers and body; the place of an upload stays ours (as with tusd)."""
    for change in changes:
        headers = MutableHeaders(raw=response.raw_headers)
        for name, value in change.header.items():
            if not (name.lower() == "location" and "location" in headers) and _is_header(name, value):
                headers[name] = value
        if change.status:
            response.status_code = change.status
        if change.body and response.status_code not in (204, 304):
            response.body = change.body.encode("utf-8", "replace")
            headers["content-length"] = str(len(response.body))
        elif response.status_code in (204, 304):
            response.body = b""
            del headers["content-length"]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_header(name: str, value: str) -> bool:
    """What a hook sends must not become a header, or an answer, of its own."""
    is_token = name.isascii() and all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in name)
    return bool(name) and is_token and value.isprintable() and value.isascii() and name.lower() != "content-length"
