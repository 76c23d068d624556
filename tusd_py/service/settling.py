"""What decides how a finished file ends: the steps, where its bytes go, and who is told."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from tusd_py.core import disposition
from tusd_py.core.log_event import LogEvent
from tusd_py.core.records import FileRecord, Status, settled
from tusd_py.core.threads import InThread
from tusd_py.pipeline import Step, TryLater
from tusd_py.service.metrics import Metrics
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.quarantine import Quarantine
from tusd_py.store.records import RecordStore

log = logging.getLogger("tusd_py")


async def tell_nobody(_record: FileRecord) -> None: ...


@dataclass(frozen=True, slots=True)
class Steps:
    """What files go through that came by tus, and in chunks."""

    tus: Sequence[Step] = ()
    chunks: Sequence[Step] = ()

    def of(self, record: FileRecord) -> Sequence[Step]:
        return self.tus if record.chunk_count is None else self.chunks


class Settling:
    """Brings a pending file to its end.

    Everything here may be done again after a crash: the bytes go where they belong, and who is to `tell` hears of it,
    before the record says so.
    """

    def __init__(
        self,
        store: FilesystemStore,
        records: RecordStore,
        quarantine: Quarantine,
        metrics: Metrics,
        in_thread: InThread,
        *,
        steps: Steps = Steps(),
        tell: Callable[[FileRecord], Awaitable[None]] = tell_nobody,
    ) -> None:
        self._store = store
        self._records = records
        self._quarantine = quarantine
        self._metrics = metrics
        self._in_thread = in_thread
        self._steps = steps
        self._tell = tell

    async def settle(self, record: FileRecord) -> FileRecord:
        """Raises `TryLater` for trouble that may pass; the record is pending still."""
        return await self._end(await self._judged(record))

    async def fail(self, record: FileRecord, reason: str) -> FileRecord:
        """Give up on a file; its bytes stay, and nobody is served them."""
        return await self._end(settled(record, Status.FAILED, reason))

    async def _judged(self, record: FileRecord) -> FileRecord:
        if await self._in_thread(self._store.has_bytes, record.path, record.size):
            return await self._through_steps(record)
        if record.status is Status.QUARANTINED or await self._in_thread(self._quarantine.holds, record.id):
            return settled(record, Status.QUARANTINED)  # by a server that was killed before it could say so
        return settled(record, Status.GONE)

    async def _end(self, record: FileRecord) -> FileRecord:
        if record.status is Status.READY:
            await self._in_thread(self._records.publish, record, edge_headers(record))
        else:
            await self._in_thread(self._records.withdraw, record.id)
        if record.status is Status.QUARANTINED:
            await self._in_thread(self._records.note, record)
            await self._in_thread(self._quarantine.take, record)
        await self._tell(record)
        if record.status is Status.READY:
            record = replace(record, request=None)  # the hook has been told, once and for all
        await self._in_thread(self._records.settle, record)
        log.info(LogEvent("FileSettled", file=record.id, status=record.status.value, result=record.scan_result))
        return record

    async def _through_steps(self, record: FileRecord) -> FileRecord:
        """A human's release stands above what a step would find."""
        if record.released_at is not None:
            return settled(record, Status.READY)
        for step in self._steps.of(record):
            began, outcome = time.monotonic(), "trouble"
            try:
                record = await step.run(record)
                outcome = record.status.value if record.is_settled else "passed"
            except TryLater:
                outcome = "later"
                raise
            finally:
                self._metrics.observe_step(step.name, outcome, time.monotonic() - began)
            if record.is_settled:
                return record
        return settled(record, Status.READY)


def edge_headers(record: FileRecord) -> dict[str, str]:
    """What the bytes are to be served with, by us and by an edge."""
    metadata = {"filetype": record.type, "filename": record.file_name}
    return {
        "type": disposition.content_type(metadata),
        "disposition": disposition.content_disposition(metadata),
    }
