"""The filesystem store: tusd's layout, `<id>` and `<id>.info`, and our additions in the state directory."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from tusd_py.core import errors
from tusd_py.core.digests import ALGORITHMS
from tusd_py.core.errors import UploadError
from tusd_py.core.ids import is_upload_id
from tusd_py.core.info import CorruptInfo, decode_info
from tusd_py.core.threads import Steps
from tusd_py.core.uploads import Upload
from tusd_py.store.creation import Creation
from tusd_py.store.data_files import remove_unpublished
from tusd_py.store.descriptions import Descriptions
from tusd_py.store.durability import Durability, Promise
from tusd_py.store.layout import Layout
from tusd_py.store.receiver import Receiver
from tusd_py.store.system_errors import system_errors_translated
from tusd_py.store.unverified import UnverifiedMarks
from tusd_py.store.workspace import Workspace, sync_names

_HASH_STEP = 1024 * 1024


class FilesystemStore:
    """Uploads below `directory`. Modes are those of new files and directories, umask applied; spaces are in bytes.

    The `.info` of an upload is its commit point: it is published last and withdrawn first. Errors of the system come
    out as `UploadError`.
    """

    def __init__(
        self,
        directory: Path,
        state_directory: Path,
        *,
        file_mode: int,
        directory_mode: int,
        durability: Durability,
        min_free_space: int,
    ) -> None:
        layout = Layout(directory, state_directory)
        self._promise = promise = Promise(durability)
        self._min_free_space = min_free_space
        self._state_directory = state_directory
        self._workspace = Workspace(state_directory / "workspace", file_mode)
        self._descriptions = Descriptions(layout, self._workspace, durable=promise.flushes)
        self._unverified = UnverifiedMarks(state_directory / "unverified", durable=promise.flushes)
        creation = Creation(
            layout,
            self._workspace,
            self._descriptions,
            promise,
            self.check_space,
            file_mode=file_mode,
            directory_mode=directory_mode,
        )
        self.directory, self.place = layout.directory, layout.place
        self.info_path, self.place_of, self.is_place = layout.info_path, layout.place_of, layout.is_place
        self.upload_ids = layout.upload_ids
        self.creating, self.concatenate = creation.creating, creation.concatenate
        self.adopt, self.withdraw_adopted = creation.adopt, creation.withdraw_adopted

    # --- finding ---

    def load(self, upload_id: str, descriptor: int | None = None) -> Upload:
        """Read an upload as it is now; with its locked data file at hand, the size is taken from that."""
        return self.measure(self.describe(upload_id), descriptor)

    def describe(self, upload_id: str) -> Upload:
        """Read what is written down of an upload, and so without an offset."""
        if not is_upload_id(upload_id):
            raise UploadError(errors.UPLOAD_NOT_FOUND)
        with system_errors_translated():
            return self._descriptions.read(upload_id)

    def measure(self, upload: Upload, descriptor: int | None = None) -> Upload:
        """Look how many bytes a described upload has; see `load`."""
        with system_errors_translated():
            status, mark = self._stat(upload, descriptor)
        return _measured(upload, status, mark)

    def _stat(self, upload: Upload, descriptor: int | None) -> tuple[os.stat_result, int | None]:
        """The data file and the mark on it, from one moment: not a size with bytes of which the mark is gone by now."""
        if descriptor is not None:
            return os.fstat(descriptor), self._unverified.offset(upload.id)
        while True:
            status = os.stat(upload.path)
            mark = self._unverified.offset(upload.id)
            if mark is not None or os.stat(upload.path).st_size >= status.st_size:
                return status, mark

    def open_for_reading(self, upload: Upload) -> int:
        """A descriptor of the data file, for a download; the caller closes it."""
        with system_errors_translated():
            return os.open(upload.path, os.O_RDONLY)

    def file_id_of(self, upload_id: str) -> str | None:
        """Which file an upload has become, also when its bytes have been taken elsewhere; None if there is none."""
        if not is_upload_id(upload_id):
            return None
        try:
            with system_errors_translated():
                return self._descriptions.read(upload_id).file_id
        except UploadError as error:
            if error.problem is errors.UPLOAD_NOT_FOUND:
                return None
            raise

    def has_bytes(self, path: str, size: int) -> bool:
        """Whether a file is there with the size it is known to have."""
        with system_errors_translated():
            try:
                return os.stat(path).st_size == size
            except (FileNotFoundError, NotADirectoryError):
                return False

    # --- writing, under the upload's lock ---

    def beginning(self, upload_id: str, descriptor: int) -> Steps[Upload]:
        """Read an upload of which the caller holds the lock, and cut off bytes that were never verified."""
        upload = self.describe(upload_id)
        with system_errors_translated():
            status, mark = self._stat(upload, descriptor)
            if mark is not None:
                yield partial(self._cut, upload_id, descriptor, min(mark, status.st_size))
        return _measured(upload, status, mark)

    def declare_size(self, upload: Upload, size: int) -> Upload:
        """Write down the length of a deferred upload (tus creation-defer-length)."""
        sized = replace(upload, size=size)
        self._rewrite(sized, name_durable=self._promise.is_each)
        return sized

    def name_file(self, upload: Upload, file_id: str) -> Upload:
        """Write down which file a complete upload is."""
        named = replace(upload, file_id=file_id)
        self._rewrite(named, name_durable=self._promise.flushes)
        return named

    def _rewrite(self, upload: Upload, *, name_durable: bool) -> None:
        with system_errors_translated():
            self._descriptions.rewrite(upload, name_durable=name_durable)

    def receiving(
        self, upload: Upload, descriptor: int, limit: int, *, hold_back: bool, algorithm: str | None, verified: bool
    ) -> Steps[Receiver]:
        """Start writing at the upload's offset; a `verified` body counts only after `accepting`."""
        if verified:
            with system_errors_translated(missing=errors.STORE_UNAVAILABLE):
                yield partial(self._unverified.set, upload.id, upload.offset)
        return Receiver(
            descriptor,
            upload.offset,
            limit,
            hold_back=hold_back,
            digest=ALGORITHMS[algorithm].start() if algorithm else None,
            check_space=self.check_space if self._min_free_space else None,
        )

    def digest_of_body(self, receiver: Receiver, descriptor: int, algorithm: str) -> bytes:
        """The digest of what a receiver wrote, read back, for an algorithm that was named only after the body."""
        digest = ALGORITHMS[algorithm].start()
        position = receiver.start
        with system_errors_translated():
            while position < receiver.position:
                block = os.pread(descriptor, min(_HASH_STEP, receiver.position - position), position)
                if not block:
                    raise UploadError(errors.STORE_UNAVAILABLE, missing=receiver.position - position)
                digest.update(block)
                position += len(block)
        return digest.digest()

    def accepting(self, upload: Upload, descriptor: int, offset: int, *, verified: bool) -> Steps[Upload]:
        """Let the bytes up to `offset` count, durable as the policy says; call it before the answer.

        Raises 404 if the upload is no longer there, so that nobody is told that its bytes were kept.
        """
        accepted = replace(upload, offset=offset, changed_at=time.time())
        is_flushed = self._promise.covers(accepted) or (verified and self._promise.flushes)

        def keep() -> None:
            if is_flushed:
                os.fdatasync(descriptor)
            if verified:
                self._unverified.remove(upload.id)
            if accepted.is_complete and self._promise.flushes:
                sync_names(upload.path, self.info_path(upload.id))

        with system_errors_translated():
            if is_flushed:
                yield keep
            else:
                keep()
            if not (os.fstat(descriptor).st_nlink and self._descriptions.is_there(upload.id)):
                raise UploadError(errors.UPLOAD_NOT_FOUND)  # somebody took its files away meanwhile
        return accepted

    def settle(self, upload: Upload, descriptor: int) -> None:
        """Make what a killed process may have left as durable as the policy promises; call it before it is told."""
        if self._promise.covers(upload):
            with system_errors_translated():
                os.fdatasync(descriptor)
                sync_names(upload.path, self.info_path(upload.id))

    def reject(self, upload: Upload, descriptor: int) -> None:
        """Throw away the bytes after the upload's offset, those of a body that failed its verification."""
        with system_errors_translated():
            self._cut(upload.id, descriptor, upload.offset)

    def _cut(self, upload_id: str, descriptor: int, size: int) -> None:
        """Cut unverified bytes off, for good before the mark on them goes."""
        os.ftruncate(descriptor, size)
        if self._promise.flushes:
            os.fdatasync(descriptor)
        self._unverified.remove(upload_id)

    def remove_description(self, upload_id: str) -> None:
        """Remove what is left of an upload whose bytes have been taken elsewhere."""
        with system_errors_translated():
            self._descriptions.remove(upload_id)

    def remove(self, upload: Upload) -> None:
        """Remove an upload for good; after a crash it is whole, or gone at the next sweep."""
        with system_errors_translated(), self._workspace.withdraw(self.info_path(upload.id), upload.id):
            with suppress(FileNotFoundError):
                os.unlink(upload.path)
            self._unverified.remove(upload.id)

    # --- housekeeping ---

    def check_presence(self) -> None:
        """Raises 503 if our own directory is gone, as with a file system that is not mounted any more.

        An upload that is not found may be there then all the same.
        """
        with system_errors_translated(missing=errors.STORE_UNAVAILABLE):
            os.stat(self._state_directory)

    def check_space(self, size: int = 0) -> None:
        """Raises 507 if `size` more bytes would leave less than the free space that is to be kept."""
        with system_errors_translated():
            status = os.statvfs(self.directory)
        free = status.f_bavail * status.f_frsize
        if free - size < self._min_free_space:
            raise UploadError(errors.DISK_FULL, free=free, wanted=size, kept=self._min_free_space)

    def sweep_workspace(self) -> None:
        """Clean up after operations that a crash ended."""
        with system_errors_translated():
            self._workspace.sweep(self._remove_unpublished)

    def _remove_unpublished(self, upload_id: str, withdrawn: bytes | None) -> None:
        if not is_upload_id(upload_id):
            return
        path = self.place + upload_id
        if withdrawn is not None:
            with suppress(CorruptInfo):
                path = decode_info(withdrawn, upload_id).path or path
        if remove_unpublished(path, self.info_path(upload_id)):
            self._unverified.remove(upload_id)


def _measured(upload: Upload, status: os.stat_result, mark: int | None) -> Upload:
    """A described upload with the bytes that count, of those that its data file has."""
    if not stat.S_ISREG(status.st_mode):
        raise UploadError(errors.UPLOAD_NOT_FOUND)
    limits = [limit for limit in (status.st_size, upload.size, mark) if limit is not None]
    written_at = status.st_mtime
    return replace(upload, offset=min(limits), changed_at=max(written_at, upload.changed_at), written_at=written_at)
