"""GET of an upload: its bytes, with ranges and conditions, under headers that keep a browser from running them."""

from __future__ import annotations

import asyncio
import os

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tusd_py.core.disposition import content_disposition, content_type
from tusd_py.core.ranges import (
    ByteRange,
    Conditions,
    RangeError,
    failed_condition,
    http_date,
    parse_range,
    range_applies,
)
from tusd_py.core.threads import InThread
from tusd_py.core.uploads import Upload
from tusd_py.service.uploads import Uploads
from tusd_py.web.request import TusRequest

BLOCK = 1024 * 1024

RawHeaders = list[tuple[bytes, bytes]]


class Downloads:
    """Sends what counts of an upload, unfinished ones included (as tusd); takes no lock."""

    def __init__(self, uploads: Uploads, in_thread: InThread) -> None:
        self._uploads = uploads
        self._in_thread = in_thread

    async def get(self, request: TusRequest) -> Response:
        upload = await self._uploads.find(request.upload_id)
        conditions = _conditions(request.headers)
        status = failed_condition(conditions, upload.changed_at)
        if status is not None:
            return _with_headers(Response(status_code=status), [(b"last-modified", _date(upload))])
        header = request.headers.get("range") if range_applies(conditions, upload.changed_at) else None
        wanted = parse_range(header, upload.offset)
        if isinstance(wanted, RangeError):
            return _unsatisfiable(wanted, upload.offset)
        sent = wanted or ByteRange(0, upload.offset)
        headers = _file_headers(upload, sent.length)
        if wanted is not None:
            last = wanted.start + wanted.length - 1
            headers.append((b"content-range", b"bytes %d-%d/%d" % (wanted.start, last, upload.offset)))
        descriptor = await self._uploads.open_for_reading(upload)
        status_code = 200 if wanted is None else 206
        return _FileResponse(status_code, headers, descriptor, sent, self._in_thread)


class _FileResponse(Response):
    """Bytes of an open file, which is closed in the end."""

    def __init__(
        self, status_code: int, headers: RawHeaders, descriptor: int, part: ByteRange, in_thread: InThread
    ) -> None:
        self.status_code = status_code
        self.raw_headers = headers
        self.background = None
        self._descriptor = descriptor
        self._part = part
        self._in_thread = in_thread

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        position, rest = self._part.start, self._part.length
        is_gone = asyncio.create_task(_disconnect(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while rest and not is_gone.done():
                block = await self._in_thread(os.pread, self._descriptor, min(rest, BLOCK), position)
                if not block:
                    return  # cut back meanwhile: the announced length is not reached, so the client notices
                position, rest = position + len(block), rest - len(block)
                await send({"type": "http.response.body", "body": block, "more_body": True})
        finally:
            is_gone.cancel()
            await asyncio.wait([is_gone])
            os.close(self._descriptor)
        if not rest:
            await send({"type": "http.response.body", "body": b""})


async def _disconnect(receive: Receive) -> None:
    """Wait until the client has gone: to send on would raise nothing (ASGI before 2.4)."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _file_headers(upload: Upload, length: int) -> RawHeaders:
    """Values out of metadata are bytes that may go beyond Latin-1, as Go sends them."""
    return [
        (b"content-type", _printable(content_type(upload.metadata))),
        (b"content-disposition", _printable(content_disposition(upload.metadata))),
        (b"content-length", b"%d" % length),
        (b"accept-ranges", b"bytes"),
        (b"last-modified", _date(upload)),
    ]


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


def _date(upload: Upload) -> bytes:
    return http_date(upload.changed_at).encode()


def _printable(value: str) -> bytes:
    """Header bytes without control characters; the quoting leaves none, this is the last door."""
    return "".join(c for c in value if c >= " " and c != "\x7f").encode("utf-8", "replace")
