"""Which sessions there are for a client: those that are not over yet."""

from __future__ import annotations

import time

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.sessions import Session
from tusd_py.core.uploads import CHUNKS
from tusd_py.service.threads import Threads
from tusd_py.service.uploads import Uploads
from tusd_py.store.sessions import SessionStore


class Sessions:
    """Finds sessions, and says what has become of one that is no more; one lives `expire_after` seconds (0: for ever)
    after its last chunk.
    """

    def __init__(self, store: SessionStore, uploads: Uploads, in_thread: Threads, *, expire_after: float) -> None:
        self._store = store
        self._uploads = uploads
        self._in_thread = in_thread
        self._expire_after = expire_after

    async def find(self, upload_id: str) -> Session | None:
        """None where there is none (the upload may have become a file). Raises 410 once its time is over."""
        try:
            session = await self._in_thread(self._store.load, upload_id)
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
        return bool(self._expire_after) and time.time() >= session.changed_at + self._expire_after
