"""Byte ranges and conditions of a download (RFC 9110 13 and 14), as Go's file server decides them.

There is no entity tag, only the date of the last change. A request for several ranges is answered with the whole file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from enum import Enum

_RANGE = re.compile(r"\s*+(\d*+)\s*+-\s*+(\d*+)\s*+", re.ASCII)  # possessive: a header may be a mebibyte of blanks
_MOST_DIGITS = 19


class RangeError(Enum):
    """Why a Range header is answered with 416."""

    MALFORMED = "invalid range"
    UNSATISFIABLE = "invalid range: failed to overlap"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from `start`; `start` 0 and the whole length where nothing else was asked for."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditional headers of a request, None where absent."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None
    if_range: str | None = None


def http_date(seconds: float) -> str:
    """An IMF-fixdate (RFC 9110 5.6.7), whatever the locale."""
    return formatdate(seconds, usegmt=True)


def parse_range(header: str | None, size: int) -> ByteRange | RangeError | None:
    """The one range to send; None for the whole file (no header, several ranges, an empty file)."""
    if not header:
        return None
    unit, _, ranges = header.partition("=")
    if unit != "bytes":
        return RangeError.MALFORMED
    if "," in ranges or size == 0:
        return None
    match = _RANGE.fullmatch(ranges)
    if match is None or not (match[1] or match[2]) or max(len(match[1]), len(match[2])) > _MOST_DIGITS:
        return RangeError.MALFORMED
    if not match[1]:
        length = min(int(match[2]), size)
        return ByteRange(size - length, length) if length else RangeError.UNSATISFIABLE
    start = int(match[1])
    end = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < start:
        return RangeError.MALFORMED
    return ByteRange(start, end - start + 1) if start < size else RangeError.UNSATISFIABLE


def failed_condition(conditions: Conditions, changed_at: float) -> int | None:
    """The status that answers the request instead of the file: 304, 412, or None to send it."""
    if conditions.if_match is not None:
        if conditions.if_match.strip() != "*":
            return 412
    elif _is_changed_since(conditions.if_unmodified_since, changed_at) is True:
        return 412
    if conditions.if_none_match is not None:
        return 304 if conditions.if_none_match.strip() == "*" else None
    return 304 if _is_changed_since(conditions.if_modified_since, changed_at) is False else None


def range_applies(conditions: Conditions, changed_at: float) -> bool:
    """Whether a Range counts in the light of If-Range: only if the file's date is exactly the one given."""
    if conditions.if_range is None:
        return True
    date = _timestamp(conditions.if_range)
    return date is not None and date == int(changed_at)


def _is_changed_since(header: str | None, changed_at: float) -> bool | None:
    date = _timestamp(header)
    return None if date is None else int(changed_at) > date


def _timestamp(header: str | None) -> int | None:
    if header is None:
        return None
    try:
        date = parsedate_to_datetime(header)
        return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, OSError):
        return None
