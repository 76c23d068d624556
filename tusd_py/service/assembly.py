"""The SHA-256 of whole files, computed while their chunks still come."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from contextlib import suppress

from tusd_py.core.errors import UploadError
from tusd_py.core.sessions import Session
from tusd_py.core.threads import InThread
from tusd_py.store.sessions import SessionStore

_REMEMBERED = 256
_TURN = 32 * 1024 * 1024
"""Bytes after which a thread serves another file."""


class _Progress:
    """The digest of a session's first `next_chunk` chunks; `has_news` says that one was marked since the last look."""

    def __init__(self) -> None:
        self.next_chunk = 0
        self.digest = hashlib.sha256()
        self.lock = asyncio.Lock()
        self.task: asyncio.Task[None] | None = None
        self.has_news = False


class Assembly:
    """Follows the chunks of each session in order, as far as they are marked, so that `complete` has little to do.

    A marked chunk never changes, so what was read once need not be read again.
    """

    def __init__(self, sessions: SessionStore, in_thread: InThread) -> None:
        self._sessions = sessions
        self._in_thread = in_thread
        self._progress: OrderedDict[str, _Progress] = OrderedDict()

    def follow(self, session: Session) -> None:
        """A chunk has been marked: go on in the background as far as that is possible now."""
        progress = self._of(session.id)
        progress.has_news = True
        if progress.task is None or progress.task.done():
            progress.task = asyncio.create_task(self._follow(session, progress))

    async def digest(self, session: Session) -> str:
        """The digest of the whole file, in hexadecimal; all its chunks are marked."""
        progress = self._of(session.id)
        await self._advance(session, progress)
        return progress.digest.hexdigest()

    def forget(self, upload_id: str) -> None:
        progress = self._progress.pop(upload_id, None)
        if progress is not None and progress.task is not None:
            progress.task.cancel()

    def _of(self, upload_id: str) -> _Progress:
        """One that is forgotten for others costs reading its file again."""
        progress = self._progress.setdefault(upload_id, _Progress())
        self._progress.move_to_end(upload_id)
        if len(self._progress) > _REMEMBERED:
            self.forget(next(iter(self._progress)))
        return progress

    async def _follow(self, session: Session, progress: _Progress) -> None:
        with suppress(UploadError):  # `complete` meets it as well, and has somebody to tell
            while progress.has_news:
                progress.has_news = False
                await self._advance(session, progress)

    async def _advance(self, session: Session, progress: _Progress) -> None:
        async with progress.lock:
            while await self._in_thread(self._read_on, session, progress):
                pass

    def _read_on(self, session: Session, progress: _Progress) -> bool:
        """Read for one turn; whether there may be more. After a failure, in the middle of a chunk, it starts anew."""
        rest = _TURN
        for number in self._sessions.marked_from(session, progress.next_chunk):
            if rest <= 0:
                return True
            try:
                self._sessions.read_chunk(session, number, progress.digest.update)
            except BaseException:
                progress.next_chunk, progress.digest = 0, hashlib.sha256()
                raise
            rest -= session.length_of(number)
            progress.next_chunk = number + 1
        return False
