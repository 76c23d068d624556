"""Uploads in numbered chunks: their beginning, and each chunk."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from tusd_py.core import errors
from tusd_py.core.body import Body
from tusd_py.core.chunks import MOST_CHUNKS, Initiation
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.records import new_file_id
from tusd_py.core.sessions import Session, changed_by_hooks, check_chunk, upload_of
from tusd_py.service.assembly import Assembly
from tusd_py.service.draining import Draining
from tusd_py.service.finding import GRACE
from tusd_py.service.hooks import Hooks
from tusd_py.service.metrics import Metrics
from tusd_py.service.receiving import receive_body
from tusd_py.service.sessions import Sessions
from tusd_py.service.threads import Threads
from tusd_py.service.unfinished import Unfinished
from tusd_py.service.uploads import new_upload_id
from tusd_py.state import Hold, State
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.sessions import SessionStore

log = logging.getLogger("tusd_py")


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """Sizes in bytes (of `min_free_space`, 0 means none is kept), the time in seconds."""

    chunk_size: int = 5 * 1024 * 1024
    lock_timeout: float = 20.0
    min_free_space: int = 0


class Chunks:
    """Begins sessions and receives their chunks.

    A chunk is received under a shared hold on its session and one of its own on its slot; what ends a session holds
    all of it, so that no byte changes after it was verified.
    """

    def __init__(
        self,
        sessions: Sessions,
        session_store: SessionStore,
        store: FilesystemStore,
        state: State,
        assembly: Assembly,
        hooks: Hooks,
        draining: Draining,
        unfinished: Unfinished,
        metrics: Metrics,
        limits: ChunkLimits,
        file_threads: Threads,
        body_threads: Threads,
    ) -> None:
        self._sessions = sessions
        self._session_store = session_store
        self._store = store
        self._state = state
        self._assembly = assembly
        self._hooks = hooks
        self._draining = draining
        self._unfinished = unfinished
        self._metrics = metrics
        self._limits = limits
        self._in_thread = file_threads
        self._in_body_thread = body_threads

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
        session = changed_by_hooks(session, await self._hooks.before_create(upload_of(session)))
        session = await self._in_thread(self._session_store.create, session)
        self._unfinished.add()
        self._metrics.uploads_created.inc()
        await self._hooks.after_create(replace(upload_of(session), offset=0))
        log.info(LogEvent("UploadCreated", id=session.id, size=announced.file_size, chunks=session.chunk_count))
        return session

    async def put(self, upload_id: str, number: int, checksum: str, body: Body) -> None:
        """Receive a chunk whose SHA-256 (hexadecimal) is `checksum`; it counts when this returns.

        The same chunk again is read and forgotten. Whoever sends a chunk that is being sent already takes its place.
        """
        self._draining.refuse_new()
        session = await self._sessions.find_open(upload_id)
        check_chunk(session, number, body.length)
        digest = bytes.fromhex(checksum)
        async with self._hold_chunk(session, number, body) as (data, marks):
            marks_path = str(self._session_store.marks_path(session.id))
            marked = await self._in_thread.near(marks_path, self._session_store.digest_of, marks.descriptor, number)
            if marked is not None:
                if marked != digest:
                    raise UploadError(errors.CHUNK_EXISTS, chunk=number)
                with self._draining.receiving(body):
                    await _drain(body)
                return
            receiver = self._session_store.receiver(session, number, data.descriptor)
            with self._draining.receiving(body):
                await receive_body(receiver, body, self._in_body_thread, str(self._session_store.data_path(session.id)))
            self._metrics.bytes_received.inc(receiver.position - receiver.start)
            if body.ended_early is not None:
                raise body.ended_early
            if receiver.digest() != digest:
                raise UploadError(errors.CHUNK_CHECKSUM_MISMATCH, chunk=number)
            marking = self._session_store.marking(marks.descriptor, number, digest, data.descriptor)
            await self._in_thread.follow(marks_path, marking)
        log.info(LogEvent("ChunkReceived", id=upload_id, chunk=number, bytes=receiver.position - receiver.start))
        self._assembly.follow(session)

    @asynccontextmanager
    async def _hold_chunk(self, session: Session, number: int, body: Body) -> AsyncIterator[tuple[Hold, Hold]]:
        interrupted = UploadError(errors.UPLOAD_INTERRUPTED)

        def on_wanted() -> None:
            body.interrupt(interrupted, GRACE)

        def on_lost() -> None:
            body.interrupt(UploadError(errors.STATE_UNAVAILABLE), 0)

        hold = partial(self._state.hold, timeout=self._limits.lock_timeout, on_wanted=on_wanted, on_lost=on_lost)
        data, marks = self._session_store.data_path(session.id), self._session_store.marks_path(session.id)
        async with AsyncExitStack() as stack:
            try:
                whole = await stack.enter_async_context(hold(session.id, str(data), shared=True))
                slot = await stack.enter_async_context(hold(session.id, str(marks), slot=number))
            except UploadError as problem:
                if problem.problem is errors.UPLOAD_NOT_FOUND:
                    await self._sessions.find_open(session.id)  # says what has become of it
                raise
            yield whole, slot


async def _drain(body: Body) -> None:
    """Read a body to its end and forget it, so that the client gets to read the answer."""
    async for _ in body.batches():
        pass
    if body.ended_early is not None:
        raise body.ended_early
