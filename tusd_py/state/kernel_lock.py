"""The kernel's lock on a data file: it holds between all processes of a host, and ends with a killed one."""

from __future__ import annotations

import fcntl
import os
import struct
import threading

_FLOCK = "hhqqi4x"
"""`struct flock`: type, whence, start, length, process."""

_LARGE = 16 * 1024 * 1024
"""Bytes of a removed file from which a thread is worth it: a GiB takes a fifth of a second to be freed."""


class KernelLock:
    """A lock on the file that has this name, alone or shared, or on one byte of it (`slot`).

    What a worker thread has opened is never lost to a cancellation.
    """

    def __init__(self, path: str, *, shared: bool = False, slot: int | None = None) -> None:
        self.descriptor = -1
        self.path = path
        self._operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        self._slot = slot

    def take(self) -> bool:
        """Whether the lock is ours now; not while somebody else has it. Raises OSError."""
        while True:
            self.descriptor = os.open(self.path, os.O_RDWR)
            try:
                self._lock()
                if os.path.samestat(os.fstat(self.descriptor), os.stat(self.path)):
                    return True
                self.release()
            except BlockingIOError:
                self.release()
                return False

    def _lock(self) -> None:
        if self._slot is None:
            fcntl.flock(self.descriptor, self._operation)
        else:
            # Belongs to the open file, as a flock does, and not to the process.
            region = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, self._slot, 1, 0)
            fcntl.fcntl(self.descriptor, fcntl.F_OFD_SETLK, region)

    def release(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor < 0:
            return
        if _frees_much(descriptor):  # nobody else can come to its lock any more
            threading.Thread(target=os.close, args=(descriptor,), name="freeing").start()
        else:
            os.close(descriptor)


def _frees_much(descriptor: int) -> bool:
    """Whether a file has been removed, so that its space is freed as it is closed, and that is much."""
    try:
        status = os.fstat(descriptor)
    except OSError:  # a file on another host may be gone in its own way
        return False
    return not status.st_nlink and status.st_size >= _LARGE
