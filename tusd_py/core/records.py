"""File records: the durable description of what a finished upload has become, and its form on disk and in the API."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tusd_py.core.hook_events import HttpRequest
from tusd_py.core.types import served_type
from tusd_py.core.uploads import Upload


class Status(StrEnum):
    """How far an upload is; the last four are settled."""

    UPLOADING = "uploading"
    ASSEMBLING = "assembling"
    PROCESSING = "processing"
    READY = "ready"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    GONE = "gone"


SETTLED = frozenset({Status.READY, Status.QUARANTINED, Status.FAILED, Status.GONE})

OWNER = "anonymous"
"""Whose a file is when nobody said so."""

_LATEST = 253_402_300_799.0
"""The last second of the year 9999."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A smaller picture of a file: `size` is its name in links, `width` and `height` are in pixels."""

    size: str
    width: int
    height: int
    type: str


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file. `size` in bytes, times in Unix seconds.

    `content_type` is what the client claims, `detected_type` what the bytes are known to be; `checksum` is the
    SHA-256 of the bytes in hexadecimal, None where nobody had it computed. `upload_id` and `path` never leave the
    server: they are the right to write and the place on disk. `chunk_count` is None for tus uploads.
    `released_at` is when a human took the file out of quarantine, `reopened_at` when the file, settled before, was sent
    through the steps once more; `request` is the one that finished the upload, while a hook is still to hear of it.
    """

    id: str
    upload_id: str
    path: str
    file_name: str
    size: int
    content_type: str
    owner_id: str
    created_at: float
    completed_at: float
    status: Status = Status.PROCESSING
    checksum: str | None = None
    detected_type: str | None = None
    scan_result: str | None = None
    thumbnails: tuple[Thumbnail, ...] = ()
    chunk_count: int | None = None
    released_at: float | None = None
    reopened_at: float | None = None
    request: HttpRequest | None = None

    @property
    def is_settled(self) -> bool:
        return self.status in SETTLED

    @property
    def type(self) -> str:
        """The media type to serve the bytes under."""
        return served_type(self.content_type, self.detected_type) if self.detected_type else self.content_type


class CorruptRecord(ValueError):
    """The text is not a file record."""


def new_file_id() -> str:
    """128 random bits, independent of the upload's id: it gives no way to write or delete."""
    return "f_" + secrets.token_hex(16)


def record_of(upload: Upload, file_id: str, now: float) -> FileRecord:
    """The record of a complete tus upload, out of its metadata; `type` and `name` are Uppy's words for the same."""
    metadata = upload.metadata
    return FileRecord(
        id=file_id,
        upload_id=upload.id,
        path=upload.path,
        file_name=metadata.get("filename") or metadata.get("name") or "",
        size=upload.offset,
        content_type=claimed_type(metadata) or "application/octet-stream",
        owner_id=metadata.get("ownerId") or OWNER,
        created_at=upload.created_at or upload.changed_at,
        completed_at=now,
    )


def claimed_type(metadata: Mapping[str, str]) -> str:
    """What a tus client says its file is; empty if it does not say."""
    return metadata.get("filetype") or metadata.get("type") or ""


def public_fields(record: FileRecord) -> dict[str, Any]:
    """The record as the API shows it; it names neither the upload nor a path."""
    return {
        "id": record.id,
        "fileName": record.file_name,
        "fileSize": record.size,
        "contentType": record.content_type,
        "detectedType": record.detected_type,
        "checksum": record.checksum,
        "ownerId": record.owner_id,
        "status": record.status.value,
        "scanResult": record.scan_result,
        "thumbnails": [
            {"size": each.size, "width": each.width, "height": each.height, "type": each.type}
            for each in record.thumbnails
        ],
        "createdAt": timestamp(record.created_at),
        "completedAt": timestamp(record.completed_at),
    }


def timestamp(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC, to the millisecond; what has no such form becomes the nearest that has."""
    return (
        datetime.fromtimestamp(min(max(0.0, seconds), _LATEST), UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def encode_record(record: FileRecord) -> bytes:
    document = public_fields(record) | {
        "uploadId": record.upload_id,
        "path": record.path,
        "created": record.created_at,
        "completed": record.completed_at,
        "chunkCount": record.chunk_count,
        "released": record.released_at,
        "reopened": record.reopened_at,
        "request": None if record.request is None else asdict(record.request),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def decode_record(text: bytes) -> FileRecord:
    """Read what `encode_record` wrote. Raises `CorruptRecord`."""
    try:
        document = json.loads(text)
        return FileRecord(
            id=document["id"],
            upload_id=document["uploadId"],
            path=document["path"],
            file_name=document["fileName"],
            size=document["fileSize"],
            content_type=document["contentType"],
            owner_id=document["ownerId"],
            created_at=document["created"],
            completed_at=document["completed"],
            status=Status(document["status"]),
            checksum=document["checksum"],
            detected_type=document["detectedType"],
            scan_result=document["scanResult"],
            thumbnails=tuple(Thumbnail(**each) for each in document["thumbnails"]),
            chunk_count=document["chunkCount"],
            released_at=document.get("released"),
            reopened_at=document.get("reopened"),
            request=HttpRequest(**request) if (request := document.get("request")) else None,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptRecord(type(error).__name__) from error


def settled(record: FileRecord, status: Status, reason: str | None = None) -> FileRecord:
    """The record with its final status; `reason` says why it is not ready."""
    return replace(record, status=status, scan_result=reason if reason is not None else record.scan_result)
