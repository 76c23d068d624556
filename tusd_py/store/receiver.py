"""Receiving: the only code that writes an upload's bytes."""

from __future__ import annotations

import ctypes
import os
import select
import threading
from collections.abc import Callable

from tusd_py.core import errors
from tusd_py.core.body import Body, Buffer, Loan
from tusd_py.core.digests import Digest
from tusd_py.core.errors import UploadError
from tusd_py.store.system_errors import system_errors_translated

WRITEBACK_EVERY = 16 * 1024 * 1024
"""Bytes after which the kernel is asked to start writing to the disk, so that the last sync is short."""

BUFFER_SIZE = 1024 * 1024
TURN = 16 * 1024 * 1024
"""Bytes that one connection may move before its thread serves another."""
_FLOWING = BUFFER_SIZE
_POLL_MILLISECONDS = 20

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
            if self.position - self._writeback_from >= WRITEBACK_EVERY:
                self._start_writeback()

    def _start_writeback(self) -> None:
        if self._check_space is not None:
            self._check_space()
        start_writeback(self._descriptor, self._writeback_from, self.position - self._writeback_from)
        self._writeback_from = self.position


def start_writeback(descriptor: int, start: int, count: int) -> None:
    """Ask the kernel to start writing these bytes of a file to the disk, without waiting for it."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, ctypes.c_int64(start), ctypes.c_int64(count), _SYNC_FILE_RANGE_WRITE)


class _ThreadBuffer(threading.local):
    """One buffer per worker thread, made when the thread first drains a socket: memory is bounded by the threads."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(BUFFER_SIZE))


_buffer = _ThreadBuffer()


def receive(receiver: Receiver, body: Body, loan: Loan) -> None:
    """Move bytes from a lent socket into the upload, until the body ends, the socket runs dry or the turn is over.

    A socket whose bytes are flowing is waited for a moment here, in the thread; a slow one at once on the event loop.
    What the socket shows as an end before the body's is noted on the body. Raises what `Receiver.write` raises.
    """
    if loan.buffered:
        buffered, loan.buffered = loan.buffered, b""
        receiver.write(buffered)
    moved = 0
    while loan.remaining and moved < TURN and not body.stop_requested:
        window = _buffer.view[: min(loan.remaining, BUFFER_SIZE)]
        try:
            count = os.readv(loan.fd, [window])
        except BlockingIOError:
            if moved < _FLOWING or not _has_bytes_soon(loan.fd):
                return
            continue
        except OSError:
            body.fail(UploadError(errors.CONNECTION_RESET))
            return
        if not count:
            body.fail(UploadError(errors.UNEXPECTED_EOF, missing=loan.remaining))
            return
        loan.remaining -= count
        moved += count
        receiver.write(window[:count])


def _has_bytes_soon(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(_POLL_MILLISECONDS))
