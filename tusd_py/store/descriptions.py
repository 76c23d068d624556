"""The `.info` files of uploads: how they are found, read, and written down."""

from __future__ import annotations

import os
import stat
import threading
import time
from contextlib import suppress
from dataclasses import replace

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.info import CorruptInfo, decode_info, encode_info, header_text
from tusd_py.core.uploads import Upload
from tusd_py.store.data_files import is_there
from tusd_py.store.layout import Layout
from tusd_py.store.workspace import Entry, Workspace, sync_directory

_REMEMBERED = 2_000
_LARGEST_REMEMBERED = 4096
"""Descriptions that are remembered, and the bytes of the largest of them: a few megabytes in all."""

_Identity = tuple[int, int, int, int]


class Descriptions:
    """The `.info` files of a layout; `durable` is whether they are on the disk before they have a name.

    What was read, or made, is remembered for as long as the file is the same, by its inode, times and size: it is
    replaced as a whole whenever it changes, and who writes it in place can set the time of that back, but not that of
    the inode.
    """

    def __init__(self, layout: Layout, workspace: Workspace, *, durable: bool) -> None:
        self._layout = layout
        self._workspace = workspace
        self._durable = durable
        self._known: dict[str, tuple[_Identity, Upload]] = {}
        self._lock = threading.Lock()

    def is_there(self, upload_id: str) -> bool:
        return is_there(self._layout.info_path(upload_id))

    def read(self, upload_id: str) -> Upload:
        """The upload as it is described, changed when that was written. Raises 500 for what is no description."""
        path = self._layout.info_path(upload_id)
        identity, known = self._known.get(upload_id, (None, None))
        if known is not None and identity == _identity(os.stat(path)):
            return known
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for its other end
        try:
            status = os.fstat(descriptor)
            is_readable = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)  # a directory says what it is
            text = _read(descriptor, status.st_size) if is_readable else b""
        finally:
            os.close(descriptor)
        try:
            upload = decode_info(text, upload_id)
        except CorruptInfo as error:
            raise UploadError(errors.INTERNAL_SERVER_ERROR, corrupt_info=str(error)) from error
        upload = replace(upload, path=upload.path or self._layout.place + upload_id, changed_at=status.st_mtime)
        self._remember(upload, status)
        return upload

    def write(self, entry: Entry, upload: Upload, path: str) -> Upload:
        """Describe an upload, whose data is at `path`, in a file that is still to be published."""
        now = round(time.time(), 3)
        described = replace(
            upload,
            path=path,
            created_at=upload.created_at or now,
            changed_at=now,
            metadata_text=header_text(upload.metadata_text),
            concat_text=header_text(upload.concat_text),
        )
        entry.write(encode_info(described, self._layout.info_path(upload.id)), durable=False)
        return described

    def write_durably(self, entry: Entry, upload: Upload, path: str) -> Upload:
        """The same, on the disk when this returns if that is wanted."""
        described = self.write(entry, upload, path)
        if self._durable:
            os.fsync(entry.descriptor)
        return described

    def rewrite(self, upload: Upload, *, name_durable: bool) -> None:
        """Replace a description."""
        path = self._layout.info_path(upload.id)
        with self._workspace.entry(upload.id) as entry:
            self.write_durably(entry, upload, upload.path)
            entry.replace(path)
            if name_durable:
                sync_directory(os.path.dirname(path))

    def remove(self, upload_id: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._layout.info_path(upload_id))

    def remember(self, described: Upload, descriptor: int) -> None:
        """What was written and published need not be read; `descriptor` is that of the file."""
        self._remember(described, os.fstat(descriptor))

    def _remember(self, upload: Upload, status: os.stat_result) -> None:
        if status.st_size > _LARGEST_REMEMBERED:
            return
        with self._lock:
            self._known.pop(upload.id, None)
            self._known[upload.id] = (_identity(status), upload)
            if len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]


def _identity(status: os.stat_result) -> _Identity:
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _read(descriptor: int, size: int) -> bytes:
    """A whole file, which is not written to any more."""
    text = os.read(descriptor, size + 1)
    while len(text) < size and (more := os.read(descriptor, size)):
        text += more
    return text
