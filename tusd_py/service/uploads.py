"""Uploads: create, append, look at, concatenate, terminate."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TypeVar

from tusd_py.core import errors, rules
from tusd_py.core.body import Body
from tusd_py.core.errors import UploadError
from tusd_py.core.log_event import LogEvent
from tusd_py.core.records import new_file_id
from tusd_py.core.rules import Append
from tusd_py.core.uploads import CHUNKS, Upload
from tusd_py.service.appending import Appender, Limits
from tusd_py.service.draining import Draining
from tusd_py.service.finishing import Finishing
from tusd_py.service.hook_changes import HookTrouble
from tusd_py.service.hooks import Hooks
from tusd_py.service.metrics import Metrics
from tusd_py.service.receiving import receive_body
from tusd_py.service.threads import Threads
from tusd_py.service.unfinished import Unfinished
from tusd_py.state import Hold, State
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.sessions import SessionStore

log = logging.getLogger("tusd_py")

GRACE = 0.25
"""Seconds in which a request that is wanted away may still come to its end."""

_REMEMBERED = 10_000

T = TypeVar("T")


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
        self._state = state
        self._metrics = metrics
        self._limits = limits
        self._in_thread = file_threads
        self._in_body_thread = body_threads
        self._in_copy_thread = copy_threads
        self._appender = Appender(store, limits)
        self._unfinished = unfinished
        self._finishing = finishing
        self._hooks = hooks
        self._draining = draining
        self._settled: OrderedDict[str, tuple[int | None, int]] = OrderedDict()

    # --- looking ---

    async def find(self, upload_id: str) -> Upload:
        """The upload as it is on disk, without a hold. Raises 404, and 410 once its time is over."""
        try:
            upload = await self._in_thread(self._store.load, upload_id)
        except UploadError as error:
            if error.problem is errors.UPLOAD_NOT_FOUND:
                if await self._state.is_buried(upload_id):
                    raise UploadError(errors.UPLOAD_EXPIRED) from None
                await self._finishing.explain_missing(upload_id)
            raise
        self._check_expiry(upload)
        return upload

    async def head(self, upload_id: str) -> Upload:
        """The offset from which a client is to go on: whoever still writes is asked to stop first (tus core, HEAD).

        What is said is as durable as the policy promises, also for bytes that a killed process has left.
        """
        if self._draining.has_begun:
            raise UploadError(errors.UPLOAD_LOCKED)
        upload = await self.find(upload_id)
        if upload.is_complete and self._is_settled(upload):
            return upload
        try:
            async with self._hold(upload) as hold:
                upload = await self._in_thread(self._store.load, upload_id, hold.descriptor)
                self._check_expiry(upload)
                if not self._is_settled(upload):
                    await self._in_thread(self._store.settle, upload, hold.descriptor)
                    upload = await self._finish(upload, was_complete=True)
                    self._remember_settled(upload)
        except HookTrouble:
            raise UploadError(errors.UPLOAD_LOCKED) from None  # a client must not take it for finished, nor start anew
        except UploadError as error:
            # What is complete on a directory that cannot be written to is as durable as it will ever be.
            if not (upload.is_complete and error.problem is errors.STORE_UNAVAILABLE):
                raise
        return upload

    async def finished(self, upload_id: str) -> Upload:
        """A complete upload with the file that it has become. Raises 409 for one that is not complete."""
        upload = await self.find(upload_id)
        if not upload.is_complete or upload.is_partial:
            raise UploadError(errors.FILE_NOT_READY, file_status="uploading")
        if await self._finishing.has_record(upload):
            return upload
        if upload.protocol == CHUNKS and await self._in_thread(self._sessions.exists, upload_id):
            raise UploadError(errors.FILE_NOT_READY, file_status="assembling")
        async with self._hold(upload) as hold:
            upload = await self._in_thread(self._store.load, upload_id, hold.descriptor)
            return await self._finishing.finish(await self._finish(upload, was_complete=True))

    async def open_for_reading(self, upload: Upload) -> int:
        return await self._in_thread(self._store.open_for_reading, upload)

    def expires_at(self, upload: Upload) -> float | None:
        return rules.expires_at(upload, self._limits.expire_after)

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
        created = await self._in_thread(self._store.create, self._named(upload))
        self._unfinished.add()
        self._count_created(created, url_of(created.id))
        await self._hooks.after_create(created)
        created = await self._finish(created, was_complete=False)
        self._remember_settled(created)
        if append is None:
            return created
        try:
            return await self.append(created, append, body)
        except UploadError:
            if body.ended_early is None:
                await self._remove(created.id)
            raise

    async def concatenate(self, upload: Upload, body: Body, url_of: Callable[[str], str]) -> Upload:
        """Make a final upload of the parts it names (tus concatenation); it is there when it is whole.

        The work ends when the client goes.
        """
        self._draining.refuse_new()
        ids = upload.parts or ()
        await self._hooks.before_access("read", ids)
        found = {part: await self._find_part(part) for part in dict.fromkeys(ids)}
        parts = [found[part] for part in ids]
        rules.final_size(parts, partial_only=self._limits.strict, max_size=self._limits.max_size)
        upload = await self._hooks.before_create(upload)
        body.watch()
        final = await self._in_copy_thread(
            self._store.concatenate,
            self._named(upload),
            parts,
            stop_requested=lambda: self._draining.has_begun or body.stop_requested,
        )
        self._unfinished.add()
        self._count_created(final, url_of(final.id))
        await self._hooks.after_create(final)
        final = await self._finish(final, was_complete=False)
        self._remember_settled(final)
        return final

    async def _find_part(self, part: str) -> Upload:
        try:
            return await self.find(part)
        except UploadError as error:
            if self._limits.strict and error.problem in (errors.UPLOAD_NOT_FOUND, errors.UPLOAD_EXPIRED):
                raise UploadError(errors.INVALID_CONCAT) from None
            raise

    # --- appending ---

    async def append(self, upload: Upload, append: Append, body: Body) -> Upload:
        """Write the body at the upload's offset (tus core, PATCH) and return the upload as it is then.

        Of a body that ends early the received bytes are kept, unless they had to be verified; then its reason is
        raised.
        """
        self._draining.refuse_new()
        interrupted = UploadError(errors.UPLOAD_INTERRUPTED)
        async with self._hold(upload, wanting=body, error=interrupted) as hold:
            writing = await self._in_thread(self._appender.begin, upload.id, hold.descriptor, append, body.length)
            if writing.upload.file_id is None and not writing.before.is_complete:
                writing = replace(writing, upload=await self._in_thread(self._name, writing.upload))
            receiver = writing.receiver
            most = body.length or receiver.limit
            log.info(LogEvent("ChunkWriteStart", id=upload.id, maxSize=most, offset=receiver.start))
            refused: UploadError | None = None
            try:
                async with self._hooks.reporting(writing.upload, receiver, body):
                    with self._draining.receiving(body):
                        await receive_body(receiver, body, self._in_body_thread)
            except UploadError as error:
                refused = error
            ended_early = refused or body.ended_early
            if body.ended_early is not None:
                log.error(LogEvent("BodyReadError", id=upload.id, error=str(body.ended_early)))
            trailer = body.trailer("upload-checksum") if append.checksum_in_trailer else None
            after = await self._in_thread(self._appender.settle, writing, ended_early, trailer)
            self._metrics.bytes_received.inc(receiver.position - receiver.start)
            log.info(LogEvent("ChunkWriteComplete", id=upload.id, bytesWritten=receiver.position - receiver.start))
            after = await self._finish(after, was_complete=writing.before.is_complete)
            self._remember_settled(after)
        if ended_early is not None:
            if ended_early is interrupted:
                self._metrics.lock_takeovers.inc()
                log.info(LogEvent("UploadInterrupted", id=upload.id))
            if ended_early.problem is errors.UPLOAD_STOPPED:
                await self._remove(upload.id)
            raise ended_early
        return after

    # --- ending ---

    async def terminate(self, upload_id: str) -> None:
        """Remove an upload, finished or not (tus termination); whoever writes it is asked to stop first."""
        try:
            await self._remove(upload_id, asking=True)
        except UploadError as error:
            is_elsewhere = error.problem in (errors.FILE_QUARANTINED, errors.FILE_GONE)
            if not (is_elsewhere and await self._finishing.remove_remains(upload_id)):
                raise
            self._metrics.uploads_terminated.inc()
            log.info(LogEvent("UploadTerminated", id=upload_id))

    async def _remove(self, upload_id: str, *, asking: bool = False) -> None:
        upload = await self.find(upload_id)
        async with self._hold(upload) as hold:
            upload = await self._in_thread(self._store.load, upload_id, hold.descriptor)
            if asking:
                await self._hooks.before_terminate(upload)
            if upload.file_id is not None:
                await self._finishing.forget(upload.file_id)
            if upload.protocol == CHUNKS:  # which a server that was killed in the end may have left to complete
                await self._in_thread(self._sessions.remove, upload_id)
            await self._in_thread(self._store.remove, upload)
        self._settled.pop(upload_id, None)
        if not upload.is_complete:
            self._unfinished.remove()
        self._metrics.uploads_terminated.inc()
        log.info(LogEvent("UploadTerminated", id=upload_id))
        await self._hooks.after_terminate(upload)

    async def is_unfinished(self, upload_id: str, *, expire: bool) -> bool:
        """Whether the upload counts as unfinished.

        With `expire`, it is removed if its time is over and nobody works on it.
        """
        upload = await self._in_thread(self._store.load, upload_id)
        if upload.is_complete:
            return False
        if not expire or not self._is_due(upload):
            return True
        try:
            async with self._state.hold(upload_id, upload.path, timeout=0) as hold:
                upload = await self._in_thread(self._store.load, upload_id, hold.descriptor)
                if not self._is_due(upload):
                    return not upload.is_complete
                await self._state.bury(upload_id)  # nobody is to find nothing in between
                await self._in_thread(self._store.remove, upload)
        except UploadError:
            return True  # somebody works on it
        self._metrics.uploads_expired.inc()
        log.info(LogEvent("UploadExpired", id=upload_id))
        return False

    def _is_due(self, upload: Upload) -> bool:
        expires_at = self.expires_at(upload)
        return expires_at is not None and time.time() >= expires_at

    # --- what all of them do ---

    @contextlib.asynccontextmanager
    async def _hold(
        self, upload: Upload, wanting: Body | None = None, error: UploadError | None = None
    ) -> AsyncIterator[Hold]:
        """Hold the upload; while a body is received, a newcomer ends it with `error`."""

        def on_wanted() -> None:
            if wanting is not None and error is not None:
                wanting.interrupt(error, GRACE)

        def on_lost() -> None:
            if wanting is not None:
                wanting.interrupt(UploadError(errors.STATE_UNAVAILABLE), 0)

        timeout = self._limits.lock_timeout
        async with self._state.hold(
            upload.id, upload.path, timeout=timeout, on_wanted=on_wanted, on_lost=on_lost
        ) as hold:
            yield hold

    def _named(self, upload: Upload) -> Upload:
        """The upload with the id of the file that it will be, where a record is kept of each."""
        return replace(upload, file_id=new_file_id()) if self._is_to_be_file(upload) else upload

    def _name(self, upload: Upload) -> Upload:
        """The same for an upload that another server has begun."""
        return self._store.name_file(upload, new_file_id()) if self._is_to_be_file(upload) else upload

    async def _finish(self, upload: Upload, *, was_complete: bool) -> Upload:
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
            if upload.file_id is not None:
                await self._tell_finished(upload)
            upload = await self._finishing.finish(upload)
        elif was_complete:
            return upload
        elif upload.is_partial and not self._limits.strict:
            await self._tell_finished(upload)
        self._count_finished(upload)
        return upload

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

    def _is_to_be_file(self, upload: Upload) -> bool:
        return self._finishing.keeps_records and not upload.is_partial

    def _check_expiry(self, upload: Upload) -> None:
        rules.check_expiry(upload, self._limits.expire_after, time.time())

    def _is_settled(self, upload: Upload) -> bool:
        """Whether this process knows that the upload, as it is, is durable as promised and, if complete, finished."""
        return self._settled.get(upload.id) == (upload.size, upload.offset)

    def _remember_settled(self, upload: Upload) -> None:
        _remember(self._settled, upload.id, (upload.size, upload.offset))

    def _count_created(self, upload: Upload, url: str) -> None:
        self._metrics.uploads_created.inc()
        log.info(LogEvent("UploadCreated", id=upload.id, size=upload.size or 0, url=url))

    def _count_finished(self, upload: Upload) -> None:
        self._unfinished.remove()
        self._metrics.uploads_finished.inc()
        log.info(LogEvent("UploadFinished", id=upload.id, size=upload.size))


def _remember(ids: OrderedDict[str, T], upload_id: str, value: T) -> None:
    """Keep the newest ids of a kind; one that is forgotten costs a little work."""
    ids[upload_id] = value
    ids.move_to_end(upload_id)
    if len(ids) > _REMEMBERED:
        ids.popitem(last=False)
