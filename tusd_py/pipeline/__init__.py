"""Steps that a finished file goes through: each looks at the bytes and returns the record with what it found.

A step may be run again on the same file, after a crash or because somebody asks for it.
"""

from __future__ import annotations

from typing import Protocol

from tusd_py.core.records import FileRecord


class TryLater(Exception):
    """The step could not be done now, for a reason that may pass; the file waits. The text goes to the log.

    With a `delay` (seconds) nothing is wrong with this file: what the step needs is away, and it is to be run again
    after that time, however often. Without one the trouble may be the file's own: more and more time between tries,
    and at some point an end.
    """

    def __init__(self, reason: str, delay: float | None = None) -> None:
        super().__init__(reason)
        self.delay = delay


class Step(Protocol):
    """One step; `name` stands in metrics and in the log."""

    name: str

    async def run(self, record: FileRecord) -> FileRecord:
        """The record with what was found.

        A status of `quarantined` or `failed`, with the reason in `scan_result`, ends the file's way. Raises `TryLater`.
        The bytes at `record.path` are not changed.
        """
