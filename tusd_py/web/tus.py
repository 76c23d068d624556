"""tus 1.0 over HTTP: one handler for each method; headers in, a use case, headers out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from tusd_py.core import errors
from tusd_py.core.chunks import check_type
from tusd_py.core.digests import ALGORITHMS
from tusd_py.core.errors import UploadError
from tusd_py.core.headers import (
    TUS_MEDIA_TYPE,
    TUS_VERSION,
    format_concat,
    format_metadata,
    media_type,
    parse_checksum,
    parse_concat,
    parse_integer,
    parse_metadata,
    parse_metadata_as_tusd,
)
from tusd_py.core.ranges import http_date
from tusd_py.core.records import claimed_type
from tusd_py.core.rules import Append
from tusd_py.core.uploads import Upload
from tusd_py.service.uploads import Uploads, new_upload_id
from tusd_py.web.location import upload_id_as_tusd, upload_id_of
from tusd_py.web.request import TusRequest


@dataclass(frozen=True, slots=True)
class TusOptions:
    """What the operator allows.

    `strict` decides for the spec where tusd is more lenient, `max_size` 0 means no limit, and no `allowed_types` that
    all are. With an `api_path`, an upload that has become a file says where that is described.
    """

    max_size: int = 0
    strict: bool = True
    termination: bool = True
    concatenation: bool = True
    expiration: bool = False
    allowed_types: frozenset[str] = frozenset()
    api_path: str = ""


class TusHandlers:
    """The methods of the creation resource and of upload resources."""

    def __init__(self, uploads: Uploads, options: TusOptions, base_path: str) -> None:
        self._uploads = uploads
        self._options = options
        self._base_path = base_path

    # --- OPTIONS (tus core): what this server can do ---

    def discover(self, *, can_deliver_trailers: bool) -> dict[str, str]:
        extensions = {
            "creation": True,
            "creation-with-upload": True,
            "termination": self._options.termination,
            "concatenation": self._options.concatenation,
            "creation-defer-length": True,
            "checksum": True,
            "checksum-trailer": can_deliver_trailers,
            "expiration": self._options.expiration,
        }
        headers = {
            "tus-version": TUS_VERSION,
            "tus-extension": ",".join(name for name, is_on in extensions.items() if is_on),
            "tus-checksum-algorithm": ",".join(ALGORITHMS),
        }
        if self._options.max_size:
            headers["tus-max-size"] = str(self._options.max_size)
        return headers

    # --- POST (tus creation, creation-with-upload, creation-defer-length, concatenation) ---

    async def create(self, request: TusRequest) -> Response:
        concat = request.header("upload-concat", errors.INVALID_CONCAT)
        if concat == "" and not self._options.strict:
            concat = None
        if concat is not None and not self._options.concatenation:
            raise UploadError(errors.CONCATENATION_UNSUPPORTED)
        references = parse_concat(concat) if concat is not None else None
        if references is not None:
            return await self._concatenate(request, concat or "", references)
        size = self._announced_size(request)
        metadata, metadata_text = self._metadata(request)
        if concat is None:
            self._check_type(metadata)
        has_chunk = self._is_tus_body(request)
        if not has_chunk and self._options.strict and await _has_bytes(request):
            raise UploadError(errors.INVALID_CONTENT_TYPE)
        upload = Upload(
            id=new_upload_id(),
            size=size,
            metadata=metadata,
            metadata_text=metadata_text,
            is_partial=concat is not None,
            concat_text=concat,
        )
        append = Append(offset=0, **self._checksum(request)) if has_chunk else None
        created = await self._uploads.create(upload, append, request.body, request.url_of)
        headers = {"location": request.url_of(created.id)}
        if append is not None:
            headers["upload-offset"] = str(created.offset)
        return Response(status_code=201, headers=headers | self._expiry(created) | self._described_by(created))

    async def _concatenate(self, request: TusRequest, concat: str, references: tuple[str, ...]) -> Response:
        """A final upload takes its length from its parts and no bytes of its own."""
        if self._is_tus_body(request) and await _has_bytes(request):
            raise UploadError(errors.MODIFY_FINAL)
        if self._options.strict:
            if "upload-length" in request.headers or "upload-defer-length" in request.headers:
                raise UploadError(errors.INVALID_UPLOAD_LENGTH)
            if await _has_bytes(request):
                raise UploadError(errors.INVALID_CONTENT_TYPE)
            parts = tuple(upload_id_of(reference, request.base_url) for reference in references)
        else:
            parts = tuple(upload_id_as_tusd(reference, self._base_path) for reference in references)
        metadata, metadata_text = self._metadata(request)
        self._check_type(metadata)
        upload = Upload(
            id=new_upload_id(),
            size=None,
            metadata=metadata,
            metadata_text=metadata_text,
            parts=parts,
            concat_text=concat if self._options.strict else None,
        )
        final = await self._uploads.concatenate(upload, request.body, request.url_of)
        headers = {"location": request.url_of(final.id)}
        return Response(status_code=201, headers=headers | self._described_by(final))

    def _announced_size(self, request: TusRequest) -> int | None:
        length = request.header("upload-length", errors.INVALID_UPLOAD_LENGTH)
        deferred = request.header("upload-defer-length", errors.INVALID_UPLOAD_LENGTH_DEFER)
        if length is not None and deferred is not None:
            raise UploadError(errors.AMBIGUOUS_UPLOAD_LENGTH)
        if deferred is not None:
            if deferred != "1":
                raise UploadError(errors.INVALID_UPLOAD_LENGTH_DEFER)
            return None
        return parse_integer(length or "", errors.INVALID_UPLOAD_LENGTH)

    def _metadata(self, request: TusRequest) -> tuple[dict[str, str], str | None]:
        """The pairs, and the text to echo; as tusd, the text is made anew from what could be read."""
        text = request.header("upload-metadata", errors.INVALID_METADATA)
        if self._options.strict:
            return (parse_metadata(text), text) if text else ({}, None)
        return parse_metadata_as_tusd(text or ""), None

    # --- HEAD (tus core): where to go on ---

    async def head(self, request: TusRequest) -> Response:
        upload = await self._uploads.head(request.upload_id)
        headers = {"upload-offset": str(upload.offset)}
        if upload.size is None:
            headers["upload-defer-length"] = "1"
        else:
            headers["upload-length"] = str(upload.size)
        metadata = upload.metadata_text if upload.metadata_text is not None else format_metadata(upload.metadata)
        if upload.is_partial:
            headers["upload-concat"] = upload.concat_text or "partial"
        if upload.parts is not None:
            rebuilt = format_concat([request.url_of(part) for part in upload.parts])
            headers["upload-concat"] = upload.concat_text or rebuilt
        response = Response(status_code=200, headers=headers | self._expiry(upload))
        if metadata:
            response.raw_headers.append((b"upload-metadata", metadata.encode("utf-8", "replace")))
        if request.sent_method == "HEAD":
            # The length of what GET would send, once whole; a length must not be announced for a body that does not
            # come.
            del response.headers["content-length"]
            if upload.size is not None:
                response.headers["content-length"] = str(upload.size)
        return response

    # --- PATCH (tus core): bytes at an offset ---

    async def patch(self, request: TusRequest) -> Response:
        upload = await self._uploads.find(request.upload_id)
        if upload.is_final:
            raise UploadError(errors.MODIFY_FINAL)
        if not self._is_tus_body(request):
            raise UploadError(errors.INVALID_CONTENT_TYPE)
        offset = request.header("upload-offset", errors.INVALID_OFFSET)
        length = request.header("upload-length", errors.INVALID_UPLOAD_LENGTH)
        append = Append(
            offset=parse_integer(offset or "", errors.INVALID_OFFSET),
            declared_size=parse_integer(length, errors.INVALID_UPLOAD_LENGTH) if length is not None else None,
            **self._checksum(request),
        )
        appended = await self._uploads.append(upload, append, request.body)
        headers = {"upload-offset": str(appended.offset)} | self._expiry(appended) | self._described_by(appended)
        return Response(status_code=204, headers=headers)

    # --- DELETE (tus termination) ---

    async def terminate(self, request: TusRequest) -> Response:
        await self._uploads.terminate(request.upload_id)
        return Response(status_code=204)

    # --- what several of them read and write ---

    def _is_tus_body(self, request: TusRequest) -> bool:
        content_type = request.header("content-type", errors.INVALID_CONTENT_TYPE)
        return media_type(content_type) == TUS_MEDIA_TYPE

    def _checksum(self, request: TusRequest) -> dict[str, Any]:
        """Upload-Checksum comes with the head or, where this server delivers them, in a trailer (tus checksum)."""
        text = request.header("upload-checksum", errors.INVALID_CHECKSUM)
        announced = {name.strip().lower() for name in request.headers.get("trailer", "").split(",")}
        in_trailer = "upload-checksum" in announced
        if in_trailer and (text is not None or request.body.trailer("upload-checksum") is None):
            raise UploadError(errors.INVALID_CHECKSUM)
        return {"checksum": parse_checksum(text) if text is not None else None, "checksum_in_trailer": in_trailer}

    def _check_type(self, metadata: Mapping[str, str]) -> None:
        """What a client claims its file to be; one that claims nothing, or a part of a file, is not judged by that."""
        if claim := claimed_type(metadata):
            check_type(claim, self._options.allowed_types)

    def _described_by(self, upload: Upload) -> dict[str, str]:
        """Where the API describes the file that a finished upload has become (RFC 8288)."""
        if not (self._options.api_path and upload.is_complete and upload.file_id):
            return {}
        return {"link": f'<{self._options.api_path}/files/{upload.file_id}>; rel="describedby"'}

    def _expiry(self, upload: Upload) -> dict[str, str]:
        """Upload-Expires on every answer about an upload that will expire (tus expiration)."""
        expires_at = self._uploads.expires_at(upload)
        return {} if expires_at is None else {"upload-expires": http_date(expires_at)}


async def _has_bytes(request: TusRequest) -> bool:
    """Whether the body has any; of a body in chunked coding the start has to be read for that."""
    if request.body.length is not None:
        return request.body.length > 0
    async for _ in request.body.batches():
        return True
    return False
