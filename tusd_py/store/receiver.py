"""Receiving: the only code that writes an upload's bytes."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable

from tusd_py.core import errors
from tusd_py.core.body import Buffer
from tusd_py.core.digests import Digest
from tusd_py.core.errors import UploadError
from tusd_py.store.system_errors import system_errors_translated

WRITEBACK_EVERY = 16 * 1024 * 1024
"""Bytes after which the kernel is asked to start writing to the disk, so that the last sync is short."""

_NO_SPLICE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
"""How a file system, or a sandbox, says that it takes nothing from a pipe."""

_SYNC_FILE_RANGE_WRITE = 2
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)


class Receiver:
    """Writes the bytes of one body at explicit offsets, from `start`, at most `limit` of them. Blocking.

    `position` is the offset after the last byte written. With `hold_back` (a body of unknown length) the byte that
    would reach the limit is written by `finish()` only, so that a body that proves too long never completes an
    upload. With a `digest` everything written goes through it. After a crash the bytes up to the file's size are
    there, as written.
    """

    def __init__(
        self,
        descriptor: int,
        start: int,
        limit: int,
        *,
        hold_back: bool,
        digest: Digest | None = None,
        check_space: Callable[[], None] | None = None,
        writeback_every: int = WRITEBACK_EVERY,
    ) -> None:
        self.position = start
        self.start = start
        self.limit = limit
        self._descriptor = descriptor
        self._room = limit
        self._hold_back = hold_back
        self._held = b""
        self._digest = digest
        self._check_space = check_space
        self._writeback_every = writeback_every
        self._writeback_from = start

    def write(self, data: Buffer) -> None:
        """Write a batch. Raises 413 for bytes beyond the limit (those up to it are kept) and 507 for a full disk."""
        accepted = memoryview(data)[: self._room]
        is_over = len(data) > len(accepted)
        if self._hold_back and accepted and len(accepted) == self._room:
            self._held, accepted = bytes(accepted[-1:]), accepted[:-1]
            self._room = 0
        else:
            self._room -= len(accepted)
        self._put(accepted)
        if is_over:
            raise UploadError(errors.UPLOAD_SIZE_EXCEEDED)

    def can_take_unseen(self, count: int) -> bool:
        """Whether so many bytes may pass through a pipe: no digest is wanted of them, and there is room for all."""
        return self._digest is None and not self._hold_back and count <= self._room

    def write_from_pipe(self, pipe: int, count: int) -> None:
        """Write `count` bytes that are in a pipe, without a copy. Raises 507 for a full disk."""
        with system_errors_translated():
            while count:
                try:
                    moved = os.splice(pipe, self._descriptor, count, offset_dst=self.position)
                except OSError as error:
                    if error.errno not in _NO_SPLICE:
                        raise
                    rest = os.read(pipe, count)
                    self.write(rest)
                    count -= len(rest)
                else:
                    self._room -= moved
                    self.position += moved
                    count -= moved
            self._go_on_writeback()

    def finish(self) -> None:
        """The whole body was seen: write the byte held back."""
        self._put(memoryview(self._held))
        self._held = b""

    def digest(self) -> bytes:
        """The digest of everything written so far; empty where none was asked for."""
        return b"" if self._digest is None else self._digest.digest()

    def _put(self, view: memoryview) -> None:
        with system_errors_translated():
            while view:
                written = os.pwrite(self._descriptor, view, self.position)
                if self._digest is not None:
                    self._digest.update(view[:written])
                self.position += written
                view = view[written:]
            self._go_on_writeback()

    def _go_on_writeback(self) -> None:
        if self.position - self._writeback_from < self._writeback_every:
            return
        if self._check_space is not None:
            self._check_space()
        start_writeback(self._descriptor, self._writeback_from, self.position - self._writeback_from)
        self._writeback_from = self.position


def start_writeback(descriptor: int, start: int, count: int) -> None:
    """Ask the kernel to start writing these bytes of a file to the disk, without waiting for it."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, ctypes.c_int64(start), ctypes.c_int64(count), _SYNC_FILE_RANGE_WRITE)
