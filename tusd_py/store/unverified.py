"""Marks of bytes that do not count yet: the body of a checksummed PATCH, until its checksum is known to be right.

A mark holds the offset from before that body and is durable before the body's first byte. Every reader caps the
offset at it; only the holder of the upload's write lock cuts the file back to it. A mark without the newline at its
end was torn, so that no byte of the body followed it.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from tusd_py.core.headers import LARGEST
from tusd_py.store.workspace import flat_name, sync_directory, write_all

_LONGEST = 32


class UnverifiedMarks:
    """The marks in `directory`, by upload; with `durable` they outlive the loss of power."""

    def __init__(self, directory: Path, *, durable: bool) -> None:
        self._directory = directory
        self._place = os.path.join(directory, "")
        self._durable = durable

    def offset(self, upload_id: str) -> int | None:
        """The offset that a reader must not go beyond, at which a torn mark sets no limit; None without a mark."""
        try:
            descriptor = os.open(self._path(upload_id), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            text = os.read(descriptor, _LONGEST)
        finally:
            os.close(descriptor)
        return int(text) if text.endswith(b"\n") and text[:-1].isdigit() else LARGEST

    def set(self, upload_id: str, offset: int) -> None:
        descriptor = os.open(self._path(upload_id), os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        try:
            write_all(descriptor, b"%d\n" % offset)
            if self._durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._sync()

    def remove(self, upload_id: str) -> None:
        """From now on the file's bytes count; durable when this returns."""
        with suppress(FileNotFoundError):
            os.unlink(self._path(upload_id))
            self._sync()

    def _path(self, upload_id: str) -> str:
        return self._place + (flat_name(upload_id) or hashlib.sha256(upload_id.encode()).hexdigest())

    def _sync(self) -> None:
        if self._durable:
            sync_directory(self._directory)
