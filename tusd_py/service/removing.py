"""The end of uploads: terminated by a client, expired, or given up by the server."""

from __future__ import annotations

import logging

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.threads import InThread
from tusd_py.core.uploads import CHUNKS
from tusd_py.service.complete_uploads import CompleteUploads
from tusd_py.service.finding import Finding
from tusd_py.service.finishing import Finishing
from tusd_py.service.hooks import Hooks
from tusd_py.service.metrics import Metrics
from tusd_py.service.unfinished import Unfinished
from tusd_py.state import State
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.sessions import SessionStore

log = logging.getLogger("tusd_py")


class Removing:
    """Removes uploads, each under its hold."""

    def __init__(
        self,
        store: FilesystemStore,
        sessions: SessionStore,
        state: State,
        finding: Finding,
        complete: CompleteUploads,
        finishing: Finishing,
        hooks: Hooks,
        metrics: Metrics,
        unfinished: Unfinished,
        in_thread: InThread,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._state = state
        self._finding = finding
        self._complete = complete
        self._finishing = finishing
        self._hooks = hooks
        self._metrics = metrics
        self._unfinished = unfinished
        self._in_thread = in_thread

    async def terminate(self, upload_id: str) -> None:
        """Remove an upload, finished or not (tus termination); whoever writes it is asked to stop first."""
        try:
            await self.remove(upload_id, asking=True)
        except UploadError as error:
            is_elsewhere = error.problem in (errors.FILE_QUARANTINED, errors.FILE_GONE)
            if not (is_elsewhere and await self._finishing.remove_remains(upload_id)):
                raise
            self._metrics.uploads_terminated.inc()
            log.info(LogEvent("UploadTerminated", id=upload_id))

    async def remove(self, upload_id: str, *, asking: bool = False) -> None:
        """With `asking`, a hook may refuse it."""
        upload = await self._finding.find(upload_id)
        async with self._finding.hold(upload) as hold:
            upload = await self._finding.load(upload_id, hold)
            if asking:
                await self._hooks.before_terminate(upload)
            if upload.file_id is not None:
                await self._finishing.forget(upload.file_id)
            if upload.protocol == CHUNKS:  # which a server that was killed in the end may have left to complete
                await self._in_thread(self._sessions.remove, upload_id)
            await self._in_thread(self._store.remove, upload)
        self._complete.forget(upload_id)
        if not upload.is_complete:
            self._unfinished.remove()
        self._metrics.uploads_terminated.inc()
        log.info(LogEvent("UploadTerminated", id=upload_id))
        await self._hooks.after_terminate(upload)

    async def is_unfinished(self, upload_id: str, *, expire: bool) -> bool:
        """Whether the upload counts as unfinished.

        With `expire`, it is removed if its time is over and nobody works on it.
        """
        upload = await self._finding.load(upload_id)
        if upload.is_complete:
            return False
        if not expire or not self._finding.is_due(upload):
            return True
        try:
            async with self._finding.hold(upload, timeout=0) as hold:
                upload = await self._finding.load(upload_id, hold)
                if not self._finding.is_due(upload):
                    return not upload.is_complete
                await self._state.bury(upload_id)  # nobody is to find nothing in between
                await self._in_thread(self._store.remove, upload)
        except UploadError:
            return True  # somebody works on it
        self._unfinished.remove()
        self._metrics.uploads_expired.inc()
        log.info(LogEvent("UploadExpired", id=upload_id))
        return False
