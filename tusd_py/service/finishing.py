"""What happens to a file after its last byte: durable, in the background, never in the way of the answer.

A record in `pending/` is the only thing that must not be lost; the queue here is an index of it, made again from the
directory at every start and every minute.
"""

from __future__ import annotations

import asyncio
import logging
import time

from tusd_py.core import disposition
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.records import FileRecord, Status, new_file_id, record_of, settled
from tusd_py.core.threads import InThread
from tusd_py.core.uploads import Upload
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.records import RecordStore

log = logging.getLogger("tusd_py")

RESCAN_INTERVAL = 60.0


class Finishing:
    """Turns finished uploads into files, `concurrency` at a time.

    With `keeps_records` every finished tus upload gets a record; otherwise only those that somebody asks about. Every
    step may be repeated, so that a killed server's work is done again.
    """

    def __init__(
        self,
        store: FilesystemStore,
        records: RecordStore,
        in_thread: InThread,
        *,
        keeps_records: bool = False,
        concurrency: int = 2,
    ) -> None:
        self.keeps_records = keeps_records
        self._store = store
        self._records = records
        self._in_thread = in_thread
        self._concurrency = concurrency
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()

    # --- giving work, under the upload's hold and before the answer ---

    async def finish(self, upload: Upload) -> Upload:
        """Make the record of a complete upload if it has none; when this returns the work can no longer be lost."""
        if upload.file_id is None:
            upload = await self._in_thread(self._store.name_file, upload, new_file_id())
        if not await self.has_record(upload):
            await self.add(record_of(upload, upload.file_id or "", time.time()))
        return upload

    async def has_record(self, upload: Upload) -> bool:
        return upload.file_id is not None and await self._in_thread(self._records.exists, upload.file_id)

    async def add(self, record: FileRecord) -> None:
        await self._in_thread(self._records.add, record)
        self._enqueue(record.id)

    async def forget(self, file_id: str) -> None:
        """Remove the record of an upload that is being removed, before its bytes go."""
        await self._in_thread(self._records.remove, file_id)

    # --- doing it ---

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._work())
            while True:
                await self._rescan()
                await asyncio.sleep(RESCAN_INTERVAL)

    async def _rescan(self) -> None:
        try:
            for file_id in await self._in_thread(self._records.pending_ids):
                self._enqueue(file_id)
        except UploadError as error:
            log.warning(LogEvent("FinishingError", error=str(error)))

    def _enqueue(self, file_id: str) -> None:
        if file_id not in self._queued:
            self._queued.add(file_id)
            self._queue.put_nowait(file_id)

    async def _work(self) -> None:
        while True:
            file_id = await self._queue.get()
            self._queued.discard(file_id)
            try:
                await self._process(file_id)
            except UploadError as error:
                log.warning(LogEvent("FinishingError", file=file_id, error=str(error)))  # the next rescan tries again
            except Exception:
                log.exception(LogEvent("FinishingError", file=file_id))

    async def _process(self, file_id: str) -> None:
        claim = await self._in_thread(self._records.claim, file_id)
        if claim is None:
            return  # done, removed, or in the hands of another process
        try:
            record = settled(claim.record, Status.READY)
            if not await self._in_thread(self._store.has_bytes, record.path, record.size):
                record = settled(claim.record, Status.GONE)
            if record.status is Status.READY:
                await self._in_thread(self._records.publish, record, edge_headers(record))
            else:
                await self._in_thread(self._records.withdraw, file_id)
            await self._in_thread(self._records.settle, record)
        finally:
            claim.release()
        log.info(LogEvent("FileSettled", file=file_id, status=record.status.value))


def edge_headers(record: FileRecord) -> dict[str, str]:
    """What the bytes are to be served with, by us and by an edge."""
    metadata = {"filetype": record.type, "filename": record.file_name}
    return {
        "type": disposition.content_type(metadata),
        "disposition": disposition.content_disposition(metadata),
    }
