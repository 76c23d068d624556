"""The grammar of the tus headers: text in, values out, and nothing but `UploadError` raised."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tusd_py.core import errors
from tusd_py.core.digests import ALGORITHMS
from tusd_py.core.errors import Problem, UploadError

TUS_MEDIA_TYPE = "application/offset+octet-stream"
TUS_VERSION = "1.0.0"
LARGEST = 2**63 - 1

_INTEGER = re.compile(r"[0-9]{1,19}")
_METADATA_KEY = re.compile(r"[!-+\--~]+")  # printable ASCII without blank and comma (tus creation)
_CHECKSUM = re.compile(r"([a-z0-9]+) ([A-Za-z0-9+/]+={0,2})")


def parse_integer(text: str, problem: Problem) -> int:
    """A non-negative decimal integer of at most 2^63 - 1 (tus core, Upload-Offset and Upload-Length)."""
    if not _INTEGER.fullmatch(text) or (value := int(text)) > LARGEST:
        raise UploadError(problem)
    return value


def media_type(content_type: str | None) -> str:
    """The media type in lower case without parameters (RFC 9110 8.3.1); empty when there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


# --- Upload-Metadata (tus creation) ---


def parse_metadata(text: str) -> dict[str, str]:
    """Read `Upload-Metadata` strictly: unique keys of printable ASCII, values in standard base64.

    Blanks around a pair are accepted (TUSKit sends them), so are an empty header (tuspy sends it) and a bare key.
    """
    metadata: dict[str, str] = {}
    if not text.strip(" \t"):
        return metadata
    for pair in text.split(","):
        key, blank, value = pair.strip(" ").partition(" ")
        if not _METADATA_KEY.fullmatch(key) or key in metadata:
            raise UploadError(errors.INVALID_METADATA)
        try:
            metadata[key] = decode_value(base64.b64decode(value, validate=True)) if blank else ""
        except (ValueError, binascii.Error):
            raise UploadError(errors.INVALID_METADATA) from None
    return metadata


def parse_metadata_as_tusd(text: str) -> dict[str, str]:
    """Read `Upload-Metadata` as tusd does: what cannot be read is left out, the last of equal keys wins."""
    metadata: dict[str, str] = {}
    for pair in text.split(","):
        key, _, value = pair.strip().partition(" ")
        if not key or " " in value:
            continue
        try:
            metadata[key] = decode_value(base64.b64decode(value, validate=True))
        except (ValueError, binascii.Error):
            continue
    return metadata


def format_metadata(metadata: Mapping[str, str]) -> str:
    """Write metadata as `Upload-Metadata`; an empty value is a bare key."""
    pairs = ((key, base64.b64encode(value.encode("utf-8", "replace")).decode()) for key, value in metadata.items())
    return ",".join(f"{key} {value}" if value else key for key, value in pairs)


def decode_value(value: bytes) -> str:
    """Text of a metadata value; each byte that is not UTF-8 becomes U+FFFD, as Go does it."""
    text = value.decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", "\ufffd", text)


# --- Upload-Checksum (tus checksum) ---


@dataclass(frozen=True, slots=True)
class Checksum:
    """An announced checksum: the algorithm's tus name and the raw digest."""

    algorithm: str
    digest: bytes


def parse_checksum(text: str) -> Checksum:
    """Read `Upload-Checksum`: algorithm, one blank, base64 of a digest of the right length."""
    match = _CHECKSUM.fullmatch(text)
    if match is None:
        raise UploadError(errors.INVALID_CHECKSUM)
    algorithm = ALGORITHMS.get(match[1])
    if algorithm is None:
        raise UploadError(errors.UNSUPPORTED_CHECKSUM)
    try:
        digest = base64.b64decode(match[2], validate=True)
    except binascii.Error:
        raise UploadError(errors.INVALID_CHECKSUM) from None
    if len(digest) != algorithm.size:
        raise UploadError(errors.INVALID_CHECKSUM, expected_bytes=algorithm.size, received_bytes=len(digest))
    return Checksum(match[1], digest)


# --- Upload-Concat (tus concatenation) ---

PARTIAL = "partial"
FINAL = "final;"


def parse_concat(text: str) -> tuple[str, ...] | None:
    """Read `Upload-Concat`: the references of a final upload in order, or None for a partial one.

    Several blanks, and one after the semicolon, are accepted.
    """
    if text == PARTIAL:
        return None
    references = tuple(text.removeprefix(FINAL).split(" ")) if text.startswith(FINAL) else ()
    references = tuple(reference for reference in references if reference)
    if not references:
        raise UploadError(errors.INVALID_CONCAT)
    return references


def format_concat(references: Sequence[str]) -> str:
    return FINAL + " ".join(references)
