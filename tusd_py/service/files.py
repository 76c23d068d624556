"""Files: what finished uploads have become, and the signed links to them."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tusd_py.core import errors
from tusd_py.core.errors import Problem, UploadError
from tusd_py.core.links import LinkSigner
from tusd_py.core.log_event import LogEvent
from tusd_py.core.records import FileRecord, Status, settled
from tusd_py.pipeline.thumbnail import Thumbnails
from tusd_py.service.threads import Threads
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.records import RecordStore
from tusd_py.store.system_errors import system_errors_translated

log = logging.getLogger("tusd_py")

SWEEP_INTERVAL = 3600.0
"""Seconds between two looks for files whose bytes are gone; one that is asked for is looked at anyway."""

_BATCH = 256

UNSERVED: dict[Status, Problem] = {
    Status.PROCESSING: errors.FILE_NOT_READY,
    Status.QUARANTINED: errors.FILE_QUARANTINED,
    Status.FAILED: errors.FILE_NOT_READY,
    Status.GONE: errors.FILE_GONE,
}
"""What a download is answered with, by status; only ready files are served."""


@dataclass(frozen=True, slots=True)
class Link:
    """A signed link: what follows the base path, and when it ends (Unix seconds)."""

    path: str
    expires: int


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """Seconds that a link lives by default, and at most."""

    default: float = 3600.0
    longest: float = 24 * 3600.0


class Files:
    """The records of a server and the way to their bytes.

    With `scan` no file is served that has not been scanned: it is given one that was ready before there was a scanner.
    """

    def __init__(
        self,
        store: FilesystemStore,
        records: RecordStore,
        signer: LinkSigner,
        times: LinkTimes,
        file_threads: Threads,
        thumbnails: Thumbnails | None = None,
        scan: Callable[[FileRecord], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._records = records
        self._signer = signer
        self._times = times
        self._in_thread = file_threads
        self._near = file_threads.near
        self._thumbnails = thumbnails
        self._scan = scan

    async def load(self, file_id: str) -> FileRecord:
        """Raises 404. A file whose bytes have been taken away is said to be gone, from now on."""
        record = await self._near(self._records.place, self._records.load, file_id)
        if record.status is Status.READY and not await self._has_bytes(record):
            record = await self._in_thread(self._load, file_id)
        return record

    async def _has_bytes(self, record: FileRecord) -> bool:
        return await self._near(record.path, self._store.has_bytes, record.path, record.size)

    async def of_upload(self, upload_id: str) -> FileRecord | None:
        """What an upload has become, wherever its bytes are; None where it is no file yet, or is not there."""
        file_id = await self._near(self._store.place, self._store.file_id_of, upload_id)
        if file_id is None or not await self._near(self._records.place, self._records.exists, file_id):
            return None
        return await self.load(file_id)

    async def load_ready(self, file_id: str) -> FileRecord:
        """A file that may be served; raises what stands in the way for any other."""
        record = await self.load(file_id)
        if (problem := UNSERVED.get(record.status)) is not None:
            raise UploadError(problem, file_status=record.status.value)
        if self._scan is not None and record.scan_result is None:
            await self._scan(record)
            raise UploadError(errors.FILE_NOT_READY, file_status=Status.PROCESSING.value)
        return record

    async def open_for_reading(self, record: FileRecord) -> int:
        """A descriptor of the bytes; the caller closes it."""
        with system_errors_translated(missing=errors.FILE_GONE):
            return await self._near(record.path, os.open, record.path, os.O_RDONLY)

    async def open_thumbnail(self, record: FileRecord, size: str) -> tuple[int, int]:
        """A descriptor of the thumbnail, which the caller closes, and its size in bytes."""
        if self._thumbnails is None:
            raise UploadError(errors.FILE_NOT_FOUND)
        with system_errors_translated(missing=errors.FILE_NOT_FOUND):
            return await self._in_thread(_open_with_size, self._thumbnails.path_of(record.id, size))

    async def is_public(self, file_id: str) -> bool:
        """Whether a front server finds the bytes in the public tree."""
        return await self._near(self._records.place, self._records.is_public, file_id)

    def link(self, subject: str, lifetime: float | None) -> Link:
        """Sign a link to a file (or, `<file id>/thumbnail/<size>`, a thumbnail) for so many seconds."""
        wanted = self._times.default if lifetime is None else lifetime
        expires = int(time.time() + min(wanted, self._times.longest))
        return Link(f"{subject}?{self._signer.query(subject, expires)}", expires)

    def links(self, file_id: str, sizes: Iterable[str], place: str, lifetime: float | None) -> dict[str, Any]:
        """The links to a file and to its thumbnails of these sizes, as clients and webhooks are given them.

        `place` is what stands before the path of each.
        """
        link = self.link(file_id, lifetime)
        thumbnails = {size: place + self.link(f"{file_id}/thumbnail/{size}", lifetime).path for size in sizes}
        return {"downloadUrl": place + link.path, "expires": link.expires, "thumbnailUrls": thumbnails}

    def verify(self, subject: str, query: str) -> None:
        """Raises 403 unless the query is one that `link` made for this subject, and its time is not over."""
        self._signer.verify(subject, query, time.time())

    async def run(self) -> None:
        """Find the files whose bytes are gone, and what an edge serves of those that were removed; for ever."""
        while True:
            try:
                await self._in_thread(self._records.sweep_public)
                ids = self._records.settled_ids()
                while batch := await self._in_thread(lambda: list(islice(ids, _BATCH))):  # noqa: B023 -- at once
                    await self._in_thread(self._look_at, batch)
            except UploadError as error:
                log.warning(LogEvent("SweepError", error=str(error)))
            await asyncio.sleep(SWEEP_INTERVAL)

    def _look_at(self, file_ids: list[str]) -> None:
        for file_id in file_ids:
            try:
                self._load(file_id)
            except UploadError as error:
                if error.problem is not errors.FILE_NOT_FOUND:  # removed by now
                    log.warning(LogEvent("SweepError", file=file_id, error=str(error)))
            except Exception:
                log.exception(LogEvent("SweepError", file=file_id))

    def _load(self, file_id: str) -> FileRecord:
        record = self._records.load(file_id)
        if record.status is not Status.READY or self._store.has_bytes(record.path, record.size):
            return record
        # Removing an upload takes the record away before the bytes: then this one is not to come back.
        gone = settled(self._records.load(file_id), Status.GONE)
        self._records.withdraw(file_id)
        self._records.replace(gone)
        log.info(LogEvent("FileGone", file=file_id))
        return gone


def _open_with_size(path: Path) -> tuple[int, int]:
    descriptor = os.open(path, os.O_RDONLY)
    return descriptor, os.fstat(descriptor).st_size
