"""Who is told what has become of a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tusd_py.core.errors import UploadError
from tusd_py.core.hook_events import NO_REQUEST, Event, HookCall
from tusd_py.core.records import FileRecord, Status, public_fields
from tusd_py.core.threads import InThread
from tusd_py.core.uploads import Upload
from tusd_py.service.files import Files
from tusd_py.service.hooks import Hooks
from tusd_py.store.filesystem import FilesystemStore

EVENTS = {
    Status.READY: Event.FILE_READY,
    Status.QUARANTINED: Event.FILE_QUARANTINED,
    Status.FAILED: Event.FILE_FAILED,
}


class Telling:
    """Puts on disk what hooks and the webhook will be told; what is said again after a crash has the same id.

    `public_url` is how the outside calls this server, for links; without it they are paths.
    """

    def __init__(
        self,
        store: FilesystemStore,
        files: Files,
        hooks: Hooks,
        send_webhook: Callable[[HookCall], None] | None,
        in_thread: InThread,
        *,
        public_url: str,
        base_path: str,
    ) -> None:
        self._store = store
        self._files = files
        self._hooks = hooks
        self._send_webhook = send_webhook
        self._in_thread = in_thread
        self._place = public_url.rstrip("/") + base_path

    async def __call__(self, record: FileRecord) -> None:
        event = EVENTS.get(record.status)
        if event is None or not (self._hooks.is_on or self._send_webhook):
            return
        upload = await self._upload_of(record)
        if record.status is Status.READY and record.request is not None:
            await self._hooks.after_ready(upload, record.request)
        begun_at = record.reopened_at or record.completed_at
        call_id = f"{record.id}-{event}-{int(1000 * begun_at)}"
        document = public_fields(record)
        await self._hooks.after_settling(event, upload, call_id, document)
        if self._send_webhook is not None:
            call = HookCall(call_id, event, upload, NO_REQUEST, file=document, happened_at=time.time())
            await self._in_thread(self._send_webhook, call)

    async def _upload_of(self, record: FileRecord) -> Upload:
        try:
            return await self._in_thread(self._store.load, record.upload_id)
        except UploadError:  # its bytes are in quarantine
            metadata = {"filename": record.file_name, "filetype": record.content_type}
            return Upload(record.upload_id, record.size, metadata, offset=record.size, file_id=record.id)

    def with_links(self, call: HookCall) -> HookCall:
        """The call as it is sent: of a ready file it has links, which are made for each attempt to have all their time.

        A receiver may have been away for longer than a link lives.
        """
        if call.file is None or call.event is not Event.FILE_READY:
            return call
        file: dict[str, Any] = dict(call.file)
        sizes = [each["size"] for each in file["thumbnails"]]
        return replace(call, file=file | self._files.links(file["id"], sizes, self._place, None))
