"""The JSON API: uploads in numbered chunks, file records, signed links. One method for each route of the table."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response, StreamingResponse

from tusd_py.core import errors
from tusd_py.core.chunks import LARGEST_JSON, parse_chunk_number, parse_initiation, parse_sha256
from tusd_py.core.errors import UploadError
from tusd_py.core.headers import LARGEST
from tusd_py.core.links import parse_lifetime
from tusd_py.core.records import FileRecord, public_fields
from tusd_py.service.chunks import Chunks
from tusd_py.service.completing import Completing
from tusd_py.service.discarding import Discarding
from tusd_py.service.files import Files
from tusd_py.service.reporting import Reporting
from tusd_py.web.body import RequestBody
from tusd_py.web.openapi import OPERATIONS, openapi_document

_WAIT = re.compile(r"wait=([0-9]{1,4})")
_LONGEST_WAIT = 60.0
_LOOK_AGAIN = 1.0
"""Seconds after which a file is looked at again: another process may have settled it."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request to the API: `path` is what follows the API's own, `raw_path` the same as it was written, `names` what
    it names.

    `origin` is `scheme://host` of this server as the client knows it. `has_key` says whether an API key came with it,
    `needs_key` whether this server has any.
    """

    method: str
    path: str
    raw_path: str
    names: dict[str, str]
    query: str
    origin: str
    has_key: bool
    needs_key: bool
    headers: Headers
    body: RequestBody


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """What the operator allows; `max_size` in bytes, 0 for no limit, and no `allowed_types` for all.

    `base_path` is where links lead to; without `has_downloads` there are none, and with `needs_key_to_mint` who knows
    only a file's id needs an API key for one.
    """

    api_path: str
    base_path: str
    max_size: int
    allowed_types: frozenset[str]
    detection_problem: str = ""
    has_downloads: bool = True
    has_termination: bool = True
    needs_key_to_mint: bool = False


ApiHandler = Callable[[ApiRequest], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """A method on a path; `{upload_id}` may hold slashes.

    Without `needs_key` it is open to everybody. One that is not `on` keeps its path to itself and is not allowed.
    """

    method: str
    path: str
    handler: ApiHandler
    needs_key: bool = True
    on: bool = True


def path_pattern(path: str) -> re.Pattern[str]:
    pattern = path.replace("{upload_id}", "(?P<upload_id>.+)")
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern), re.DOTALL)


class Api:
    """The handlers of the API."""

    def __init__(
        self,
        chunks: Chunks,
        completing: Completing,
        discarding: Discarding,
        reporting: Reporting,
        files: Files,
        wait: Callable[[str, float], Awaitable[None]],
        options: ApiOptions,
    ) -> None:
        self._chunks = chunks
        self._completing = completing
        self._discarding = discarding
        self._reporting = reporting
        self._files = files
        self._wait = wait
        self._options = options
        self.routes = (
            ApiRoute("POST", "/uploads/initiate", self.initiate),
            ApiRoute("PUT", "/uploads/{upload_id}/chunks/{number}", self.put_chunk),
            ApiRoute("GET", "/uploads/{upload_id}/status", self.status),
            ApiRoute("POST", "/uploads/{upload_id}/complete", self.complete),
            ApiRoute("GET", "/uploads/{upload_id}/download", self.link_to_upload, on=options.has_downloads),
            ApiRoute("DELETE", "/uploads/{upload_id}", self.terminate, on=options.has_termination),
            ApiRoute("GET", "/files/{file_id}", self.file),
            ApiRoute("GET", "/files/{file_id}/download", self.link_to_file, on=options.has_downloads),
            ApiRoute("GET", "/files/{file_id}/events", self.events),
            ApiRoute("GET", "/openapi.json", self.describe, needs_key=False),
        )

    async def initiate(self, request: ApiRequest) -> Response:
        if self._options.detection_problem:
            raise UploadError(errors.DETECTION_UNAVAILABLE)
        body = await _json_body(request.body)
        announced = parse_initiation(body, allowed_types=self._options.allowed_types, max_size=self._max_size)
        session = await self._chunks.initiate(announced)
        answer = {"uploadId": session.id, "totalChunks": session.chunk_count, "chunkSize": session.chunk_size}
        return JSONResponse(answer | {"status": "uploading"}, 201)

    async def put_chunk(self, request: ApiRequest) -> Response:
        number = parse_chunk_number(request.names["number"])
        checksums = request.headers.getlist("x-chunk-checksum")
        invalid = UploadError(errors.INVALID_CHUNK_CHECKSUM)
        checksum = parse_sha256(checksums[0] if len(checksums) == 1 else "", invalid)
        await self._chunks.put(request.names["upload_id"], number, checksum, request.body)
        return JSONResponse({"status": "chunk_received", "chunkNum": number})

    async def status(self, request: ApiRequest) -> Response:
        progress = await self._reporting.status(request.names["upload_id"])
        answer: dict[str, Any] = {
            "uploadId": progress.upload_id,
            "status": progress.status.value,
            "ownerId": progress.owner_id,
            "uploadedChunks": progress.uploaded,
            "missingChunks": progress.missing,
            "totalChunks": progress.chunk_count,
        }
        return JSONResponse(answer if progress.file_id is None else answer | {"fileId": progress.file_id})

    async def complete(self, request: ApiRequest) -> Response:
        record = await self._completing.complete(request.names["upload_id"])
        return JSONResponse(
            {
                "fileId": record.id,
                "status": record.status.value,
                "fileName": record.file_name,
                "fileSize": record.size,
                "checksum": record.checksum,
            }
        )

    async def terminate(self, request: ApiRequest) -> Response:
        await self._discarding.terminate(request.names["upload_id"])
        return Response(status_code=204)

    async def file(self, request: ApiRequest) -> Response:
        """The record; with `?wait=` seconds, when it is settled or the time is over."""
        waiting = _WAIT.fullmatch(request.query)
        if request.query and waiting is None:
            raise UploadError(errors.INVALID_QUERY)
        record = await self._files.load(request.names["file_id"])
        end = time.monotonic() + min(float(waiting[1]) if waiting else 0.0, _LONGEST_WAIT)
        while not record.is_settled and (rest := end - time.monotonic()) > 0:
            await self._wait(record.id, min(rest, _LOOK_AGAIN))
            record = await self._files.load(record.id)
        return JSONResponse(public_fields(record))

    async def events(self, request: ApiRequest) -> Response:
        """Server-sent events (HTML, 9.2): the record now, and at every change of its status until it is settled."""
        record = await self._files.load(request.names["file_id"])
        return StreamingResponse(self._changes(record), media_type="text/event-stream")

    async def _changes(self, record: FileRecord) -> AsyncIterator[str]:
        yield _event(record)
        while not record.is_settled:
            before = record
            await self._wait(record.id, _LOOK_AGAIN)
            try:
                record = await self._files.load(record.id)
            except UploadError:
                return  # removed
            yield _event(record) if record.status is not before.status else ":\n\n"

    async def link_to_upload(self, request: ApiRequest) -> Response:
        """Who knows the upload's id may have a link to the file."""
        record = await self._reporting.record_of(request.names["upload_id"])
        return self._link(request, await self._files.load_ready(record.id))

    async def link_to_file(self, request: ApiRequest) -> Response:
        """Who knows the file's id only may have got that from a link, which must not become one that lives on."""
        if self._options.needs_key_to_mint and not request.has_key:
            raise UploadError(errors.UNAUTHORIZED)
        return self._link(request, await self._files.load_ready(request.names["file_id"]))

    async def describe(self, request: ApiRequest) -> Response:
        options = self._options
        asking = {operation.name for operation in OPERATIONS} - {"describe"} if request.needs_key else set()
        return JSONResponse(
            openapi_document(
                request.origin + options.api_path,
                max_size=self._max_size,
                allowed_types=options.allowed_types,
                with_key=asking | ({"linkToFile"} if options.needs_key_to_mint else set()),
                left_out=[
                    *(() if options.has_downloads else ("linkToUpload", "linkToFile")),
                    *(() if options.has_termination else ("terminate",)),
                ],
            )
        )

    @property
    def _max_size(self) -> int:
        return min(self._options.max_size or LARGEST, self._chunks.most_bytes)

    def _link(self, request: ApiRequest, record: FileRecord) -> Response:
        sizes = [each.size for each in record.thumbnails]
        place = request.origin + self._options.base_path
        answer = self._files.links(record.id, sizes, place, parse_lifetime(request.query))
        if not sizes:
            del answer["thumbnailUrls"]
        return JSONResponse(answer)


def _event(record: FileRecord) -> str:
    return f"event: {record.status.value}\ndata: {json.dumps(public_fields(record))}\n\n"


async def _json_body(body: RequestBody) -> bytes:
    """The whole body, if it is small enough; a larger one is refused before it is read."""
    text = bytearray()
    if body.length is not None and body.length > LARGEST_JSON:
        raise UploadError(errors.BODY_TOO_LARGE, allowed=LARGEST_JSON, received=body.length)
    async for batch in body.batches():
        for piece in batch:
            text += piece
        if len(text) > LARGEST_JSON:
            raise UploadError(errors.BODY_TOO_LARGE, allowed=LARGEST_JSON)
    if body.ended_early is not None:
        raise body.ended_early
    return bytes(text)
