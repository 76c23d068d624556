"""Complete uploads: when one counts as finished, and which are known to be."""

from __future__ import annotations

import logging
from dataclasses import replace

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.newest import Newest
from tusd_py.core.records import new_file_id
from tusd_py.core.threads import InThread
from tusd_py.core.uploads import CHUNKS, Upload
from tusd_py.service.finishing import Finishing
from tusd_py.service.hooks import Hooks
from tusd_py.service.metrics import Metrics
from tusd_py.service.unfinished import Unfinished
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.sessions import SessionStore

log = logging.getLogger("tusd_py")


class CompleteUploads:
    """With `tells_of_partials`, hooks hear of finished parts, as from tusd."""

    def __init__(
        self,
        store: FilesystemStore,
        sessions: SessionStore,
        finishing: Finishing,
        hooks: Hooks,
        metrics: Metrics,
        unfinished: Unfinished,
        in_thread: InThread,
        *,
        tells_of_partials: bool,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._finishing = finishing
        self._hooks = hooks
        self._metrics = metrics
        self._unfinished = unfinished
        self._in_thread = in_thread
        self._tells_of_partials = tells_of_partials
        self._settled: Newest[str, tuple[float | None, int | None, int]] = Newest()

    # --- the file that an upload will be, where a record is kept of each ---

    def named(self, upload: Upload) -> Upload:
        """A new upload with the id of its file."""
        return replace(upload, file_id=new_file_id()) if self._is_to_be_file(upload) else upload

    def needs_name(self, upload: Upload) -> bool:
        return upload.file_id is None and self._is_to_be_file(upload)

    async def name(self, upload: Upload) -> Upload:
        """The same for an upload that another server has begun."""
        return await self._in_thread(self._store.name_file, upload, new_file_id())

    def _is_to_be_file(self, upload: Upload) -> bool:
        return self._finishing.keeps_records and not upload.is_partial

    # --- finishing ---

    async def finish(self, upload: Upload, *, was_complete: bool) -> Upload:
        """Let a complete upload count as finished, once; before the answer, under the hold.

        Hooks are asked and told, and what comes next can no longer be lost. Raises `HookTrouble` while a hook does not
        let it; it is asked again by whoever comes next. An upload that was complete when it was first met is no news.
        """
        if not upload.is_complete:
            return upload
        if upload.protocol == CHUNKS:
            return await self._finish_chunked(upload)
        if self._is_to_be_file(upload):
            if await self._finishing.has_record(upload):
                return upload
            if upload.file_id is None:
                return await self._finishing.finish(upload)
            await self._tell_finished(upload)
            upload = await self._finishing.finish(upload)
        elif was_complete:
            return upload
        elif upload.is_partial and self._tells_of_partials:
            await self._tell_finished(upload)
        self._unfinished.remove()
        self._metrics.uploads_finished.inc()
        log.info(LogEvent("UploadFinished", id=upload.id, size=upload.size))
        return upload

    async def is_finished(self, upload: Upload) -> bool:
        """Whether a complete upload has all that it needs, but perhaps for a flush to the disk."""
        if upload.protocol == CHUNKS or self._is_to_be_file(upload):
            return await self._finishing.has_record(upload)
        return True

    async def _finish_chunked(self, upload: Upload) -> Upload:
        """Only `complete` makes a file of an upload in chunks; raises 423 until a killed server's work is done again.

        One that has neither session nor record was being removed by a killed server.
        """
        if not await self._finishing.has_record(upload):
            if await self._in_thread(self._sessions.exists, upload.id):
                raise UploadError(errors.UPLOAD_LOCKED)
            upload = await self._finishing.finish(upload)
        return upload

    async def _tell_finished(self, upload: Upload) -> None:
        await self._hooks.before_finish(upload)
        await self._hooks.after_finish(upload)

    # --- what is known ---

    def is_settled(self, upload: Upload) -> bool:
        """Whether this process knows that the upload, as it is, is durable as promised and, if complete, finished."""
        return self._settled.get(upload.id) == _state_of(upload)

    def remember_settled(self, upload: Upload) -> None:
        self._settled[upload.id] = _state_of(upload)

    def forget(self, upload_id: str) -> None:
        self._settled.pop(upload_id, None)


def _state_of(upload: Upload) -> tuple[float | None, int | None, int]:
    """With its age: an id that a hook has chosen may be that of another upload by now, through another process."""
    return upload.created_at, upload.size, upload.offset
