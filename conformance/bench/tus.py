"""The requests of the tus protocol."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from .messages import Answer, Broken, Request
from .payload import Slice

VERSION = {"Tus-Resumable": "1.0.0"}
# Some servers do not give back an upload without a name.
_NEW = VERSION | {"Upload-Metadata": "filename YmVuY2gudHh0,filetype dGV4dC9wbGFpbg=="}
_BODY = VERSION | {"Content-Type": "application/offset+octet-stream"}


def create(path: str, size: int, further: Mapping[str, str] = MappingProxyType({})) -> Request:
    """A new upload, with further headers."""
    return Request("POST", path, 201, {**_NEW, "Upload-Length": str(size), **further})


def create_with(path: str, data: bytes) -> Request:
    return Request("POST", path, 201, _NEW | _BODY | {"Upload-Length": str(len(data))}, data)


def concatenate(path: str, parts: Sequence[str]) -> Request:
    return Request("POST", path, 201, _NEW | {"Upload-Concat": "final;" + " ".join(parts)})


def patch(
    target: str, offset: int, body: bytes = b"", rest: Slice | None = None, sha256: bytes | None = None
) -> Request:
    headers = _BODY | {"Upload-Offset": str(offset)}
    if sha256 is not None:
        headers["Upload-Checksum"] = "sha256 " + base64.b64encode(sha256).decode()
    return Request("PATCH", target, 204, headers, body, rest)


def head(target: str) -> Request:
    return Request("HEAD", target, 200, VERSION)


def get(target: str) -> Request:
    return Request("GET", target, 200, VERSION)


def delete(target: str) -> Request:
    return Request("DELETE", target, 204, VERSION)


def location(answer: Answer) -> str:
    """The path of the upload that a POST has created."""
    value = answer.header("location")
    if not value:
        raise Broken(f"201 without a Location: {answer.head[:200]!r}")
    return "/" + value.partition("://")[2].partition("/")[2] if "://" in value else value


def check_offset(answer: Answer, expected: int) -> None:
    """That the server says it has so many bytes."""
    if answer.header("upload-offset") != str(expected):
        raise Broken(f"{expected} bytes were sent, and the answer is {answer.head[:200]!r}")
