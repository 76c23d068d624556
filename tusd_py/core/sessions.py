"""Uploads in chunks that have not become files yet: the arithmetic of their chunks, and their form on disk."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tusd_py.core import errors
from tusd_py.core.chunks import Initiation
from tusd_py.core.errors import UploadError
from tusd_py.core.records import FileRecord
from tusd_py.core.uploads import CHUNKS, Upload


@dataclass(frozen=True, slots=True)
class Session:
    """An upload in chunks that has not become a file yet; sizes in bytes, times in Unix seconds.

    `file_id` is that of the file which it will become, `path` its place where a hook has chosen one. `failure` is the
    reason for which it never will.
    """

    id: str
    file_id: str
    announced: Initiation
    chunk_size: int
    created_at: float
    changed_at: float = 0.0
    failure: str | None = None
    path: str = ""

    @property
    def chunk_count(self) -> int:
        return -(-self.announced.file_size // self.chunk_size)

    def offset_of(self, number: int) -> int:
        return number * self.chunk_size

    def length_of(self, number: int) -> int:
        """Every chunk has the chunk size; the last one has the remainder."""
        return min(self.chunk_size, self.announced.file_size - self.offset_of(number))

    def missing(self, marked: Collection[int]) -> tuple[int, ...]:
        return tuple(number for number in range(self.chunk_count) if number not in marked)


class ChunksMissing(UploadError):
    """`complete` came too early: these chunks are not here, or turned out to be damaged."""

    def __init__(self, missing: Sequence[int]) -> None:
        super().__init__(errors.CHUNKS_MISSING, missing_count=len(missing))
        self.missing = tuple(missing)


def check_chunk(session: Session, number: int, length: int | None) -> None:
    """Raises 400 for a chunk that the file does not have, and for a body that is not of that chunk's length (longer:
    413, unknown before its end: 411).
    """
    if number >= session.chunk_count:
        raise UploadError(errors.INVALID_CHUNK_NUMBER, received=number, chunks=session.chunk_count)
    expected = session.length_of(number)
    if length is None:
        raise UploadError(errors.LENGTH_REQUIRED, expected=expected)
    if length > expected:
        raise UploadError(errors.CHUNK_TOO_LARGE, expected=expected, received=length)
    if length < expected:
        raise UploadError(errors.INVALID_CHUNK_LENGTH, expected=expected, received=length)


def changed_by_hooks(session: Session, upload: Upload) -> Session:
    """The session as hooks want it: they may choose the id, and say of the file what the client says."""
    announced = replace(
        session.announced,
        file_name=upload.metadata.get("filename") or session.announced.file_name,
        content_type=upload.metadata.get("filetype") or session.announced.content_type,
        owner_id=upload.metadata.get("ownerId") or session.announced.owner_id,
    )
    return replace(session, id=upload.id, announced=announced, path=upload.path)


def upload_of(session: Session) -> Upload:
    """The complete upload that a session is to become."""
    announced = session.announced
    return Upload(
        id=session.id,
        size=announced.file_size,
        metadata={"filename": announced.file_name, "filetype": announced.content_type, "ownerId": announced.owner_id},
        offset=announced.file_size,
        created_at=session.created_at,
        path=session.path,
        file_id=session.file_id,
        protocol=CHUNKS,
    )


def record_of_session(session: Session, path: str, now: float) -> FileRecord:
    """The file that a session has become at `now`, with its bytes at `path`."""
    announced = session.announced
    return FileRecord(
        id=session.file_id,
        upload_id=session.id,
        path=path,
        file_name=announced.file_name,
        size=announced.file_size,
        content_type=announced.content_type,
        owner_id=announced.owner_id,
        created_at=session.created_at,
        completed_at=now,
        checksum=announced.checksum,
        chunk_count=session.chunk_count,
    )


def encode_session(session: Session) -> bytes:
    announced = session.announced
    document = {
        "id": session.id,
        "fileId": session.file_id,
        "fileName": announced.file_name,
        "fileSize": announced.file_size,
        "contentType": announced.content_type,
        "checksum": announced.checksum,
        "ownerId": announced.owner_id,
        "chunkSize": session.chunk_size,
        "created": session.created_at,
        "failure": session.failure,
        "path": session.path,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def decode_session(text: bytes) -> Session:
    """Read what `encode_session` wrote. Raises ValueError for anything else."""
    try:
        document = json.loads(text)
        return Session(
            id=document["id"],
            file_id=document["fileId"],
            announced=Initiation(
                file_name=document["fileName"],
                file_size=document["fileSize"],
                content_type=document["contentType"],
                checksum=document["checksum"],
                owner_id=document["ownerId"],
            ),
            chunk_size=document["chunkSize"],
            created_at=document["created"],
            failure=document["failure"],
            path=document.get("path", ""),
        )
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(type(error).__name__) from error
