"""How far an upload is, and which file it has become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.records import OWNER, FileRecord, Status
from tusd_py.core.sessions import Session
from tusd_py.service.completing import Completing
from tusd_py.service.files import Files
from tusd_py.service.sessions import Sessions
from tusd_py.service.threads import Threads
from tusd_py.service.uploads import Uploads
from tusd_py.store.sessions import SessionStore


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


class Reporting:
    """Looks at uploads of both protocols, from their first byte to what has become of them."""

    def __init__(
        self,
        sessions: Sessions,
        session_store: SessionStore,
        uploads: Uploads,
        files: Files,
        completing: Completing,
        in_thread: Threads,
    ) -> None:
        self._sessions = sessions
        self._session_store = session_store
        self._uploads = uploads
        self._files = files
        self._completing = completing
        self._in_thread = in_thread

    async def status(self, upload_id: str) -> Progress:
        """How far an upload is, in chunks or by tus; a finished one gets a record by being asked about."""
        session = await self._sessions.find(upload_id)
        if session is not None:
            try:
                marked = await self._in_thread(self._session_store.marked, session)
            except UploadError as error:
                if error.problem is not errors.UPLOAD_NOT_FOUND:  # it has become a file just now
                    raise
            else:
                uploaded, missing = tuple(sorted(marked)), session.missing(marked)
                status, owner = await self._status_of(session, missing), session.announced.owner_id
                return Progress(upload_id, status, owner, session.chunk_count, uploaded, missing)
        record = await self._files.of_upload(upload_id)
        if record is None:
            upload = await self._uploads.find(upload_id)
            if not upload.is_complete or upload.is_partial:
                return Progress(upload_id, Status.UPLOADING, upload.metadata.get("ownerId") or OWNER, 0)
            record = await self.record_of(upload_id)
        count = record.chunk_count or 0
        return Progress(upload_id, record.status, record.owner_id, count, tuple(range(count)), file_id=record.id)

    async def _status_of(self, session: Session, missing: Sequence[int]) -> Status:
        """A session that is whole is being assembled while somebody has it alone, wherever that is."""
        if session.failure is not None:
            return Status.FAILED
        if missing:
            return Status.UPLOADING
        return Status.ASSEMBLING if await self._completing.is_running(session.id) else Status.UPLOADING

    async def record_of(self, upload_id: str) -> FileRecord:
        """The file that a complete upload has become. Raises 404, and 409 for one that is not complete."""
        record = await self._files.of_upload(upload_id)
        if record is not None:
            return record
        if await self._sessions.find(upload_id) is not None:
            raise UploadError(errors.FILE_NOT_READY, file_status=Status.UPLOADING.value)
        upload = await self._uploads.finished(upload_id)
        return await self._files.load(upload.file_id or "")
