"""Steps that a finished file goes through: each looks at the bytes and returns the record with what it found.

A step may be run again on the same file, after a crash or because somebody asks for it.
"""

from __future__ import annotations

from typing import Protocol

from tusd_py.core.records import FileRecord


class TryLater(Exception):
    """The step could not be done now, for a reason that may pass; the file waits. The text goes to the log."""


class Step(Protocol):
    """One step; `name` stands in metrics and in the log."""

    name: str

    async def run(self, record: FileRecord) -> FileRecord:
        """The record with what was found.

        A status of `quarantined` or `failed`, with the reason in `scan_result`, ends the file's way. Raises `TryLater`.
        The bytes at `record.path` are not changed.
        """
