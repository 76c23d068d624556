"""The border where errors of the operating system become answers for a client."""

from __future__ import annotations

import errno

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


class system_errors_translated:
    """Raise `UploadError` instead; `missing` is what a file that is not there means here."""

    def __init__(self, missing: Problem = errors.UPLOAD_NOT_FOUND) -> None:
        self._missing = missing

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            name = errno.errorcode.get(error.errno or 0, "unknown")
            problem = self._missing if error.errno == errno.ENOENT else problem_of(error)
            raise UploadError(problem, system_error=name) from error
