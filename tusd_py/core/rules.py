"""tus 1.0: what a request may do to an upload, decided on values alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.headers import LARGEST, Checksum
from tusd_py.core.uploads import Upload


@dataclass(frozen=True, slots=True)
class Append:
    """What a PATCH asks for: bytes at `offset`; `declared_size` is the length of a deferred upload, said now.

    A checksum comes with the head or, `checksum_in_trailer`, after the body.
    """

    offset: int
    declared_size: int | None = None
    checksum: Checksum | None = None
    checksum_in_trailer: bool = False

    @property
    def is_verified(self) -> bool:
        return self.checksum is not None or self.checksum_in_trailer


@dataclass(frozen=True, slots=True)
class AppendPlan:
    """What will be done: at most `limit` bytes from `offset`, on an upload of `size` bytes (None: still deferred)."""

    offset: int
    size: int | None
    limit: int


def plan_append(upload: Upload, append: Append, body_length: int | None, max_size: int) -> AppendPlan:
    """Check a PATCH against the upload under its lock; `max_size` 0 means no limit. Nothing has been read of the body.

    Raises 409 for an offset that is not the upload's, 400 for a length that contradicts it, 413 for a body that is
    larger than the rest (tus core, PATCH; creation-defer-length).
    """
    if append.offset != upload.offset:
        raise UploadError(errors.MISMATCHED_OFFSET, expected=upload.offset, received=append.offset)
    size = upload.size
    if append.declared_size is not None:
        size = check_declared_size(upload, append.declared_size, max_size)
    limit = (size if size is not None else max_size or LARGEST) - upload.offset
    if body_length is not None and body_length > limit:
        problem = errors.UPLOAD_SIZE_EXCEEDED if size is not None else errors.MAX_SIZE_EXCEEDED
        raise UploadError(problem, expected=limit, received=body_length)
    return AppendPlan(upload.offset, size, max(limit, 0))


def check_declared_size(upload: Upload, size: int, max_size: int) -> int:
    """The length, once set, never changes; saying the same again is accepted (a client may have lost the answer)."""
    if upload.size is not None and upload.size != size:
        raise UploadError(errors.INVALID_UPLOAD_LENGTH, expected=upload.size, received=size)
    if size < upload.offset:
        raise UploadError(errors.INVALID_UPLOAD_LENGTH, received_already=upload.offset, received=size)
    check_size(size, max_size)
    return size


def check_size(size: int, max_size: int) -> None:
    """`max_size` 0 means no limit but that of a signed 64-bit number."""
    if size > (max_size or LARGEST):
        raise UploadError(errors.MAX_SIZE_EXCEEDED, allowed=max_size or LARGEST, received=size)


def final_size(parts: Sequence[Upload], *, partial_only: bool, max_size: int) -> int:
    """The size of the concatenation, in bytes: the sum of parts that are all complete (and, by the spec, partial)."""
    for part in parts:
        if partial_only and not part.is_partial:
            raise UploadError(errors.INVALID_CONCAT)
        if not part.is_complete:
            raise UploadError(errors.UPLOAD_NOT_FINISHED)
    size = sum(part.offset for part in parts)
    check_size(size, max_size)
    return size


def check_expiry(upload: Upload, expire_after: float, now: float) -> None:
    """Raises 410 for an unfinished upload whose time is over (Unix seconds), whether or not it was swept (tus
    expiration).
    """
    end = expires_at(upload, expire_after)
    if end is not None and now >= end:
        raise UploadError(errors.UPLOAD_EXPIRED)


def expires_at(upload: Upload, expire_after: float) -> float | None:
    """When an unfinished upload ends (Unix seconds): its newest change and the time to live, which 0 switches off."""
    if not expire_after or upload.is_complete:
        return None
    return upload.changed_at + expire_after
