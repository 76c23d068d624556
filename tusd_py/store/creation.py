"""How uploads come to be: empty, as the sum of their parts, or of a file that is there already."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.threads import Steps
from tusd_py.core.uploads import Upload
from tusd_py.store.concatenation import append_file
from tusd_py.store.data_files import adopt_data, claimed_data_file, forget_copy, is_adopted, place_data, with_parents
from tusd_py.store.descriptions import Descriptions
from tusd_py.store.durability import Promise
from tusd_py.store.layout import Layout
from tusd_py.store.system_errors import problem_of, system_errors_translated
from tusd_py.store.workspace import Entry, Workspace, sync_file, sync_names


class Creation:
    """The `.info` comes last: what a crash leaves before it is garbage, which the next sweep removes.

    `check_space` raises where there is no room for so many bytes.
    """

    def __init__(
        self,
        layout: Layout,
        workspace: Workspace,
        descriptions: Descriptions,
        promise: Promise,
        check_space: Callable[[int], None],
        *,
        file_mode: int,
        directory_mode: int,
    ) -> None:
        self._layout = layout
        self._workspace = workspace
        self._descriptions = descriptions
        self._promise = promise
        self._check_space = check_space
        self._file_mode = file_mode
        self._directory_mode = directory_mode

    def creating(self, upload: Upload) -> Steps[Upload]:
        """Make an empty upload. Raises 400 ERR_UPLOAD_EXISTS for a taken id; after a crash it is whole or garbage.

        The data is put at `path`, which may be relative to the upload directory, where the upload has one.
        """
        path, info_path = self._layout.place_of(upload), self._layout.info_path(upload.id)
        with system_errors_translated(missing=errors.STORE_UNAVAILABLE), self._workspace.entry(upload.id) as info:
            created = self._descriptions.write(info, upload, path)
            if self._promise.flushes:
                yield partial(os.fsync, info.descriptor)
            is_ours = path == self._layout.place + upload.id
            with claimed_data_file(path, info_path, self._file_mode, self._directory_mode, may_be_left=is_ours):
                self._with_parents(info_path, info.publish)
            self._descriptions.remember(created, info.descriptor)
            if self._promise.covers(created):
                yield partial(sync_names, path, info_path)
        return created

    def concatenate(
        self, upload: Upload, parts: Sequence[Upload], stop_requested: Callable[[], bool] = lambda: False
    ) -> Upload:
        """Make a final upload of its parts' bytes (tus concatenation).

        It appears when it is whole, and durable by policy.
        """
        path = self._layout.place_of(upload)
        size = sum(part.offset for part in parts)
        with (
            system_errors_translated(missing=errors.STORE_UNAVAILABLE),
            self._workspace.entry(upload.id) as data,
            self._workspace.entry(upload.id) as info,
        ):
            self._check_space(size)
            for part in parts:
                try:
                    append_file(data.descriptor, Path(part.path), part.offset, stop_requested)
                except FileNotFoundError:
                    raise UploadError(errors.INVALID_CONCAT) from None
            if self._promise.flushes:
                os.fsync(data.descriptor)
            created = self._descriptions.write_durably(info, replace(upload, size=size, offset=size), path)

            def place(at: str) -> None:
                place_data(data, at, self._file_mode, stop_requested, durable=self._promise.flushes)

            self._with_parents(path, place)
            self._publish_info(info, upload.id, path)
        return created

    def adopt(self, upload: Upload, source: Path) -> Upload:
        """Make a complete upload of a file that is whole, without copying it; the file keeps its own name as well.

        Durable by policy. After a crash it is called again, and goes on from what is there.
        """
        path, info_path = self._layout.place_of(upload), self._layout.info_path(upload.id)
        with system_errors_translated(missing=errors.STORE_UNAVAILABLE), self._workspace.entry(upload.id) as info:
            created = self._descriptions.write_durably(info, replace(upload, size=upload.offset), path)
            if self._has_adopted(upload):
                if self._promise.flushes:
                    sync_names(path, info_path)
            else:
                if self._promise.flushes:
                    sync_file(source)

                def adopt(at: str) -> None:
                    adopt_data(source, Path(at), self._file_mode, durable=self._promise.flushes)

                self._with_parents(path, adopt)
                self._publish_info(info, upload.id, path)
            forget_copy(Path(path))
        return created

    def withdraw_adopted(self, upload: Upload, source: Path) -> None:
        """Take back what `adopt` has published of a file that is being removed before anybody was told of it."""
        path = Path(self._layout.place_of(upload))
        with system_errors_translated():
            if self._has_adopted(upload):
                self._descriptions.remove(upload.id)
                path.unlink(missing_ok=True)
            elif is_adopted(source, path):
                path.unlink()
            forget_copy(path)

    def _has_adopted(self, upload: Upload) -> bool:
        """Whether the upload's `.info` was published before, which comes last."""
        try:
            return upload.file_id is not None and self._descriptions.read(upload.id).file_id == upload.file_id
        except OSError as error:
            if problem_of(error) is errors.UPLOAD_NOT_FOUND:
                return False
            raise

    def _publish_info(self, info: Entry, upload_id: str, path: str) -> None:
        """Let an upload appear whose data is there; without its `.info` the data is garbage."""
        try:
            self._with_parents(self._layout.info_path(upload_id), info.link)
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(path)
            raise
        if self._promise.flushes:
            sync_names(path, self._layout.info_path(upload_id))

    def _with_parents(self, path: str, make: Callable[[str], None]) -> None:
        with_parents(path, self._directory_mode, make)
