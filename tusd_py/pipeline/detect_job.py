"""The job of the child that detects: what libmagic makes of the first bytes of a file. See `child_main`."""

from __future__ import annotations

import os
from typing import Any

import magic

_DETECTOR = magic.Magic(mime=True)


def job(descriptor: int, *, head: int) -> tuple[dict[str, Any], bytes]:
    """The media type that the first `head` bytes look like."""
    try:
        return {"type": _DETECTOR.from_buffer(os.pread(descriptor, head, 0))}, b""
    except magic.MagicException as error:
        # libmagic gives up on files that are deeper than its limits: it does not know them.
        return {"type": "application/octet-stream", "reason": str(error)}, b""
