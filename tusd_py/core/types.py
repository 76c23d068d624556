"""Media types: what a client claims, what the bytes are found to be, and whether the two can be true of one file.

Detection is libmagic's, and its answers are of all kinds: plain text that begins with `SPDX` is a plotter file to it,
an MP4 of some cameras is audio, an office document may be a mere zip. So a claim is not compared with the detection;
it has a list of detections that honest files of that kind are known to give.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from tusd_py.core.disposition import INLINE_TYPES
from tusd_py.core.headers import media_type

OCTET_STREAM = "application/octet-stream"
EMPTY = "application/x-empty"

HEAD_SIZE = 16
"""Bytes of a file that `refined` wants to see."""

ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "image/x-icon": "image/vnd.microsoft.icon",
    "application/x-pdf": "application/pdf",
    "application/x-gzip": "application/gzip",
    "application/x-gunzip": "application/gzip",
    "application/x-zip": "application/zip",
    "application/x-zip-compressed": "application/zip",
    "application/x-rar-compressed": "application/vnd.rar",
    "application/x-rar": "application/vnd.rar",
    "application/x-javascript": "text/javascript",
    "application/javascript": "text/javascript",
    "application/xml": "text/xml",
    "application/csv": "text/csv",
    "application/rtf": "text/rtf",
    "audio/mp3": "audio/mpeg",
    "audio/x-mp3": "audio/mpeg",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "video/x-m4v": "video/mp4",
    "video/avi": "video/x-msvideo",
    "inode/x-empty": EMPTY,
}
"""Names of the same format, and the one that is used here: Windows says x-zip-compressed where others say zip."""

# In the lists below a star stands for any characters.

_TEXT = (
    *("text/*", "message/*", "*+xml", "*+json"),
    *("application/json", "application/x-ndjson", "application/x-subrip", "application/pgp-*"),
    *("application/postscript", "application/x-wine-extension-ini", "application/x-setupscript"),
    # What ordinary text is taken for when its first letters are SP, PA, P1, P5, MATLAB, MAC, or a figure and blanks.
    *("application/vnd.hp-hpgl", "image/x-portable-*", "application/x-matlab-data", "audio/x-ape", "biosig/*"),
    *("image/x-unknown", "audio/x-unknown"),
)

_ZIP = (
    *("application/zip", "application/java-archive", "application/epub+zip", "application/vnd.android.package-archive"),
    *("application/vnd.openxmlformats-officedocument.*", "application/vnd.oasis.opendocument.*"),
    *("application/vnd.ms-*+xml", "application/vnd.ms-*.12"),
    *("application/vnd.google-earth.kmz", "application/vnd.sun.xml.*", "application/x-xpinstall"),
)

_COMPOUND = (  # the container of old office files, and of new ones with a password
    *("application/x-ole-storage", "application/cdfv2*", "application/encrypted", "application/msword"),
    *("application/vnd.ms-*", "application/vnd.visio", "application/x-msi"),
)

_MP4 = (
    *("video/mp4", "audio/mp4", "video/quicktime", "video/3gpp", "video/3gpp2", "audio/3gpp", "audio/3gpp2"),
    "audio/x-mp4a-latm",
)

_MATROSKA = ("video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska")

_OGG = ("audio/ogg", "video/ogg", "application/ogg", "audio/opus", "audio/x-opus", "audio/vorbis")

_HEIF = ("image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence", "image/avif", "image/avif-sequence")

_PROGRAMS = (
    *("application/x-executable", "application/x-pie-executable", "application/x-sharedlib", "application/x-object"),
    *("application/x-dosexec", "application/vnd.microsoft.portable-executable", "application/x-mach-binary"),
    *("application/x-msdownload", "application/x-msdos-program", "application/x-ms-dos-executable"),
    *("application/x-elf", "application/x-coredump", "application/x-ms-shortcut"),
    *("application/x-java-applet", "application/java-vm"),
)

_ACCEPTED: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    # claims, and the detections that each of them accepts; the first row that fits decides. OCTET_STREAM stands in the
    # rows of formats that have no signature, or one that libmagic does not know well.
    (("image/jpeg",), ("image/jpeg",)),
    (("image/png",), ("image/png",)),
    (("image/gif",), ("image/gif",)),
    (("image/webp",), ("image/webp",)),
    (("image/bmp", "image/x-bmp", "image/x-windows-bmp"), ("image/bmp",)),
    (("image/tiff",), ("image/tiff",)),
    (("image/vnd.microsoft.icon",), ("image/vnd.microsoft.icon", "image/png", "image/bmp")),
    (_HEIF, _HEIF),
    (("image/svg+xml",), (*_TEXT, "application/gzip")),
    (("video/mp4", "audio/mp4", "application/mp4", "audio/x-m4b", "audio/m4a", *_MP4), _MP4),
    (("audio/aac", "audio/x-aac", "audio/aacp"), ("audio/aac", "audio/x-hx-aac-*", "audio/mpeg", *_MP4, OCTET_STREAM)),
    (_MATROSKA, _MATROSKA),
    (_OGG, _OGG),
    (("audio/mpeg", "audio/mpeg3", "audio/x-mpeg"), ("audio/mpeg", "audio/x-hx-aac-*", "video/mpeg", OCTET_STREAM)),
    (("audio/wav",), ("audio/wav",)),
    (("audio/flac",), ("audio/flac", "audio/mpeg", "audio/ogg")),  # audio/mpeg: with an ID3 tag in front
    (("video/x-msvideo",), ("video/x-msvideo",)),
    (("video/x-ms-wmv", "video/x-ms-asf", "audio/x-ms-wma"), ("video/x-ms-asf",)),
    # Browsers claim this for TypeScript.
    (("video/mp2t", "video/vnd.dlna.mpeg-tts"), ("video/mp2t", "video/mpeg", *_TEXT, OCTET_STREAM)),
    (("video/mpeg",), ("video/mpeg", "video/mp2t", "audio/mpeg", OCTET_STREAM)),
    (("application/pdf",), ("application/pdf",)),
    (("application/postscript", "application/illustrator"), ("application/pdf", "image/x-eps", *_TEXT)),
    (("application/zip",), _ZIP),
    (
        ("application/msword", "application/vnd.ms-*", "application/vnd.visio", "application/x-msi"),
        # Web pages and tables under the name of a document; Windows with Excel claims this for CSV.
        (*_COMPOUND, *_ZIP, *_TEXT),
    ),
    (("application/vnd.openxmlformats-officedocument.*",), (*_ZIP, *_COMPOUND)),
    (("application/vnd.oasis.opendocument.*",), (*_ZIP, "text/xml")),
    (("application/epub+zip", "application/java-archive", "application/vnd.android.package-archive"), _ZIP),
    (("application/gzip",), ("application/gzip",)),
    (
        ("application/x-tar", "application/x-gtar", "application/x-compressed*", "application/x-tgz"),
        ("application/x-tar", "application/gzip", "application/x-bzip2", "application/x-xz", "application/zstd"),
    ),
    (("application/x-7z-compressed",), ("application/x-7z-compressed",)),
    (("application/vnd.rar",), ("application/vnd.rar",)),
    (("application/x-bzip2", "application/x-bzip"), ("application/x-bzip2",)),
    (("application/x-xz",), ("application/x-xz",)),
    (("application/zstd",), ("application/zstd",)),
    (_PROGRAMS, (*_PROGRAMS, "text/x-msdos-batch", OCTET_STREAM)),
    (
        (
            *("text/*", "message/*", "*+xml", "*+json", "application/json", "application/x-ndjson"),
            *("application/ecmascript", "application/typescript", "application/sql", "application/yaml"),
            *("application/x-yaml", "application/toml", "application/x-sh", "application/x-csh", "application/x-php"),
            *("application/x-httpd-php", "application/x-python*", "application/x-perl", "application/x-ruby"),
            *("application/x-tex", "application/x-latex", "application/x-subrip", "application/mbox"),
            *("application/pgp-*", "application/x-pem-file", "application/vnd.apple.mpegurl", "audio/x-mpegurl"),
            *("image/x-portable-*", "image/x-xbitmap", "image/x-xpixmap"),
        ),
        # OCTET_STREAM: a single letter, a control character somewhere, UTF-16 without a mark.
        (*_TEXT, "image/x-xpm*", OCTET_STREAM),
    ),
)

_UNKNOWN_TO_LIBMAGIC = (
    # Files with a brand that libmagic has not heard of, or a filler before the box that it looks for.
    (re.compile(rb"\0[\s\S]{3}(?:ftyp|styp)"), "video/mp4"),
    (re.compile(rb"\0[\s\S]{3}(?:moov|mdat|wide|free|skip|pnot)"), "video/quicktime"),
    (re.compile(rb"\x1a\x45\xdf\xa3"), "video/x-matroska"),
    (re.compile(rb"PK(?:\x03\x04|\x05\x06)"), "application/zip"),
)

_ACTIVE = frozenset({"text/html", "application/xhtml+xml", "image/svg+xml", "text/xml"})
"""What a browser may run scripts of."""


def canonical(kind: str) -> str:
    """A media type without parameters, in lower case, under the one of its names that is used here."""
    kind = media_type(kind)
    return ALIASES.get(kind, kind)


def refined(detected: str, head: bytes) -> str:
    """libmagic's answer, or a better one where it has none but the first bytes of the file are known well enough."""
    if canonical(detected) == OCTET_STREAM:
        for signature, kind in _UNKNOWN_TO_LIBMAGIC:
            if signature.match(head):
                return kind
    return detected


def judge(claim: str, detected: str, allowed_types: Collection[str] = ()) -> str | None:
    """Why a file must not be given out, as the end of a sentence; None for a file that is what it is said to be.

    A claim of nothing, or of `application/octet-stream`, contradicts no detection. With a list of allowed types the
    detection has to be on it, or be one that an allowed claim accepts. An empty file is of every type.
    """
    kind = canonical(detected)
    if kind == EMPTY:
        return None
    claimed = canonical(claim)
    if not accepts(claimed, kind):
        return f"the file is called {claimed[:100]} and is {kind}"
    allowed = {canonical(each) for each in allowed_types}
    if not allowed or kind in allowed or (_says_something(claimed) and claimed in allowed):
        return None
    return f"the file is {kind}, which is not allowed"


def accepts(claim: str, detected: str) -> bool:
    """Whether an honest file of the claimed type may be detected as this.

    Of a claim that the table does not know, nothing is known but that it is not a program.
    """
    claim, detected = canonical(claim), canonical(detected)
    if not _says_something(claim) or claim == detected:
        return True
    for claims, detections in _TABLE:
        if claims.fullmatch(claim):
            return detections.fullmatch(detected) is not None
    return not _PROGRAM.fullmatch(detected)


def served_type(claim: str, detected: str | None) -> str:
    """What to send a file as: the claim where it can be true, since it says more than the detection, else that.

    A page or a drawing with scripts does not become something that a browser shows in place by being called so.
    """
    if detected is None or canonical(detected) == EMPTY:
        return claim
    if not _says_something(canonical(claim)) or not accepts(claim, detected):
        return detected
    is_disguised = canonical(detected) in _ACTIVE and media_type(claim) in INLINE_TYPES
    return detected if is_disguised else claim


def _says_something(claim: str) -> bool:
    return claim not in ("", OCTET_STREAM)


def _any_of(kinds: Collection[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(canonical(kind)).replace(r"\*", ".*") for kind in kinds))


_TABLE = tuple((_any_of(claims), _any_of(detections)) for claims, detections in _ACCEPTED)
_PROGRAM = _any_of(_PROGRAMS)
