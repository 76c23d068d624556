"""GET of an upload: its bytes, with ranges and conditions, under headers that keep a browser from running them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tusd_py.core import errors
from tusd_py.core.disposition import content_disposition, content_type
from tusd_py.core.errors import UploadError
from tusd_py.core.ids import split_file_path
from tusd_py.core.ranges import (
    ByteRange,
    Conditions,
    RangeError,
    failed_condition,
    http_date,
    parse_range,
    range_applies,
)
from tusd_py.core.records import FileRecord
from tusd_py.core.threads import InThread
from tusd_py.core.uploads import CHUNKS
from tusd_py.service.files import Files
from tusd_py.service.settling import edge_headers
from tusd_py.service.uploads import Uploads
from tusd_py.web.request import TusRequest

BLOCK = 1024 * 1024

WORTH_HANDING_OVER = 256 * 1024
"""Bytes below which a part is as soon read as handed to a server that can send files."""

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class _Content:
    """What is sent: `size` bytes, changed last at `changed_at` (Unix seconds), as what a browser is to take them.

    `path` is that of a file which has these bytes, no more, and does not change.
    """

    size: int
    changed_at: float
    type: str
    disposition: str
    path: str | None = None


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    """How bytes may be had.

    With `only_links` by signed links only; with `only_ready`, of tus uploads too, only what has become a ready file.
    `accel_redirect` is the internal location of a front server that sends the bytes itself; empty for none.
    """

    only_links: bool = False
    only_ready: bool = False
    accel_redirect: str = ""


class Downloads:
    """Sends uploads by their id, unfinished ones included (as tusd), and files by signed links; takes no lock."""

    def __init__(self, uploads: Uploads, files: Files, options: DownloadOptions, in_thread: InThread) -> None:
        self._uploads = uploads
        self._files = files
        self._options = options
        self._in_thread = in_thread

    async def get(self, request: TusRequest) -> Response:
        """An upload; who knows its id may do everything with it, so there is no signature to check."""
        if self._options.only_links or _has_signature(request.query):
            raise UploadError(errors.LINK_REQUIRED)
        upload = await self._uploads.find(request.upload_id)
        if upload.protocol == CHUNKS or self._options.only_ready:
            upload = await self._uploads.finished(upload.id)
            return await self._send_file(request, await self._files.load_ready(upload.file_id or ""))
        kind, disposition = content_type(upload.metadata), content_disposition(upload.metadata)
        path = upload.path if upload.is_complete else None
        content = _Content(upload.offset, upload.written_at, kind, disposition, path)
        return await self._send(request, content, lambda: self._uploads.open_for_reading(upload))

    async def get_file(self, request: TusRequest) -> Response:
        """A file or a thumbnail of it, to who has a link to that (also HEAD)."""
        self._files.verify(request.upload_id, request.query)
        file_id, size = split_file_path(request.upload_id)
        record = await self._files.load_ready(file_id)
        return await (self._send_thumbnail(request, record, size) if size else self._send_file(request, record))

    async def _send_thumbnail(self, request: TusRequest, record: FileRecord, size: str) -> Response:
        kind = next((each.type for each in record.thumbnails if each.size == size), None)
        if kind is None:
            raise UploadError(errors.FILE_NOT_FOUND)
        descriptor, length = await self._files.open_thumbnail(record, size)
        content = _Content(length, record.completed_at, kind, "inline")

        async def opened() -> int:
            return descriptor

        return await self._send(request, content, opened)

    async def _send_file(self, request: TusRequest, record: FileRecord) -> Response:
        headers = edge_headers(record)
        content = _Content(record.size, record.completed_at, headers["type"], headers["disposition"], record.path)
        if self._options.accel_redirect and await self._files.is_public(record.id):
            raw = [(b"x-accel-redirect", (self._options.accel_redirect + record.id).encode())]
            return _with_headers(Response(), raw + _content_headers(content))
        return await self._send(request, content, lambda: self._files.open_for_reading(record))

    async def _send(self, request: TusRequest, content: _Content, open_file: Callable[[], Awaitable[int]]) -> Response:
        conditions = _conditions(request.headers)
        status = failed_condition(conditions, content.changed_at)
        if status is not None:
            return _with_headers(Response(status_code=status), [(b"last-modified", _date(content))])
        header = request.headers.get("range") if range_applies(conditions, content.changed_at) else None
        wanted = parse_range(header, content.size)
        if isinstance(wanted, RangeError):
            return _unsatisfiable(wanted, content.size)
        sent = wanted or ByteRange(0, content.size)
        headers = [
            *_content_headers(content),
            (b"content-length", b"%d" % sent.length),
            (b"accept-ranges", b"bytes"),
            (b"last-modified", _date(content)),
        ]
        if wanted is not None:
            last = wanted.start + wanted.length - 1
            headers.append((b"content-range", b"bytes %d-%d/%d" % (wanted.start, last, content.size)))
        status_code = 200 if wanted is None else 206
        if request.method == "HEAD":
            return _head_only(status_code, headers)
        path = content.path if wanted is None else None
        return _FileResponse(status_code, headers, await open_file(), sent, path, self._in_thread)


class _FileResponse(Response):
    """Bytes of an open file, which is closed in the end; `path` is its path if they are the whole of it.

    A large part is sent by the server itself where it can (ASGI's extensions `pathsend` and `zerocopysend`).
    """

    def __init__(
        self,
        status_code: int,
        headers: RawHeaders,
        descriptor: int,
        part: ByteRange,
        path: str | None,
        in_thread: InThread,
    ) -> None:
        self.status_code = status_code
        self.raw_headers = headers
        self.background = None
        self._descriptor = descriptor
        self._part = part
        self._path = path
        self._in_thread = in_thread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_worth_it = self._part.length >= WORTH_HANDING_OVER
        ways = (scope.get("extensions") or {}) if is_worth_it else {}
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if self._path is not None and "http.response.pathsend" in ways:
                await send({"type": "http.response.pathsend", "path": self._path})
            elif "http.response.zerocopysend" in ways:
                await self._hand_over(send)
            else:
                await self._copy(receive, send)
        finally:
            os.close(self._descriptor)

    async def _hand_over(self, send: Send) -> None:
        """The server notices itself when the client goes; one that has only ended its half of the connection has not.

        What ends early has not the announced length, so the client notices.
        """
        message = {"type": "http.response.zerocopysend", "file": self._descriptor}
        with suppress(ConnectionError, EOFError):  # the client has gone, or the file has become shorter
            await send({**message, "offset": self._part.start, "count": self._part.length, "more_body": False})

    async def _copy(self, receive: Receive, send: Send) -> None:
        position, rest = self._part.start, self._part.length
        is_gone = asyncio.create_task(_disconnect(receive))
        try:
            while rest and not is_gone.done():
                block = await self._in_thread(os.pread, self._descriptor, min(rest, BLOCK), position)
                if not block:
                    return  # cut back meanwhile
                await send({"type": "http.response.body", "body": block, "more_body": True})
                position, rest = position + len(block), rest - len(block)
        finally:
            is_gone.cancel()
            await asyncio.wait([is_gone])
        if not rest:
            await send({"type": "http.response.body", "body": b""})


async def _disconnect(receive: Receive) -> None:
    """Wait until the client has gone: to send on would raise nothing (ASGI before 2.4)."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _content_headers(content: _Content) -> RawHeaders:
    """Values out of metadata are bytes that may go beyond Latin-1, as Go sends them."""
    return [
        (b"content-type", _printable(content.type)),
        (b"content-disposition", _printable(content.disposition)),
    ]


def _head_only(status_code: int, headers: RawHeaders) -> Response:
    response = Response(status_code=status_code)
    response.raw_headers = headers
    return response


def _has_signature(query: str) -> bool:
    return any(pair.partition("=")[0] == "sig" for pair in query.split("&"))


def _unsatisfiable(error: RangeError, size: int) -> Response:
    response = Response(error.value + "\n", status_code=416, media_type="text/plain")
    if error is RangeError.UNSATISFIABLE:
        response.headers["content-range"] = f"bytes */{size}"
    return response


def _conditions(headers: Headers) -> Conditions:
    return Conditions(
        if_match=headers.get("if-match"),
        if_none_match=headers.get("if-none-match"),
        if_modified_since=headers.get("if-modified-since"),
        if_unmodified_since=headers.get("if-unmodified-since"),
        if_range=headers.get("if-range"),
    )


def _with_headers(response: Response, headers: RawHeaders) -> Response:
    response.raw_headers.extend(headers)
    return response


def _date(content: _Content) -> bytes:
    return http_date(content.changed_at).encode()


def _printable(value: str) -> bytes:
    """Header bytes without control characters; the quoting leaves none, this is the last door."""
    return "".join(c for c in value if c >= " " and c != "\x7f").encode("utf-8", "replace")
