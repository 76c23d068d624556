"""Final uploads, made of partial ones (tus concatenation)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tusd_py.core import errors, rules
from tusd_py.core.body import Body
from tusd_py.core.errors import UploadError
from tusd_py.core.threads import InThread
from tusd_py.core.uploads import Upload
from tusd_py.service.appending import Limits
from tusd_py.service.complete_uploads import CompleteUploads
from tusd_py.service.draining import Draining
from tusd_py.service.finding import Finding
from tusd_py.service.hooks import Hooks
from tusd_py.store.filesystem import FilesystemStore


class Concatenating:
    """`announce` is called with each final upload and its address when it is there."""

    def __init__(
        self,
        store: FilesystemStore,
        finding: Finding,
        complete: CompleteUploads,
        limits: Limits,
        hooks: Hooks,
        draining: Draining,
        in_copy_thread: InThread,
        announce: Callable[[Upload, str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._finding = finding
        self._complete = complete
        self._limits = limits
        self._hooks = hooks
        self._draining = draining
        self._in_copy_thread = in_copy_thread
        self._announce = announce

    async def concatenate(self, upload: Upload, body: Body, url_of: Callable[[str], str]) -> Upload:
        """Make a final upload of the parts it names; it is there when it is whole.

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
            self._complete.named(upload),
            parts,
            stop_requested=lambda: self._draining.has_begun or body.stop_requested,
        )
        await self._announce(final, url_of(final.id))
        final = await self._complete.finish(final, was_complete=False)
        self._complete.remember_settled(final)
        return final

    async def _find_part(self, part: str) -> Upload:
        try:
            return await self._finding.find(part)
        except UploadError as error:
            if self._limits.strict and error.problem in (errors.UPLOAD_NOT_FOUND, errors.UPLOAD_EXPIRED):
                raise UploadError(errors.INVALID_CONCAT) from None
            raise
