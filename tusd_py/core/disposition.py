"""How a download names itself to a browser: Content-Type and Content-Disposition out of a client's metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from tusd_py.core.headers import media_type

OCTET_STREAM = "application/octet-stream"

INLINE_TYPES = frozenset(
    {
        "text/plain",
        *("image/png", "image/jpeg", "image/gif", "image/bmp", "image/webp"),
        *("audio/wave", "audio/wav", "audio/x-wav", "audio/x-pn-wav", "audio/webm", "audio/ogg"),
        *("video/mp4", "video/webm", "video/ogg", "application/ogg"),
    }
)
"""tusd's list of what a browser may show in place; no type that can carry a script."""

# Strangers' texts of up to a mebibyte are matched: without possessive quantifiers that could take hours.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # noqa: S105 -- RFC 9110 5.6.2, no password
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*+"'
_MEDIA_TYPE = re.compile(
    rf"{_TOKEN}(?:/{_TOKEN})?+(?P<parameters>(?:\s*+;\s*+{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))*+)(?:\s*+;)?+\s*+"
)
_PARAMETER_NAME = re.compile(rf";\s*({_TOKEN})=")
_NAMED_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def content_type(metadata: Mapping[str, str]) -> str:
    """The client's `filetype` as it stands if it is a media type (a bare token counts, as in Go), else octet-stream."""
    claim = metadata.get("filetype", "")
    match = _MEDIA_TYPE.fullmatch(claim)
    if match is None:
        return OCTET_STREAM
    names = [name.lower() for name in _PARAMETER_NAME.findall(match["parameters"])]
    return claim if len(names) == len(set(names)) else OCTET_STREAM


def is_media_type(text: str) -> bool:
    """Whether this is a type and a subtype, without parameters."""
    return "/" in text and ";" not in text and _MEDIA_TYPE.fullmatch(text) is not None


def media_types(texts: Sequence[str]) -> frozenset[str]:
    """The types that an operator allows. Raises ValueError for what is none, and would never be found in a file."""
    kinds = frozenset(map(media_type, texts))
    for kind in kinds:
        if "*" in kind or not is_media_type(kind):
            raise ValueError(f"allowed_types must be media types such as image/png, with commas, and {kind!r} is none")
    return kinds


def content_disposition(metadata: Mapping[str, str]) -> str:
    """`inline` for types that a browser may show, else `attachment`; with the client's name for the file.

    `filename` is quoted as Go does it, the way tusd's users know it; `filename*` (RFC 6266) follows where the name is
    more than ASCII. No control character survives in either, so the name cannot start a header of its own.
    """
    kind = content_type(metadata).partition(";")[0].strip().lower()
    disposition = "inline" if kind in INLINE_TYPES else "attachment"
    name = metadata.get("filename")
    if name is None:
        return disposition
    disposition += ";filename=" + go_quote(name)
    if not name.isascii():
        disposition += ";filename*=UTF-8''" + quote(name.encode("utf-8", "replace"), safe="!#$&+-.^_`|~")
    return disposition


def go_quote(text: str) -> str:
    """A string as Go's `%q` prints it: escapes for quotes, backslashes and what cannot be printed."""
    return '"' + "".join(_quoted_character(character) for character in text) + '"'


def _quoted_character(character: str) -> str:
    code = ord(character)
    if character in '"\\':
        return "\\" + character
    if character in _NAMED_ESCAPES:
        return _NAMED_ESCAPES[character]
    if character.isprintable():
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
