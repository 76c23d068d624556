"""Uploads: create, append, look at; see beside for how they are found, finished, concatenated and removed."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable

from tusd_py.core import errors, rules
from tusd_py.core.body import Body
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.rules import Append
from tusd_py.core.threads import done
from tusd_py.core.uploads import CHUNKS, Upload
from tusd_py.service.appending import Appender, Limits, Writing
from tusd_py.service.complete_uploads import CompleteUploads
from tusd_py.service.concatenating import Concatenating
from tusd_py.service.draining import Draining
from tusd_py.service.finding import Finding
from tusd_py.service.finishing import Finishing
from tusd_py.service.hook_changes import HookTrouble
from tusd_py.service.hooks import Hooks
from tusd_py.service.metrics import Metrics
from tusd_py.service.receiving import receive_body
from tusd_py.service.removing import Removing
from tusd_py.service.threads import Threads
from tusd_py.service.unfinished import Unfinished
from tusd_py.state import Hold, State
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.sessions import SessionStore

log = logging.getLogger("tusd_py")


def new_upload_id() -> str:
    """128 random bits: who knows the id may write the upload, see its offset and terminate it."""
    return secrets.token_hex(16)


class Uploads:
    """The uploads of one store.

    Everything that changes one happens under its hold; every answer tells what is on disk.
    """

    def __init__(
        self,
        store: FilesystemStore,
        sessions: SessionStore,
        state: State,
        metrics: Metrics,
        limits: Limits,
        unfinished: Unfinished,
        finishing: Finishing,
        hooks: Hooks,
        draining: Draining,
        file_threads: Threads,
        body_threads: Threads,
        copy_threads: Threads,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._metrics = metrics
        self._limits = limits
        self._in_thread = file_threads
        self._near = file_threads.near
        self._body_threads = body_threads
        self._appender = Appender(store, limits)
        self._unfinished = unfinished
        self._finishing = finishing
        self._hooks = hooks
        self._draining = draining
        self._finding = Finding(store, state, limits, finishing, file_threads.near)
        self._complete = CompleteUploads(
            store, sessions, finishing, hooks, metrics, unfinished, file_threads, tells_of_partials=not limits.strict
        )
        removing = Removing(
            store, sessions, state, self._finding, self._complete, finishing, hooks, metrics, unfinished, file_threads
        )
        concatenating = Concatenating(
            store, self._finding, self._complete, limits, hooks, draining, copy_threads, self._announce
        )
        self.find = self._finding.find
        self.expires_at = self._finding.expires_at
        self.concatenate = concatenating.concatenate
        self.terminate = removing.terminate
        self.is_unfinished = removing.is_unfinished
        self._remove = removing.remove

    # --- looking ---

    async def head(self, upload_id: str) -> Upload:
        """The offset from which a client is to go on: whoever still writes is asked to stop first (tus core, HEAD).

        What is said is as durable as the policy promises, also for bytes that a killed process has left.
        """
        if self._draining.has_begun:
            raise UploadError(errors.UPLOAD_LOCKED)
        upload = await self.find(upload_id)
        if upload.is_complete and self._complete.is_settled(upload):
            return upload
        try:
            async with self._finding.hold(upload) as hold:
                upload = await self._finding.load(upload_id, hold)
                self._finding.check_expiry(upload)
                if not self._complete.is_settled(upload):
                    await self._in_thread(self._store.settle, upload, hold.descriptor)
                    upload = await self._complete.finish(upload, was_complete=True)
                    self._complete.remember_settled(upload)
        except HookTrouble:
            raise UploadError(errors.UPLOAD_LOCKED) from None  # a client must not take it for finished, nor start anew
        except UploadError as error:
            if not upload.is_complete or error.problem not in (errors.STORE_UNAVAILABLE, errors.STATE_UNAVAILABLE):
                raise
            # What is complete on a directory that cannot be written to is as durable as it will ever be.
            if error.problem is errors.STATE_UNAVAILABLE:
                await self._settle_finished(upload)
        return upload

    async def _settle_finished(self, upload: Upload) -> None:
        """Flush what nobody changes any more; raises 503 where more is to be done, for which a hold is needed."""
        if not await self._complete.is_finished(upload):
            raise UploadError(errors.STATE_UNAVAILABLE)
        descriptor = await self.open_for_reading(upload)
        try:
            await self._in_thread(self._store.settle, upload, descriptor)
        finally:
            os.close(descriptor)
        self._complete.remember_settled(upload)

    async def finished(self, upload_id: str) -> Upload:
        """A complete upload with the file that it has become. Raises 409 for one that is not complete."""
        upload = await self.find(upload_id)
        if not upload.is_complete or upload.is_partial:
            raise UploadError(errors.FILE_NOT_READY, file_status="uploading")
        if await self._finishing.has_record(upload):
            return upload
        if upload.protocol == CHUNKS and await self._in_thread(self._sessions.exists, upload_id):
            raise UploadError(errors.FILE_NOT_READY, file_status="assembling")
        async with self._finding.hold(upload) as hold:
            upload = await self._finding.load(upload_id, hold)
            return await self._finishing.finish(await self._complete.finish(upload, was_complete=True))

    async def open_for_reading(self, upload: Upload) -> int:
        return await self._near(upload.path, self._store.open_for_reading, upload)

    # --- creating ---

    async def create(self, upload: Upload, append: Append | None, body: Body, url_of: Callable[[str], str]) -> Upload:
        """Make an upload and, with `append`, take the first bytes from the body (tus creation, creation-with-upload).

        An upload whose body is refused is not left behind; one whose body broke off is, with the bytes that came.
        """
        self._draining.refuse_new()
        if upload.size is not None:
            rules.check_size(upload.size, self._limits.max_size)
        if append is not None:
            rules.plan_append(upload, append, body.length, self._limits.max_size)
        self._unfinished.check()
        upload = await self._hooks.before_create(upload)
        if self._limits.min_free_space:
            await self._in_thread(self._store.check_space, upload.size or 0)
        upload = self._complete.named(upload)
        created = await self._in_thread.follow(self._store.place_of(upload), self._store.creating(upload))
        await self._announce(created, url_of(created.id))
        created = await self._complete.finish(created, was_complete=False)
        self._complete.remember_settled(created)
        if append is None:
            return created
        try:
            return await self.append(created, append, body)
        except UploadError:
            if body.ended_early is None:
                await self._remove(created.id)
            raise

    async def _announce(self, upload: Upload, url: str) -> None:
        """Let everybody know of an upload that was not there before."""
        self._unfinished.add()
        self._metrics.uploads_created.inc()
        log.info(LogEvent("UploadCreated", id=upload.id, size=upload.size or 0, url=url))
        await self._hooks.after_create(upload)

    # --- appending ---

    async def append(self, upload: Upload, append: Append, body: Body) -> Upload:
        """Write the body at the upload's offset (tus core, PATCH) and return the upload as it is then.

        Of a body that ends early the received bytes are kept, unless they had to be verified; then its reason is
        raised.
        """
        self._draining.refuse_new()
        interrupted = UploadError(errors.UPLOAD_INTERRUPTED)
        async with self._finding.hold(upload, wanting=body, error=interrupted) as hold:
            writing = await self._begin(upload, hold, append, body)
            ended_early = await self._receive(writing, body)
            after = await self._settle(writing, ended_early, body)
            after = await self._complete.finish(after, was_complete=writing.before.is_complete)
            self._complete.remember_settled(after)
        if ended_early is not None:
            if ended_early is interrupted:
                self._metrics.lock_takeovers.inc()
                log.info(LogEvent("UploadInterrupted", id=upload.id))
            if ended_early.problem is errors.UPLOAD_STOPPED:
                await self._remove(upload.id)
            raise ended_early
        return after

    async def _begin(self, upload: Upload, hold: Hold, append: Append, body: Body) -> Writing:
        begin = self._appender.begin(upload.id, hold.descriptor, append, body.length)
        writing = await self._in_thread.follow(self._store.place, begin)
        if self._complete.needs_name(writing.upload) and not writing.before.is_complete:
            writing = writing.of(await self._complete.name(writing.upload))
        receiver = writing.receiver
        log.info(
            LogEvent("ChunkWriteStart", id=upload.id, maxSize=body.length or receiver.limit, offset=receiver.start)
        )
        return writing

    async def _receive(self, writing: Writing, body: Body) -> UploadError | None:
        """Write what comes; why it was not the whole body, if so."""
        upload = writing.upload
        refused: UploadError | None = None
        try:
            async with self._hooks.reporting(upload, writing.receiver, body):
                with self._draining.receiving(body):
                    await receive_body(writing.receiver, body, self._body_threads, upload.path)
        except UploadError as error:
            refused = error
        if body.ended_early is not None:
            log.error(LogEvent("BodyReadError", id=upload.id, error=str(body.ended_early)))
        return refused or body.ended_early

    async def _settle(self, writing: Writing, ended_early: UploadError | None, body: Body) -> Upload:
        trailer = body.trailer("upload-checksum") if writing.append.checksum_in_trailer else None
        steps = self._appender.settle(writing, ended_early, trailer)
        if writing.append.is_verified:
            after = await self._in_thread(done, steps)
        else:
            after = await self._in_thread.follow(writing.upload.path, steps)
        written = writing.receiver.position - writing.receiver.start
        self._metrics.bytes_received.inc(written)
        log.info(LogEvent("ChunkWriteComplete", id=after.id, bytesWritten=written))
        return after
