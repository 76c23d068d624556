"""How many uploads are unfinished, for `-max-unfinished`."""

from __future__ import annotations

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.state.board import Board, Column


class Unfinished:
    """A count with a limit (0: none).

    It is exact within the processes that share a `board`, or within this one, and set right by each sweep where others
    work on the directory as well.
    """

    def __init__(self, limit: int, board: Board | None = None) -> None:
        self.limit = limit
        self._board = board
        self._own = 0 if board is None else board.of(board.row, Column.UNFINISHED)
        self._own_changes = 0 if board is None else board.of(board.row, Column.CHANGES)

    def check(self) -> None:
        """Raises 503 where one more would be too many."""
        if self.limit and self.count >= self.limit:
            raise UploadError(errors.TOO_MANY_UPLOADS, limit=self.limit)

    def add(self) -> None:
        self._note_change()
        self._set(self._own + 1)

    def remove(self) -> None:
        """One less; not where one ends that was begun before the first look at the directory."""
        self._note_change()
        if self.count:
            self._set(self._own - 1)

    @property
    def is_to_recount(self) -> bool:
        """Whether this process is the one that sets the count right: several would do it twice."""
        return bool(self.limit) and (self._board is None or self._board.workers[:1] == [self._board.row])

    def recount(self, count: int) -> None:
        """There are so many, as a look at the directory has shown."""
        self._set(self._own + count - self.count)

    @property
    def count(self) -> int:
        """As far as is known."""
        return max(0, self._own if self._board is None else self._board.total(Column.UNFINISHED))

    @property
    def changes(self) -> int:
        """How many have begun or ended: a look at the directory is true of one moment if this stays the same."""
        return self._own_changes if self._board is None else self._board.total(Column.CHANGES)

    def _note_change(self) -> None:
        self._own_changes += 1
        if self._board is not None:
            self._board.set(Column.CHANGES, self._own_changes)

    def _set(self, own: int) -> None:
        self._own = own
        if self._board is not None:
            self._board.set(Column.UNFINISHED, own)
