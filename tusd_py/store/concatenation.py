"""Concatenation of files without copying them through user space, where the kernel can do that."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from tusd_py.core import errors
from tusd_py.core.errors import UploadError

_STEP = 64 * 1024 * 1024
"""Bytes per call of copy_file_range: how often a stop is looked for."""

_SMALL_STEP = 1024 * 1024
_REFUSALS = {
    *(errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EIO),
    errno.EBADF,  # copy_file_range's word for a file that is open for appending
}


def append_file(target: int, source: Path, size: int, stop_requested: Callable[[], bool]) -> None:
    """Copy the first `size` bytes of a file to the end of what `target` has (its file position).

    Raises 400 ERR_UPLOAD_NOT_FINISHED if the file has fewer by now, and what `stop_requested` stands for (503) when
    it says so.
    """
    descriptor = os.open(source, os.O_RDONLY)
    try:
        ways = iter(_WAYS)
        copy = next(ways)
        rest = size
        while rest:
            if stop_requested():
                raise UploadError(errors.SERVER_SHUTDOWN)
            try:
                copied = copy(descriptor, target, rest)
            except OSError as error:
                another = next(ways, None) if error.errno in _REFUSALS else None
                if another is None:
                    raise
                copy = another
                continue
            if not copied:
                raise UploadError(errors.UPLOAD_NOT_FINISHED, missing=rest)
            rest -= copied
    finally:
        os.close(descriptor)


def _copy_range(source: int, target: int, size: int) -> int:
    """Within one file system; one that can (XFS, Btrfs) lets both files share whole blocks, and copies nothing."""
    return os.copy_file_range(source, target, min(size, _STEP))


def _copy_across(source: int, target: int, size: int) -> int:
    """Between file systems, from page cache to page cache."""
    return os.sendfile(target, source, None, min(size, _SMALL_STEP))


def _copy_through_memory(source: int, target: int, size: int) -> int:
    view = memoryview(os.read(source, min(size, _SMALL_STEP)))
    count = len(view)
    while view:
        view = view[os.write(target, view) :]
    return count


_WAYS = (_copy_range, _copy_across, _copy_through_memory)
"""From the cheapest on; all of them move the two file positions, so that one goes on where another stopped."""
