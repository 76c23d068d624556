"""The end of a session that is a file's beginning: verify the whole, and make an upload of it that counts."""

from __future__ import annotations

import asyncio
import logging
import time

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.records import FileRecord
from tusd_py.core.sessions import ChunksMissing, Session, record_of_session, upload_of
from tusd_py.core.uploads import CHUNKS
from tusd_py.service.assembly import Assembly
from tusd_py.service.draining import Draining
from tusd_py.service.files import Files
from tusd_py.service.finishing import Finishing
from tusd_py.service.hooks import Hooks
from tusd_py.service.metrics import Metrics
from tusd_py.service.sessions import Sessions
from tusd_py.service.threads import Threads
from tusd_py.service.uploads import Uploads
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.sessions import SessionStore

log = logging.getLogger("tusd_py")


class Completing:
    """Completes each session once, however often and by however many it is asked.

    Every step may have been done before, by a server that was killed.
    """

    def __init__(
        self,
        sessions: Sessions,
        session_store: SessionStore,
        store: FilesystemStore,
        assembly: Assembly,
        uploads: Uploads,
        files: Files,
        finishing: Finishing,
        hooks: Hooks,
        draining: Draining,
        metrics: Metrics,
        file_threads: Threads,
        copy_threads: Threads,
    ) -> None:
        self._sessions = sessions
        self._session_store = session_store
        self._store = store
        self._assembly = assembly
        self._uploads = uploads
        self._files = files
        self._finishing = finishing
        self._hooks = hooks
        self._draining = draining
        self._metrics = metrics
        self._in_thread = file_threads
        self._in_copy_thread = copy_threads
        self._running: dict[str, asyncio.Task[FileRecord]] = {}

    async def is_running(self, upload_id: str) -> bool:
        """Whether this process, or another one, is completing the session now."""
        if upload_id in self._running:
            return True
        try:
            async with self._sessions.hold(upload_id, shared=True, timeout=0):
                return False
        except UploadError as error:
            return error.problem in (errors.UPLOAD_LOCKED, errors.UPLOAD_NOT_FOUND)  # it has just been completed

    async def complete(self, upload_id: str) -> FileRecord:
        """Verify the whole file and make an upload of it that counts; said again, the answer is the same.

        It goes on when the client does not wait for it.
        """
        self._draining.refuse_new()
        task = self._running.get(upload_id)
        if task is None:
            task = asyncio.create_task(self._complete(upload_id))
            self._running[upload_id] = task
            task.add_done_callback(lambda _: self._running.pop(upload_id, None))
        return await asyncio.shield(task)

    async def _complete(self, upload_id: str) -> FileRecord:
        session = await self._sessions.find(upload_id)
        if session is not None:
            try:
                await self._check_all_here(session)
                async with self._sessions.hold(upload_id):
                    session = await self._sessions.find(upload_id)
                    if session is not None:
                        return await self._assemble(session)
            except UploadError as error:
                if error.problem is not errors.UPLOAD_NOT_FOUND:  # another process has just completed it
                    raise
        return await self._completed_before(upload_id)

    async def _completed_before(self, upload_id: str) -> FileRecord:
        record = await self._files.of_upload(upload_id)
        if record is None:
            upload = await self._uploads.find(upload_id)
            raise UploadError(errors.UPLOAD_LOCKED if upload.protocol == CHUNKS else errors.NOT_CHUNKED)
        if record.chunk_count is None:
            raise UploadError(errors.NOT_CHUNKED)
        return record

    async def _assemble(self, session: Session) -> FileRecord:
        """Under the hold on all of it."""
        if not await self._finishing.has_record(upload_of(session)):
            if session.failure is not None:
                raise UploadError(errors.FILE_CHECKSUM_MISMATCH)
            await self._check_all_here(session)
            await self._verify(session)
            source = self._session_store.data_path(session.id)
            upload = await self._in_copy_thread(self._store.adopt, upload_of(session), source)
            await self._hooks.before_finish(upload)
            await self._hooks.after_finish(upload)
            await self._finishing.add(record_of_session(session, upload.path, time.time()))
            self._metrics.uploads_finished.inc()
            log.info(LogEvent("UploadFinished", id=session.id, size=session.announced.file_size))
        await self._sessions.remove(session)
        return await self._files.load(session.file_id)

    async def _check_all_here(self, session: Session) -> None:
        if missing := session.missing(await self._in_thread(self._session_store.marked, session)):
            raise ChunksMissing(missing)

    async def _verify(self, session: Session) -> None:
        """Compare the file with what was announced; chunks that turn out to be damaged are missing again."""
        if await self._assembly.digest(session) == session.announced.checksum:
            return
        self._assembly.forget(session.id)
        damaged = await self._in_copy_thread(self._session_store.unmark_damaged, session)
        if damaged:
            log.error(LogEvent("ChunksDamaged", id=session.id, count=len(damaged)))
            raise ChunksMissing(damaged)
        if await self._assembly.digest(session) == session.announced.checksum:
            return  # what was read before has been repaired since, through another process
        await self._in_thread(self._session_store.fail, session, "checksum")
        log.info(LogEvent("UploadFailed", id=session.id, reason="checksum"))
        raise UploadError(errors.FILE_CHECKSUM_MISMATCH)
