"""Files that were ready before there was a scanner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from itertools import islice

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.records import FileRecord, Status
from tusd_py.core.threads import InThread
from tusd_py.service.finishing import Finishing
from tusd_py.service.settling import edge_headers
from tusd_py.store.records import RecordStore

log = logging.getLogger("tusd_py")

INTERVAL = 3600.0
"""Seconds between two looks for such files; those that a server without a scanner beside this one makes, say."""

_BATCH = 256
_LONGEST_WAIT = 60.0
"""Seconds until the next file has its turn, whatever has become of this one."""


class CatchingUp:
    """Takes such files from the edge as soon as the server runs, and then has one after the other scanned.

    So they are never much of what new files have to wait for. One that somebody asks for has its turn at once.
    """

    def __init__(self, records: RecordStore, finishing: Finishing, in_thread: InThread) -> None:
        self._records = records
        self._finishing = finishing
        self._in_thread = in_thread

    async def run(self) -> None:
        """Work for ever."""
        while True:
            async for _withdrawn in self._unscanned(self._withdraw):
                pass
            async for record in self._unscanned(lambda record: record):
                await self._finishing.add_again(record)
                await self._finishing.wait(record.id, _LONGEST_WAIT)
            await asyncio.sleep(INTERVAL)

    async def _unscanned(self, look: Callable[[FileRecord], FileRecord]) -> AsyncIterator[FileRecord]:
        """The files, after a look at each of them in a thread."""
        ids = self._records.settled_ids()

        def next_batch() -> list[str]:
            return list(islice(ids, _BATCH))

        def look_at(file_ids: list[str]) -> list[FileRecord]:
            return [look(record) for file_id in file_ids if (record := self._load(file_id)) is not None]

        try:
            while batch := await self._in_thread(next_batch):
                for record in await self._in_thread(look_at, batch):
                    yield record
        except UploadError as error:
            log.warning(LogEvent("SweepError", error=str(error)))

    def _load(self, file_id: str) -> FileRecord | None:
        try:
            record = self._records.load(file_id)
        except UploadError as error:
            if error.problem is not errors.FILE_NOT_FOUND:
                log.warning(LogEvent("SweepError", file=file_id, error=str(error)))
            return None
        return record if record.status is Status.READY and record.scan_result is None else None

    def _withdraw(self, record: FileRecord) -> FileRecord:
        self._records.withdraw(record.id)
        if (now := self._load(record.id)) is None:  # somebody has had it scanned in the meantime
            settled = self._records.load(record.id)
            if settled.status is Status.READY:
                self._records.publish(settled, edge_headers(settled))
        return now or record
