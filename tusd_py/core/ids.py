"""Which upload ids may be looked up on disk, and what the ids of files look like."""

from __future__ import annotations

import re

RESERVED_ENDINGS = (".info", ".lock", ".stop")
LONGEST = 1024
LONGEST_NAME = 250
"""Of what a segment of an id may have, so that the file system takes it as a name, with an ending."""

_FILE_ID = re.compile(r"f_[0-9a-f]{32}")
_FILE_PATH = re.compile(r"(f_[0-9a-f]{32})(?:/thumbnail/([0-9]{1,5}))?")


def is_file_id(text: str) -> bool:
    """Whether this has the form of a file id: `f_` and 128 bits in lower-case hex. It gives no access by itself."""
    return _FILE_ID.fullmatch(text) is not None


def split_file_path(path: str) -> tuple[str, str]:
    """The file id, and the size where it is a thumbnail that is named (`<file id>/thumbnail/<size>`); else empty."""
    match = _FILE_PATH.fullmatch(path)
    return (match[1], match[2] or "") if match else ("", "")


def is_upload_id(upload_id: str) -> bool:
    """Whether this may name an upload: a relative path that stays below the upload directory and meets no file of ours.

    Nothing at or below a file id does, since those addresses are downloads. Everything else is answered as an upload
    that does not exist, without looking at the disk.
    """
    segments = upload_id.split("/")
    return (
        0 < len(upload_id) <= LONGEST
        and not upload_id.startswith(".")
        and not upload_id.endswith(RESERVED_ENDINGS)
        and all(segment not in ("", ".", "..") for segment in segments)
        and not is_file_id(segments[0])
        and upload_id.isprintable()
    )
