"""Which values make sense for the keywords of the application; the flags of the command line have the same names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from tusd_py.core.go_values import format_duration

LINK_TTL = 3600.0
"""Seconds that a signed link is good by default, or less where the longest time is less."""

_BOUNDS: Mapping[str, tuple[int, int | None]] = {
    "workers": (0, 1000),
    "max_header_bytes": (1024, 64 * 1024 * 1024),  # of a request; less has no room for what browsers send
    "pipeline_concurrency": (1, 1000),
    "scan_max_size": (1, None),
    "chunk_max_size": (0, None),
    "min_free_space": (0, None),
    "max_unfinished": (0, None),
}
_SHORTEST_TIMES = {
    "expire_after": 0,
    "chunk_expire_after": 0,
    "hooks_timeout": 0,
    "signed_url_ttl": 1,
    "signed_url_max_ttl": 1,
}


def _is_path(text: str) -> bool:
    return re.fullmatch(r"[!-~]*", text) is not None and re.search(r"[?#%\\]|(^|/)\.\.?(/|$)", text) is None


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and is_plain


def _without_user(text: str) -> str:
    """What may be shown of a URL, even of one that cannot be read: no password."""
    return re.sub(r"//.*@", "//", text)


_TEXTS: Mapping[str, tuple[Callable[[str], object], str]] = {
    "api_path": (_is_path, "a path as it stands in URLs, such as /api"),
    "accel_redirect": (
        lambda text: text.startswith("/") and text.endswith("/") and _is_path(text),
        "a path with a slash at both ends, such as /internal/",
    ),
    "public_url": (_is_web_address, "an http or https URL without user and query, such as https://uploads.example.org"),
}


def refused_values(values: Mapping[str, Any]) -> Iterator[str]:
    """For each value that makes no sense a sentence with its name, what is allowed, and the value.

    What may hold a password is judged where it is read, and not shown. An empty text means that there is none.
    """
    for name, (least, most) in _BOUNDS.items():
        if name in values and not (least <= values[name] and (most is None or values[name] <= most)):
            allowed = f"{least} or more" if most is None else f"from {least} to {most}"
            yield f"{name} must be {allowed}, not {values[name]}"
    for name, shortest in _SHORTEST_TIMES.items():
        if name in values and values[name] < shortest:
            yield f"{name} must be {shortest}s or more, not {format_duration(values[name])}"
    for name, (makes_sense, allowed) in _TEXTS.items():
        if (text := values.get(name, "")) and not makes_sense(text):
            yield f"{name} must be {allowed}, not {_without_user(text)!r}"
    ttl, longest = values.get("signed_url_ttl", LINK_TTL), values.get("signed_url_max_ttl")
    if longest is not None and ttl > longest and ttl != LINK_TTL:
        limit = format_duration(longest)
        yield f"signed_url_ttl must be at most {limit}, as signed_url_max_ttl is, not {format_duration(ttl)}"
