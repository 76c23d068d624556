"""The end of a session that becomes no file: it is removed, or its time is over."""

from __future__ import annotations

import logging
from dataclasses import replace

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.sessions import Session, upload_of
from tusd_py.service.finishing import Finishing
from tusd_py.service.hooks import Hooks
from tusd_py.service.metrics import Metrics
from tusd_py.service.sessions import Sessions
from tusd_py.service.threads import Threads
from tusd_py.service.uploads import Uploads
from tusd_py.state import State
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.sessions import SessionStore

log = logging.getLogger("tusd_py")


class Discarding:
    """Removes sessions, each under the hold on all of it."""

    def __init__(
        self,
        sessions: Sessions,
        session_store: SessionStore,
        store: FilesystemStore,
        state: State,
        uploads: Uploads,
        finishing: Finishing,
        hooks: Hooks,
        metrics: Metrics,
        in_thread: Threads,
    ) -> None:
        self._sessions = sessions
        self._session_store = session_store
        self._store = store
        self._state = state
        self._uploads = uploads
        self._finishing = finishing
        self._hooks = hooks
        self._metrics = metrics
        self._in_thread = in_thread

    async def terminate(self, upload_id: str) -> None:
        """Remove an upload in any state, by whichever protocol it came, and the file it has become."""
        try:
            await self._terminate(await self._in_thread(self._session_store.load, upload_id))
        except UploadError as error:
            if error.problem is not errors.UPLOAD_NOT_FOUND:
                raise
            await self._uploads.terminate(upload_id)  # perhaps it has become a file just now

    async def _terminate(self, session: Session) -> None:
        upload = replace(upload_of(session), offset=0)
        await self._hooks.before_terminate(upload)
        await self._remove(session)
        self._metrics.uploads_terminated.inc()
        log.info(LogEvent("UploadTerminated", id=session.id))
        await self._hooks.after_terminate(upload)

    async def count_unfinished(self, *, expire: bool) -> int:
        """The number of sessions; with `expire`, those go whose time is over and which nobody works on."""
        await self._in_thread(self._session_store.sweep)
        count = 0
        for upload_id in await self._in_thread(lambda: list(self._session_store.upload_ids())):
            try:
                session = await self._in_thread(self._session_store.load, upload_id)
                if await self._finishing.has_record(upload_of(session)):
                    await self._remove(session, timeout=0, with_file=False)  # which a killed server had left to do
                elif not (expire and await self._expire(session)):
                    count += 1
            except UploadError:
                count += 1  # in use, or gone by now
        return count

    async def _expire(self, session: Session) -> bool:
        """Remove a session whose time is over, also when it is looked at once more under the hold; whether it was."""
        if not self._sessions.is_due(session):
            return False
        async with self._sessions.hold(session.id, timeout=0):
            if not self._sessions.is_due(await self._in_thread(self._session_store.load, session.id)):
                return False
            await self._state.bury(session.id)  # nobody is to find nothing in between
            await self._remove_held(session, with_file=True)
        self._metrics.uploads_expired.inc()
        log.info(LogEvent("UploadExpired", id=session.id))
        return True

    async def _remove(self, session: Session, timeout: float | None = None, *, with_file: bool = True) -> None:
        async with self._sessions.hold(session.id, timeout=timeout):
            await self._remove_held(session, with_file=with_file)

    async def _remove_held(self, session: Session, *, with_file: bool) -> None:
        """Forget a session and, `with_file`, what a server that was killed in the end has made of it."""
        if with_file:
            await self._finishing.forget(session.file_id)
            data = self._session_store.data_path(session.id)
            await self._in_thread(self._store.withdraw_adopted, upload_of(session), data)
        await self._sessions.remove(session)
