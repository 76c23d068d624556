"""A request to the tus resources, as its handlers see it; and what is read of every request alike."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from tusd_py.core.errors import Problem, UploadError
from tusd_py.core.log_event import RequestAttributes, request_attributes
from tusd_py.web.body import RequestBody

_LONGEST_REQUEST_ID = 36
_CONTENT_LENGTH = re.compile(r"[0-9]+")


class RequestHeaders(Headers):
    """The headers of a request, read once, whoever asks for them; blanks around a value are no part of it."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=[(name, value.strip(b" \t")) for name, value in raw])
        self._values: dict[str, list[str]] = {}
        for name, value in self._list:
            self._values.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))

    def __getitem__(self, key: str) -> str:
        return self._values[key.lower()][0]

    def __contains__(self, key: Any) -> bool:
        return key.lower() in self._values

    def get(self, key: str, default: Any = None) -> Any:
        values = self._values.get(key.lower())
        return default if values is None else values[0]

    def getlist(self, key: str) -> list[str]:
        return self._values.get(key.lower(), [])


@dataclass(frozen=True, slots=True)
class TusRequest:
    """What was asked for.

    `method` is the one to execute, `sent_method` the one on the wire. `upload_id` is empty for the creation resource;
    `base_url` is that of the creation resource as the client knows it, with the slash at its end; a path alone where
    the server keeps out of how it is called.
    """

    method: str
    sent_method: str
    upload_id: str
    query: str
    base_url: str
    headers: Headers
    body: RequestBody

    def header(self, name: str, problem: Problem) -> str | None:
        """The value of a header that may come once; `problem` is raised for a second one."""
        values = self.headers.getlist(name)
        if len(values) > 1:
            raise UploadError(problem)
        return values[0] if values else None

    def url_of(self, upload_id: str) -> str:
        return self.base_url + upload_id


def identify_request(method: str, path: str, headers: Headers) -> None:
    """Let every log event of this request carry what it is; the id is the client's, if it sent one."""
    request_id = headers.get("x-request-id", "")[:_LONGEST_REQUEST_ID] or _new_request_id()
    request_attributes.set(RequestAttributes(method=method, path=path, requestId=request_id))


def _new_request_id() -> str:
    return f"{random.getrandbits(64):016x}"


def content_length(headers: Headers) -> int | None:
    """The announced length of the body; None where it is not known before its end, 0 for no body (RFC 9112 6.3)."""
    if "transfer-encoding" in headers:
        return None
    text = headers.get("content-length", "0")
    return int(text) if _CONTENT_LENGTH.fullmatch(text) else None
