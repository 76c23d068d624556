"""Which upload ids may be looked up on disk."""

from __future__ import annotations

RESERVED_ENDINGS = (".info", ".lock", ".stop")
LONGEST = 1024


def is_upload_id(upload_id: str) -> bool:
    """Whether this may name an upload: a relative path that stays below the upload directory and meets no file of ours.

    Everything else is answered as an upload that does not exist, without looking at the disk.
    """
    segments = upload_id.split("/")
    return (
        0 < len(upload_id) <= LONGEST
        and not upload_id.startswith(".")
        and not upload_id.endswith(RESERVED_ENDINGS)
        and all(segment not in ("", ".", "..") for segment in segments)
        and upload_id.isprintable()
    )
