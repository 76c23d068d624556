"""Concatenation of files without copying them through user space, where the kernel can do that."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from tusd_py.core import errors
from tusd_py.core.errors import UploadError

STEP = 64 * 1024 * 1024
"""Bytes per call of copy_file_range: how often a stop is looked for."""

_FALLBACK_STEP = 1024 * 1024
_NO_COPY_FILE_RANGE = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EIO}


def append_file(target: int, source: Path, size: int, stop_requested: Callable[[], bool]) -> None:
    """Copy the first `size` bytes of a file to the end of what `target` has (its file position).

    Raises 400 ERR_UPLOAD_NOT_FINISHED if the file has fewer by now, and what `stop_requested` stands for (503) when
    it says so.
    """
    descriptor = os.open(source, os.O_RDONLY)
    try:
        copy = _copy_in_kernel
        rest = size
        while rest:
            if stop_requested():
                raise UploadError(errors.SERVER_SHUTDOWN)
            try:
                copied = copy(descriptor, target, rest)
            except OSError as error:
                if copy is _copy_in_kernel and error.errno in _NO_COPY_FILE_RANGE:
                    copy = _copy_through_memory
                    continue
                raise
            if not copied:
                raise UploadError(errors.UPLOAD_NOT_FINISHED, missing=rest)
            rest -= copied
    finally:
        os.close(descriptor)


def _copy_in_kernel(source: int, target: int, size: int) -> int:
    return os.copy_file_range(source, target, min(size, STEP))


def _copy_through_memory(source: int, target: int, size: int) -> int:
    """Both ways move the two file positions, so that one may go on where the other stopped."""
    view = memoryview(os.read(source, min(size, _FALLBACK_STEP)))
    count = len(view)
    while view:
        view = view[os.write(target, view) :]
    return count
