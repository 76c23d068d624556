"""Sessions: which there are for a client, who may act on one, and the end of it."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.sessions import Session
from tusd_py.core.uploads import CHUNKS
from tusd_py.service.assembly import Assembly
from tusd_py.service.threads import Threads
from tusd_py.service.unfinished import Unfinished
from tusd_py.service.uploads import Uploads
from tusd_py.state import Hold, State
from tusd_py.store.sessions import SessionStore


class Sessions:
    """Finds sessions, and says what has become of one that is no more.

    One lives `expire_after` seconds (0: for ever) after its last chunk, and is waited for `lock_timeout` seconds.
    """

    def __init__(
        self,
        store: SessionStore,
        state: State,
        assembly: Assembly,
        uploads: Uploads,
        unfinished: Unfinished,
        in_thread: Threads,
        *,
        expire_after: float,
        lock_timeout: float,
    ) -> None:
        self._store = store
        self._state = state
        self._assembly = assembly
        self._uploads = uploads
        self._unfinished = unfinished
        self._in_thread = in_thread
        self._expire_after = expire_after
        self._lock_timeout = lock_timeout

    async def find(self, upload_id: str) -> Session | None:
        """None where there is none (the upload may have become a file). Raises 410 once its time is over."""
        try:
            session = await self._in_thread.near(self._store.place, self._store.load, upload_id)
        except UploadError as error:
            if error.problem is errors.UPLOAD_NOT_FOUND:
                return None
            raise
        if self.is_due(session):
            raise UploadError(errors.UPLOAD_EXPIRED)
        return session

    async def find_open(self, upload_id: str) -> Session:
        """A session that takes chunks; raises 409 for an upload that is complete, has failed, or is not in chunks."""
        session = await self.find(upload_id)
        if session is None:
            upload = await self._uploads.find(upload_id)
            raise UploadError(errors.UPLOAD_COMPLETE if upload.protocol == CHUNKS else errors.NOT_CHUNKED)
        if session.failure is not None:
            raise UploadError(errors.UPLOAD_FAILED, reason=session.failure)
        return session

    def is_due(self, session: Session) -> bool:
        """Whether its time is over."""
        return bool(self._expire_after) and time.time() >= session.changed_at + self._expire_after

    def hold(
        self, upload_id: str, *, shared: bool = False, timeout: float | None = None
    ) -> AbstractAsyncContextManager[Hold]:
        """Hold all of a session; see `State.hold`."""
        timeout = self._lock_timeout if timeout is None else timeout
        return self._state.hold(upload_id, str(self._store.data_path(upload_id)), shared=shared, timeout=timeout)

    async def remove(self, session: Session) -> None:
        """The end of a session, whatever has become of it; under the hold on all of it."""
        self._assembly.forget(session.id)
        await self._in_thread(self._store.remove, session.id)
        self._unfinished.remove()
