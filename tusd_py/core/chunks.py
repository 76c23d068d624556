"""Uploads in numbered chunks: what a client may ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.headers import LARGEST, media_type
from tusd_py.core.records import OWNER
from tusd_py.core.types import canonical

LARGEST_JSON = 1024 * 1024
"""Bytes of a JSON body."""

CHUNK_UNIT = 64 * 1024
"""Bytes of which every chunk size is a multiple."""

MOST_CHUNKS = 100_000
"""Chunks of a file, so that a list of them can be read, kept and sent at once."""

DEFAULT_TYPES = (
    *("image/jpeg", "image/png", "image/gif", "image/webp", "video/mp4", "video/webm"),
    *("application/pdf", "text/plain", "application/zip"),
)

_DIGEST = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_CHUNK_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
LARGEST_CHUNK_NUMBER = 10**10 - 1

LONGEST_TEXT = 64 * 1024
"""Characters of a text in JSON."""


@dataclass(frozen=True, slots=True)
class Initiation:
    """What a client announces: the file's name (data, never a path), size in bytes, type, and SHA-256 in lower-case
    hexadecimal.
    """

    file_name: str
    file_size: int
    content_type: str
    checksum: str
    owner_id: str = OWNER


def parse_initiation(body: bytes, *, allowed_types: Collection[str], max_size: int) -> Initiation:
    """Read the JSON of an initiation strictly: a number is no text, `true` no number, and 1.5 no size.

    Raises 400 for what is malformed, 413 for a file over `max_size` bytes (0: no limit), 415 for a type that is not
    one of `allowed_types` (empty: all are).
    """
    fields = _parse_object(body)
    initiation = Initiation(
        file_name=_text(fields, "fileName"),
        file_size=_size(fields),
        content_type=_text(fields, "contentType"),
        checksum=parse_sha256(_text(fields, "checksum"), UploadError(errors.INVALID_FIELD, field="checksum")),
        owner_id=_text(fields, "ownerId") if fields.get("ownerId") is not None else OWNER,
    )
    if initiation.file_size > (max_size or LARGEST):
        raise UploadError(errors.MAX_SIZE_EXCEEDED, allowed=max_size, received=initiation.file_size)
    check_type(initiation.content_type, allowed_types)
    return initiation


def check_type(claim: str, allowed_types: Collection[str]) -> None:
    """Raises 415 for a media type that is not on the list; parameters do not count, an empty list allows all."""
    if allowed_types and canonical(media_type(claim)) not in {canonical(each) for each in allowed_types}:
        raise UploadError(errors.TYPE_NOT_ALLOWED)


def parse_sha256(text: str, error: UploadError) -> str:
    """A SHA-256 in hexadecimal, in lower case; raises `error` for anything else."""
    if not _DIGEST.fullmatch(text):
        raise error
    return text.lower()


def parse_chunk_number(text: str) -> int:
    """A chunk's number as it stands in a URL: decimal ASCII digits without leading zeros. Raises 400."""
    if not _CHUNK_NUMBER.fullmatch(text):
        raise UploadError(errors.INVALID_CHUNK_NUMBER)
    return int(text)


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise UploadError(errors.INVALID_JSON) from None
    if not isinstance(document, dict):
        raise UploadError(errors.INVALID_JSON)
    return document


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT:
        raise UploadError(errors.INVALID_FIELD, field=name)
    # A lone surrogate is valid JSON and no text: it could never be written down again.
    return value.encode("utf-8", "replace").decode()


def _size(fields: dict[str, Any]) -> int:
    value = fields.get("fileSize")
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise UploadError(errors.INVALID_FIELD, field="fileSize")
    return value
