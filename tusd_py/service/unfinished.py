"""How many uploads are unfinished, for `-max-unfinished`."""

from __future__ import annotations

from tusd_py.core import errors
from tusd_py.core.errors import UploadError


class Unfinished:
    """A count with a limit (0: none).

    It is exact within a process and set right by each sweep where there are several.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._count = 0

    def check(self) -> None:
        """Raises 503 where one more would be too many."""
        if self.limit and self._count >= self.limit:
            raise UploadError(errors.TOO_MANY_UPLOADS, limit=self.limit)

    def add(self) -> None:
        self._count += 1

    def remove(self) -> None:
        self._count = max(0, self._count - 1)

    def recount(self, count: int) -> None:
        self._count = count
