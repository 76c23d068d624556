"""Uploads in numbered chunks: initiate, put, status, complete, delete."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from tusd_py.core import errors
from tusd_py.core.body import Body
from tusd_py.core.chunks import MOST_CHUNKS, ChunksMissing, Initiation, Session, check_chunk
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.records import OWNER, FileRecord, Status, new_file_id
from tusd_py.core.uploads import CHUNKS, Upload
from tusd_py.service.assembly import Assembly
from tusd_py.service.draining import Draining
from tusd_py.service.finishing import Finishing
from tusd_py.service.hooks import Hooks
from tusd_py.service.metrics import Metrics
from tusd_py.service.receiving import receive_body
from tusd_py.service.threads import Threads
from tusd_py.service.unfinished import Unfinished
from tusd_py.service.uploads import GRACE, Uploads, new_upload_id
from tusd_py.state import Hold, State
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.records import RecordStore
from tusd_py.store.sessions import SessionStore

log = logging.getLogger("tusd_py")


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """Sizes in bytes, times in seconds; 0 means no limit, but for `lock_timeout` and `chunk_size`."""

    chunk_size: int = 5 * 1024 * 1024
    max_size: int = 5 * 1024**3
    expire_after: float = 24 * 3600.0
    lock_timeout: float = 20.0
    min_free_space: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload is: the numbers of the chunks that count, and of those that are missing."""

    upload_id: str
    status: Status
    owner_id: str
    chunk_count: int
    uploaded: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    file_id: str | None = None


class Chunks:
    """The sessions of one server, and what becomes of them.

    A chunk is received under a shared hold on its session and one of its own on its slot; what ends a session holds
    all of it, so that no byte changes after it was verified.
    """

    def __init__(
        self,
        sessions: SessionStore,
        store: FilesystemStore,
        records: RecordStore,
        state: State,
        uploads: Uploads,
        finishing: Finishing,
        hooks: Hooks,
        draining: Draining,
        unfinished: Unfinished,
        metrics: Metrics,
        limits: ChunkLimits,
        file_threads: Threads,
        body_threads: Threads,
        copy_threads: Threads,
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._records = records
        self._state = state
        self._uploads = uploads
        self._finishing = finishing
        self._hooks = hooks
        self._draining = draining
        self._unfinished = unfinished
        self._metrics = metrics
        self._limits = limits
        self._in_thread = file_threads
        self._in_body_thread = body_threads
        self._in_copy_thread = copy_threads
        self._assembly = Assembly(sessions, copy_threads)
        self._completing: dict[str, asyncio.Task[FileRecord]] = {}

    # --- beginning ---

    @property
    def most_bytes(self) -> int:
        """What the largest number of chunks can hold."""
        return self._limits.chunk_size * MOST_CHUNKS

    async def initiate(self, announced: Initiation) -> Session:
        self._draining.refuse_new()
        self._unfinished.check()
        if self._limits.min_free_space:
            await self._in_thread(self._store.check_space, announced.file_size)
        session = Session(
            id=new_upload_id(),
            file_id=new_file_id(),
            announced=announced,
            chunk_size=self._limits.chunk_size,
            created_at=round(time.time(), 3),
        )
        session = _changed(session, await self._hooks.before_create(_upload_of(session)))
        session = await self._in_thread(self._sessions.create, session)
        self._unfinished.add()
        self._metrics.uploads_created.inc()
        await self._hooks.after_create(replace(_upload_of(session), offset=0))
        log.info(LogEvent("UploadCreated", id=session.id, size=announced.file_size, chunks=session.chunk_count))
        return session

    # --- chunks ---

    async def put(self, upload_id: str, number: int, checksum: str, body: Body) -> None:
        """Receive a chunk whose SHA-256 (hexadecimal) is `checksum`; it counts when this returns.

        The same chunk again is read and forgotten. Whoever sends a chunk that is being sent already takes its place.
        """
        self._draining.refuse_new()
        session = await self._find_open(upload_id)
        check_chunk(session, number, body.length)
        digest = bytes.fromhex(checksum)
        interrupted = UploadError(errors.UPLOAD_INTERRUPTED)
        async with self._hold_chunk(session, number, body, interrupted) as (data, marks):
            marked = await self._in_thread(self._sessions.digest_of, marks.descriptor, number)
            if marked is not None:
                if marked != digest:
                    raise UploadError(errors.CHUNK_EXISTS, chunk=number)
                with self._draining.receiving(body):
                    await _drain(body)
                return
            receiver = self._sessions.receiver(session, number, data.descriptor)
            with self._draining.receiving(body):
                await receive_body(receiver, body, self._in_body_thread)
            self._metrics.bytes_received.inc(receiver.position - receiver.start)
            if body.ended_early is not None:
                raise body.ended_early
            if receiver.digest() != digest:
                raise UploadError(errors.CHUNK_CHECKSUM_MISMATCH, chunk=number)
            await self._in_thread(self._sessions.mark, session, marks.descriptor, number, digest, data.descriptor)
        log.info(LogEvent("ChunkReceived", id=upload_id, chunk=number, bytes=receiver.position - receiver.start))
        self._assembly.follow(session)

    @asynccontextmanager
    async def _hold_chunk(
        self, session: Session, number: int, body: Body, error: UploadError
    ) -> AsyncIterator[tuple[Hold, Hold]]:
        def on_wanted() -> None:
            body.interrupt(error, GRACE)

        timeout = self._limits.lock_timeout
        data, marks = self._sessions.data_path(session.id), self._sessions.marks_path(session.id)
        async with AsyncExitStack() as stack:
            try:
                whole = await stack.enter_async_context(
                    self._state.hold(session.id, str(data), shared=True, timeout=timeout, on_wanted=on_wanted)
                )
                slot = await stack.enter_async_context(
                    self._state.hold(session.id, str(marks), slot=number, timeout=timeout, on_wanted=on_wanted)
                )
            except UploadError as problem:
                if problem.problem is errors.UPLOAD_NOT_FOUND:
                    await self._find_open(session.id)  # says what has become of it
                raise
            yield whole, slot

    # --- looking ---

    async def status(self, upload_id: str) -> Progress:
        """How far an upload is, in chunks or by tus; a finished one gets a record by being asked about."""
        try:
            session = await self._find(upload_id)
            marked = await self._in_thread(self._sessions.marked, session)
        except UploadError as error:
            if error.problem is not errors.UPLOAD_NOT_FOUND:
                raise
            return await self._status_without_session(upload_id)
        return Progress(
            upload_id,
            self._status_of(session),
            session.announced.owner_id,
            session.chunk_count,
            uploaded=tuple(sorted(marked)),
            missing=session.missing(marked),
        )

    def _status_of(self, session: Session) -> Status:
        if session.failure is not None:
            return Status.FAILED
        return Status.ASSEMBLING if session.id in self._completing else Status.UPLOADING

    async def _status_without_session(self, upload_id: str) -> Progress:
        record = await self._in_thread(self._known_record, upload_id)
        if record is None:
            upload = await self._uploads.find(upload_id)
            if not upload.is_complete or upload.is_partial:
                return Progress(upload_id, Status.UPLOADING, upload.metadata.get("ownerId") or OWNER, 0)
            record = await self.record_of(upload_id)
        count = record.chunk_count or 0
        return Progress(upload_id, record.status, record.owner_id, count, tuple(range(count)), file_id=record.id)

    async def record_of(self, upload_id: str) -> FileRecord:
        """The file that a complete upload has become. Raises 404, and 409 for one that is not complete."""
        record = await self._in_thread(self._known_record, upload_id)
        if record is not None:
            return record
        try:
            await self._find(upload_id)
        except UploadError as error:
            if error.problem is not errors.UPLOAD_NOT_FOUND:
                raise
        else:
            raise UploadError(errors.FILE_NOT_READY, file_status=Status.UPLOADING.value)
        upload = await self._uploads.finished(upload_id)
        return await self._in_thread(self._records.load, upload.file_id or "")

    def _known_record(self, upload_id: str) -> FileRecord | None:
        file_id = self._store.file_id_of(upload_id)
        return self._records.load(file_id) if file_id is not None and self._records.exists(file_id) else None

    async def _find(self, upload_id: str) -> Session:
        """Raises 404, and 410 once its time is over."""
        session = await self._in_thread(self._sessions.load, upload_id)
        if self._is_due(session):
            raise UploadError(errors.UPLOAD_EXPIRED)
        return session

    async def _find_open(self, upload_id: str) -> Session:
        """A session that takes chunks; raises 409 for an upload that is complete, has failed, or is not in chunks."""
        try:
            session = await self._find(upload_id)
        except UploadError as error:
            if error.problem is not errors.UPLOAD_NOT_FOUND:
                raise
            upload = await self._uploads.find(upload_id)
            raise UploadError(errors.UPLOAD_COMPLETE if upload.protocol == CHUNKS else errors.NOT_CHUNKED) from None
        if session.failure is not None:
            raise UploadError(errors.UPLOAD_FAILED, reason=session.failure)
        return session

    # --- completing ---

    async def complete(self, upload_id: str) -> FileRecord:
        """Verify the whole file and make an upload of it that counts; said again, the answer is the same.

        It goes on when the client does not wait for it.
        """
        self._draining.refuse_new()
        task = self._completing.get(upload_id)
        if task is None:
            task = asyncio.create_task(self._complete(upload_id))
            self._completing[upload_id] = task
            task.add_done_callback(lambda _: self._completing.pop(upload_id, None))
        return await asyncio.shield(task)

    async def _complete(self, upload_id: str) -> FileRecord:
        try:
            session = await self._find(upload_id)
            _check_all_here(session, await self._in_thread(self._sessions.marked, session))
            data = self._sessions.data_path(upload_id)
            async with self._state.hold(upload_id, str(data), timeout=self._limits.lock_timeout):
                return await self._assemble(await self._find(upload_id))
        except UploadError as error:
            if error.problem is not errors.UPLOAD_NOT_FOUND:
                raise
        return await self._completed_before(upload_id)

    async def _completed_before(self, upload_id: str) -> FileRecord:
        upload = await self._uploads.find(upload_id)
        if upload.protocol != CHUNKS:
            raise UploadError(errors.NOT_CHUNKED)
        return await self.record_of(upload_id)

    async def _assemble(self, session: Session) -> FileRecord:
        """Under the hold on all of it. Every step may have been done before, by a server that was killed."""
        if not await self._in_thread(self._records.exists, session.file_id):
            if session.failure is not None:
                raise UploadError(errors.FILE_CHECKSUM_MISMATCH)
            _check_all_here(session, await self._in_thread(self._sessions.marked, session))
            await self._verify(session)
            upload = await self._in_copy_thread(
                self._store.adopt, _upload_of(session), self._sessions.data_path(session.id)
            )
            await self._hooks.before_finish(upload)
            await self._hooks.after_finish(upload)
            await self._finishing.add(_record_of(session, upload))
            self._metrics.uploads_finished.inc()
            log.info(LogEvent("UploadFinished", id=session.id, size=session.announced.file_size))
        self._assembly.forget(session.id)
        await self._in_thread(self._sessions.remove, session.id)
        self._unfinished.remove()
        return await self._in_thread(self._records.load, session.file_id)

    async def _verify(self, session: Session) -> None:
        """Compare the file with what was announced; chunks that turn out to be damaged are missing again."""
        if await self._assembly.digest(session) == session.announced.checksum:
            return
        self._assembly.forget(session.id)
        damaged = await self._in_copy_thread(self._sessions.unmark_damaged, session)
        if damaged:
            log.error(LogEvent("ChunksDamaged", id=session.id, count=len(damaged)))
            raise ChunksMissing(damaged)
        if await self._assembly.digest(session) == session.announced.checksum:
            return  # what was read before has been repaired since, through another process
        await self._in_thread(self._sessions.fail, session, "checksum")
        log.info(LogEvent("UploadFailed", id=session.id, reason="checksum"))
        raise UploadError(errors.FILE_CHECKSUM_MISMATCH)

    # --- ending ---

    async def terminate(self, upload_id: str) -> None:
        """Remove an upload in any state, by whichever protocol it came, and the file it has become."""
        try:
            await self._terminate(await self._in_thread(self._sessions.load, upload_id))
        except UploadError as error:
            if error.problem is not errors.UPLOAD_NOT_FOUND:
                raise
            await self._uploads.terminate(upload_id)  # perhaps it has become a file just now

    async def _terminate(self, session: Session) -> None:
        upload = replace(_upload_of(session), offset=0)
        await self._hooks.before_terminate(upload)
        await self._remove(session, self._limits.lock_timeout)
        self._metrics.uploads_terminated.inc()
        log.info(LogEvent("UploadTerminated", id=session.id))
        await self._hooks.after_terminate(upload)

    async def count_unfinished(self, *, expire: bool) -> int:
        """The number of sessions; with `expire`, those go whose time is over and which nobody works on."""
        await self._in_thread(self._sessions.sweep)
        count = 0
        for upload_id in await self._in_thread(lambda: list(self._sessions.upload_ids())):
            try:
                session = await self._in_thread(self._sessions.load, upload_id)
                if await self._in_thread(self._records.exists, session.file_id):
                    await self._remove(session, timeout=0, with_file=False)  # which a killed server had left to do
                elif expire and self._is_due(session):
                    self._uploads.remember_expired(upload_id)  # nobody is to find nothing in between
                    await self._remove(session, timeout=0)
                    self._metrics.uploads_expired.inc()
                    log.info(LogEvent("UploadExpired", id=upload_id))
                else:
                    count += 1
            except UploadError:
                count += 1  # in use, or gone by now
        return count

    async def _remove(self, session: Session, timeout: float, *, with_file: bool = True) -> None:
        """Forget a session and, `with_file`, what a server that was killed in the end has made of it."""
        data = self._sessions.data_path(session.id)
        async with self._state.hold(session.id, str(data), timeout=timeout):
            if with_file:
                await self._finishing.forget(session.file_id)
                await self._in_thread(self._store.withdraw_adopted, session.id, data)
            await self._in_thread(self._sessions.remove, session.id)
        self._assembly.forget(session.id)
        self._unfinished.remove()

    def _is_due(self, session: Session) -> bool:
        limit = self._limits.expire_after
        return bool(limit) and time.time() >= session.changed_at + limit


def _check_all_here(session: Session, marked: dict[int, bytes]) -> None:
    if missing := session.missing(marked):
        raise ChunksMissing(missing)


def _changed(session: Session, upload: Upload) -> Session:
    """The session as hooks want it: they may choose the id, and say of the file what the client says."""
    announced = replace(
        session.announced,
        file_name=upload.metadata.get("filename") or session.announced.file_name,
        content_type=upload.metadata.get("filetype") or session.announced.content_type,
        owner_id=upload.metadata.get("ownerId") or session.announced.owner_id,
    )
    return replace(session, id=upload.id, announced=announced)


def _upload_of(session: Session) -> Upload:
    announced = session.announced
    return Upload(
        id=session.id,
        size=announced.file_size,
        metadata={"filename": announced.file_name, "filetype": announced.content_type, "ownerId": announced.owner_id},
        offset=announced.file_size,
        created_at=session.created_at,
        file_id=session.file_id,
        protocol=CHUNKS,
    )


def _record_of(session: Session, upload: Upload) -> FileRecord:
    announced = session.announced
    return FileRecord(
        id=session.file_id,
        upload_id=session.id,
        path=upload.path,
        file_name=announced.file_name,
        size=announced.file_size,
        content_type=announced.content_type,
        owner_id=announced.owner_id,
        created_at=session.created_at,
        completed_at=time.time(),
        checksum=announced.checksum,
        chunk_count=session.chunk_count,
    )


async def _drain(body: Body) -> None:
    """Read a body to its end and forget it, so that the client gets to read the answer."""
    async for _ in body.batches():
        pass
    if body.ended_early is not None:
        raise body.ended_early
