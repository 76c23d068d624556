"""What happens to a file after its last byte: durable, in the background, never in the way of the answer.

A record in `pending/` is the only thing that must not be lost; the queue that the processes share is an index of it,
made again from the directory at every start and every minute.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.hook_events import HttpRequest
from tusd_py.core.log_event import LogEvent
from tusd_py.core.records import FileRecord, Status, new_file_id, record_of
from tusd_py.core.threads import InThread
from tusd_py.core.uploads import Upload
from tusd_py.pipeline import TryLater
from tusd_py.pipeline.thumbnail import Thumbnails
from tusd_py.service.settling import Settling
from tusd_py.state import FORGOTTEN, SETTLED, State
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.quarantine import Quarantine
from tusd_py.store.records import RecordStore

log = logging.getLogger("tusd_py")

RESCAN_INTERVAL = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 300.0
"""Seconds between tries of a file that has trouble."""

MOST_ATTEMPTS = 12
"""Tries of a step that fails on a file, after which the file has failed: an hour or so."""


class Finishing:
    """Turns finished uploads into files, `concurrency` at a time.

    With `keeps_records` every finished tus upload gets a record; otherwise only those that somebody asks about. Every
    step may be repeated, so that a killed server's work is done again.
    """

    def __init__(
        self,
        store: FilesystemStore,
        records: RecordStore,
        quarantine: Quarantine,
        settling: Settling,
        state: State,
        in_thread: InThread,
        *,
        thumbnails: Thumbnails | None = None,
        request_to_keep: Callable[[], HttpRequest | None] = lambda: None,
        keeps_records: bool = False,
        concurrency: int = 2,
    ) -> None:
        self.keeps_records = keeps_records
        self._thumbnails = thumbnails
        self._request_to_keep = request_to_keep
        self._store = store
        self._records = records
        self._quarantine = quarantine
        self._settling = settling
        self._in_thread = in_thread
        self._concurrency = concurrency
        self._state = state
        self._queue = state.queue
        self._attempts: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self._is_forgotten = asyncio.Event()
        state.listen(SETTLED, self._wake)
        state.listen(FORGOTTEN, lambda _: self._is_forgotten.set())

    # --- giving work, under the upload's hold and before the answer ---

    async def finish(self, upload: Upload) -> Upload:
        """Make the record of a complete upload if it has none; when this returns the work can no longer be lost.

        One that was complete when it was first met, and so has no file id, is news to nobody.
        """
        is_news = upload.file_id is not None
        if not is_news:
            upload = await self._in_thread(self._store.name_file, upload, new_file_id())
        if not await self.has_record(upload):
            await self.add(record_of(upload, upload.file_id or "", time.time()), is_news=is_news)
        return upload

    async def has_record(self, upload: Upload) -> bool:
        return upload.file_id is not None and await self._in_thread(self._records.exists, upload.file_id)

    async def add(self, record: FileRecord, *, is_news: bool = True) -> None:
        record = replace(record, request=self._request_to_keep() if is_news else None)
        await self._in_thread(self._records.add, record)
        self._enqueue(record.id)

    async def add_again(self, record: FileRecord) -> None:
        """Send a settled file through the steps once more."""
        await self._in_thread(self._records.reopen, record)
        self._enqueue(record.id)

    async def forget(self, file_id: str) -> None:
        """Remove the record of an upload that is being removed, before its bytes go."""
        await self._in_thread(self._records.remove, file_id)
        await self._in_thread(self._quarantine.discard, file_id)
        if self._thumbnails is not None:
            await self._in_thread(self._thumbnails.remove, file_id)

    async def explain_missing(self, upload_id: str) -> None:
        """Raises 403 or 410 for an upload whose bytes are not where they were, because its file is settled so."""
        file_id = await self._in_thread(self._store.file_id_of, upload_id)
        if file_id is None or not await self._in_thread(self._records.exists, file_id):
            return
        record = await self._in_thread(self._records.load, file_id)
        if record.status is Status.QUARANTINED:
            raise UploadError(errors.FILE_QUARANTINED)
        if record.status is Status.GONE:
            raise UploadError(errors.FILE_GONE)

    async def remove_remains(self, upload_id: str) -> bool:
        """Remove an upload whose bytes are not where they were; whether there was anything of it."""
        file_id = await self._in_thread(self._store.file_id_of, upload_id)
        if file_id is None:
            return False
        await self.forget(file_id)
        await self._in_thread(self._store.remove_description, upload_id)
        return True

    async def wait(self, file_id: str, seconds: float) -> None:
        """Wait until it is known that some process has settled the file, or until the time is over."""
        event = asyncio.Event()
        self._waiting.setdefault(file_id, []).append(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            waiting = self._waiting.get(file_id, [])
            if event in waiting:
                waiting.remove(event)
            if not waiting:
                self._waiting.pop(file_id, None)

    # --- doing it ---

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._work())
            while True:
                self._is_forgotten.clear()
                await self._rescan()
                with suppress(TimeoutError):
                    async with asyncio.timeout(RESCAN_INTERVAL):
                        await self._is_forgotten.wait()

    async def _rescan(self) -> None:
        try:
            pending = await self._in_thread(self._records.pending_ids)
            self._queue.refill(file_id for file_id in pending if file_id not in self._timers)  # these have their time
        except UploadError as error:
            log.warning(LogEvent("FinishingError", error=str(error)))

    def _enqueue(self, file_id: str) -> None:
        if timer := self._timers.pop(file_id, None):
            timer.cancel()
        self._queue.put(file_id)

    async def _work(self) -> None:
        while True:
            file_id = await self._queue.take()
            try:
                await self._process(file_id)
            except TryLater as error:
                await self._postpone(file_id, error)
            except UploadError as error:
                self._try_again(file_id, str(error))
            except Exception as error:
                log.exception(LogEvent("FinishingError", file=file_id))
                self._try_again(file_id, type(error).__name__)
            self._queue.done(file_id)

    async def _process(self, file_id: str, failure: str = "") -> None:
        """Settle a file, as failed where there is a reason."""
        claim = await self._in_thread(self._records.claim, file_id)
        if claim is None:
            self._attempts.pop(file_id, None)
            return  # done, removed, or in the hands of another process: a rescan finds it again if that dies
        try:
            await (self._settling.fail(claim.record, failure) if failure else self._settling.settle(claim.record))
            if not await self._in_thread(self._records.exists, file_id):
                await self.forget(file_id)  # it was removed meanwhile, and so is what the steps have made of it
        finally:
            claim.release()
        self._attempts.pop(file_id, None)
        self._wake(file_id)
        self._state.announce(SETTLED, file_id)

    def _wake(self, file_id: str) -> None:
        for event in self._waiting.pop(file_id, ()):
            event.set()

    async def _postpone(self, file_id: str, error: TryLater) -> None:
        """What waits for something that is away waits as long as that takes; any other trouble has an end."""
        if error.delay is not None:
            self._enqueue_after(file_id, error.delay)
        elif self._attempts.get(file_id, 0) < MOST_ATTEMPTS:
            self._try_again(file_id, str(error))
        else:
            await self._process(file_id, failure=str(error))

    def _try_again(self, file_id: str, reason: str) -> None:
        """After more seconds each time."""
        attempts = self._attempts[file_id] = self._attempts.get(file_id, 0) + 1
        delay = min(FIRST_PAUSE * 2.0 ** min(attempts, 32), LONGEST_PAUSE)
        log.warning(LogEvent("FinishingError", file=file_id, error=reason, seconds=round(delay, 1)))
        self._enqueue_after(file_id, delay)

    def _enqueue_after(self, file_id: str, seconds: float) -> None:
        seconds *= random.uniform(0.75, 1.0)  # noqa: S311 -- so that not all come back at once
        if file_id not in self._timers:
            self._timers[file_id] = asyncio.get_running_loop().call_later(seconds, self._enqueue, file_id)
