"""The border where errors of the operating system become answers for a client."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from tusd_py.core import errors
from tusd_py.core.errors import Problem, UploadError

PROBLEMS: dict[int, Problem] = {
    **dict.fromkeys(
        (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP), errors.UPLOAD_NOT_FOUND
    ),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), errors.DISK_FULL),
    errno.EEXIST: errors.UPLOAD_EXISTS,
}
"""What a client is told, by error number; everything else is trouble of ours that a client may retry (503)."""


def problem_of(error: OSError) -> Problem:
    return PROBLEMS.get(error.errno or 0, errors.STORE_UNAVAILABLE)


@contextmanager
def system_errors_translated(missing: Problem = errors.UPLOAD_NOT_FOUND) -> Iterator[None]:
    """Raise `UploadError` instead; `missing` is what a file that is not there means here."""
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "unknown")
        problem = missing if error.errno == errno.ENOENT else problem_of(error)
        raise UploadError(problem, system_error=name) from error
