"""The sweep: expired uploads and the traces of crashes, in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.threads import InThread
from tusd_py.service.discarding import Discarding
from tusd_py.service.unfinished import Unfinished
from tusd_py.service.uploads import Uploads
from tusd_py.store.filesystem import FilesystemStore

log = logging.getLogger("tusd_py")

LONGEST_INTERVAL = 60.0
SHORTEST_INTERVAL = 0.5
_BATCH = 256
_FIRST_LOOKS = 10
"""Looks at the directory after which the first count is believed although uploads began or ended meanwhile; a later one
is believed only if none did.
"""


class Sweeper:
    """Clears up after crashes once per interval (seconds) and, if told to `look_at_uploads`, removes what has expired.

    The first look waits one interval, so that a wrong `-expire-after` on an old directory can still be taken back.
    Finished uploads are never touched. Of several processes one is on duty and removes what is to go; the others only
    count, if they have to.
    """

    def __init__(
        self,
        store: FilesystemStore,
        uploads: Uploads,
        discarding: Discarding,
        unfinished: Unfinished,
        in_thread: InThread,
        is_on_duty: Callable[[], Awaitable[bool]],
        *,
        expire_after: float,
        look_at_uploads: bool,
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._discarding = discarding
        self._unfinished = unfinished
        self._in_thread = in_thread
        self._is_on_duty = is_on_duty
        self._look_at_uploads = look_at_uploads
        self.interval = max(SHORTEST_INTERVAL, min(LONGEST_INTERVAL, (expire_after or LONGEST_INTERVAL) / 2))

    async def run(self) -> None:
        """Sweep for ever; trouble with the directory is logged and tried again after the next interval."""
        is_first = True
        while True:
            if is_on_duty := await self._is_on_duty():
                await self._sweep_workspace()
            if is_on_duty or self._unfinished.is_to_recount:
                await self._look_at_all(_FIRST_LOOKS if is_first else 1, is_removing=is_on_duty and not is_first)
            is_first = False
            await asyncio.sleep(self.interval)

    async def _sweep_workspace(self) -> None:
        with _trouble_logged():
            await self._in_thread(self._store.sweep_workspace)

    async def _look_at_all(self, looks: int, *, is_removing: bool) -> None:
        """Count what is unfinished, and remove what has expired."""
        with _trouble_logged():
            for look in range(1, looks + 1):
                before = self._unfinished.changes
                unfinished = await self._discarding.count_unfinished(expire=is_removing)
                if self._look_at_uploads:
                    unfinished += await self._count_unfinished_uploads(is_removing=is_removing)
                if not self._unfinished.is_to_recount:
                    return
                if self._unfinished.changes == before or look == _FIRST_LOOKS:
                    self._unfinished.recount(unfinished)
                    return

    async def _count_unfinished_uploads(self, *, is_removing: bool) -> int:
        unfinished = 0
        ids = self._store.upload_ids()
        while batch := await self._in_thread(_take, ids, _BATCH):
            for upload_id in batch:
                with suppress(UploadError):  # gone or unreadable by now
                    unfinished += await self._uploads.is_unfinished(upload_id, expire=is_removing)
        return unfinished


@contextmanager
def _trouble_logged() -> Iterator[None]:
    """What goes wrong in one sweep must not end the ones that follow."""
    try:
        yield
    except UploadError as error:
        log.warning(LogEvent("SweepError", error=str(error)))
    except Exception:
        log.exception(LogEvent("SweepError"))


def _take(ids: Iterator[str], count: int) -> list[str]:
    return list(islice(ids, count))
