"""Uploads as they are on the disk: how they are found, and held by who acts on them."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager

from tusd_py.core import errors, rules
from tusd_py.core.body import Body
from tusd_py.core.errors import UploadError
from tusd_py.core.threads import Near
from tusd_py.core.uploads import Upload
from tusd_py.service.appending import Limits
from tusd_py.service.finishing import Finishing
from tusd_py.state import Hold, State
from tusd_py.store.filesystem import FilesystemStore

GRACE = 0.25
"""Seconds in which a request that is wanted away may still come to its end."""


class Finding:
    """Looks uploads up, and holds them for `limits.lock_timeout` seconds of waiting at most."""

    def __init__(self, store: FilesystemStore, state: State, limits: Limits, finishing: Finishing, near: Near) -> None:
        self._store = store
        self._state = state
        self._limits = limits
        self._finishing = finishing
        self._near = near

    async def find(self, upload_id: str) -> Upload:
        """The upload as it is on disk, without a hold.

        Raises 404, 410 once its time is over, and 503 while the disk is away.
        """
        try:
            upload = await self.load(upload_id)
        except UploadError as error:
            if error.problem is errors.UPLOAD_NOT_FOUND:
                await self._near(self._store.place, self._store.check_presence)
                if await self._state.is_buried(upload_id):
                    raise UploadError(errors.UPLOAD_EXPIRED) from None
                await self._finishing.explain_missing(upload_id)
            raise
        self.check_expiry(upload)
        return upload

    async def load(self, upload_id: str, hold: Hold | None = None) -> Upload:
        """The upload as it is on disk, whatever its age. Its data may be elsewhere than what describes it."""
        upload = await self._near(self._store.place, self._store.describe, upload_id)
        return await self._near(upload.path, self._store.measure, upload, hold.descriptor if hold else None)

    def hold(
        self,
        upload: Upload,
        *,
        wanting: Body | None = None,
        error: UploadError | None = None,
        timeout: float | None = None,
    ) -> AbstractAsyncContextManager[Hold]:
        """Hold the upload; while a body is received, a newcomer ends it with `error`."""

        def on_wanted() -> None:
            if wanting is not None and error is not None:
                wanting.interrupt(error, GRACE)

        def on_lost() -> None:
            if wanting is not None:
                wanting.interrupt(UploadError(errors.STATE_UNAVAILABLE), 0)

        timeout = self._limits.lock_timeout if timeout is None else timeout
        return self._state.hold(upload.id, upload.path, timeout=timeout, on_wanted=on_wanted, on_lost=on_lost)

    # --- expiry ---

    def expires_at(self, upload: Upload) -> float | None:
        return rules.expires_at(upload, self._limits.expire_after)

    def check_expiry(self, upload: Upload) -> None:
        rules.check_expiry(upload, self._limits.expire_after, time.time())

    def is_due(self, upload: Upload) -> bool:
        """Whether its time is over."""
        expires_at = self.expires_at(upload)
        return expires_at is not None and time.time() >= expires_at
