"""The filesystem store: tusd's layout, `<id>` and `<id>.info`, and our additions in the state directory."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tusd_py.core import errors
from tusd_py.core.digests import ALGORITHMS
from tusd_py.core.errors import UploadError
from tusd_py.core.ids import LONGEST, LONGEST_NAME, RESERVED_ENDINGS, is_upload_id
from tusd_py.core.info import CorruptInfo, decode_info, encode_info
from tusd_py.core.uploads import Upload
from tusd_py.store.concatenation import append_file
from tusd_py.store.data_files import (
    adopt_data,
    claimed_data_file,
    forget_copy,
    is_adopted,
    make_parents,
    place_data,
    remove_unpublished,
)
from tusd_py.store.receiver import Receiver
from tusd_py.store.system_errors import system_errors_translated
from tusd_py.store.unverified import UnverifiedMarks
from tusd_py.store.workspace import Entry, Workspace, sync_directory, sync_file

Durability = Literal["none", "finish", "each"]
"""What a success answer promises beyond a killed process: nothing more, that a complete upload survives the loss of
power, or that every acknowledged byte does."""

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
        self.directory = directory
        self._state_directory = state_directory
        self._file_mode = file_mode
        self._directory_mode = directory_mode
        self._durability = durability
        self._min_free_space = min_free_space
        self._workspace = Workspace(state_directory / "workspace", file_mode)
        self._unverified = UnverifiedMarks(state_directory / "unverified", durable=durability != "none")

    # --- finding ---

    def load(self, upload_id: str, descriptor: int | None = None) -> Upload:
        """Read an upload as it is now; with its locked data file at hand, the size is taken from that."""
        if not is_upload_id(upload_id):
            raise UploadError(errors.UPLOAD_NOT_FOUND)
        with system_errors_translated():
            upload = self._read_info(upload_id)
            path = upload.path or str(self._data_path(upload_id))
            status, mark = self._stat(upload_id, path, descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UploadError(errors.UPLOAD_NOT_FOUND)
        bounds = [status.st_size] + [bound for bound in (upload.size, mark) if bound is not None]
        changed_at = max(status.st_mtime, upload.changed_at)
        return replace(upload, offset=min(bounds), path=path, changed_at=changed_at)

    def _stat(self, upload_id: str, path: str, descriptor: int | None) -> tuple[os.stat_result, int | None]:
        """The data file and the mark on it, from one moment: not a size with bytes of which the mark is gone by now."""
        while True:
            mark = self._unverified.offset(upload_id)
            status = os.stat(path) if descriptor is None else os.fstat(descriptor)
            if self._unverified.offset(upload_id) == mark and os.stat(path).st_size >= status.st_size:
                return status, mark

    def upload_ids(self) -> Iterator[str]:
        """The ids of all uploads, custom ones in subdirectories included."""
        for folder, subfolders, names in os.walk(self.directory):
            if folder == str(self.directory):
                subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            for name in names:
                upload_id = os.path.relpath(os.path.join(folder, name.removesuffix(".info")), self.directory)
                if name.endswith(".info") and is_upload_id(upload_id):
                    yield upload_id

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
                return self._read_info(upload_id).file_id
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

    # --- creating ---

    def create(self, upload: Upload) -> Upload:
        """Make an empty upload. Raises 400 ERR_UPLOAD_EXISTS for a taken id; after a crash it is whole or garbage.

        The data is put at `path`, which may be relative to the upload directory, where the upload has one.
        """
        path = self._place_of(upload)
        with system_errors_translated(missing=errors.STORE_UNAVAILABLE), self._workspace.entry(upload.id) as info:
            created = self._write_info(info, replace(upload, path=str(path)))
            make_parents(self._info_path(upload.id), self._directory_mode)
            with claimed_data_file(
                path,
                self._info_path(upload.id),
                self._file_mode,
                self._directory_mode,
                may_be_left=path == self._data_path(upload.id),
            ):
                info.link(self._info_path(upload.id))
            if self._durability == "each" or (self._durability == "finish" and upload.size == 0):
                self._sync_names(upload.id, path)
        return created

    def concatenate(
        self, upload: Upload, parts: Sequence[Upload], stop_requested: Callable[[], bool] = lambda: False
    ) -> Upload:
        """Make a final upload of its parts' bytes (tus concatenation).

        It appears when it is whole, and durable by policy.
        """
        path = self._place_of(upload)
        size = sum(part.offset for part in parts)
        with (
            system_errors_translated(missing=errors.STORE_UNAVAILABLE),
            self._workspace.entry(upload.id) as data,
            self._workspace.entry(upload.id) as info,
        ):
            self.check_space(size)
            for part in parts:
                try:
                    append_file(data.descriptor, Path(part.path), part.offset, stop_requested)
                except FileNotFoundError:
                    raise UploadError(errors.INVALID_CONCAT) from None
            if self._durability != "none":
                os.fsync(data.descriptor)
            created = self._write_info(info, replace(upload, size=size, offset=size, path=str(path)))
            make_parents(path, self._directory_mode)
            make_parents(self._info_path(upload.id), self._directory_mode)
            place_data(data, path, self._file_mode, stop_requested, durable=self._durability != "none")
            self._publish_info(info, upload.id, path)
        return created

    def adopt(self, upload: Upload, source: Path) -> Upload:
        """Make a complete upload of a file that is whole, without copying it; the file keeps its own name as well.

        Durable by policy. After a crash it is called again, and goes on from what is there.
        """
        path, is_durable = self._place_of(upload), self._durability != "none"
        with system_errors_translated(missing=errors.STORE_UNAVAILABLE), self._workspace.entry(upload.id) as info:
            created = self._write_info(info, replace(upload, size=upload.offset, path=str(path)))
            if self._has_adopted(upload):
                if is_durable:
                    self._sync_names(upload.id, path)
            else:
                if is_durable:
                    sync_file(source)
                make_parents(path, self._directory_mode)
                make_parents(self._info_path(upload.id), self._directory_mode)
                adopt_data(source, path, self._file_mode, durable=is_durable)
                self._publish_info(info, upload.id, path)
            forget_copy(path)
        return created

    def withdraw_adopted(self, upload: Upload, source: Path) -> None:
        """Take back what `adopt` has published of a file that is being removed before anybody was told of it."""
        path = self._place_of(upload)
        with system_errors_translated():
            if self._has_adopted(upload):
                self._info_path(upload.id).unlink()
                path.unlink(missing_ok=True)
            elif is_adopted(source, path):
                path.unlink()
            forget_copy(path)

    def _has_adopted(self, upload: Upload) -> bool:
        """Whether the upload's `.info` was published before, which comes last."""
        return upload.file_id is not None and self.file_id_of(upload.id) == upload.file_id

    def _publish_info(self, info: Entry, upload_id: str, path: Path) -> None:
        """Let an upload appear whose data is there; without its `.info` the data is garbage."""
        try:
            info.link(self._info_path(upload_id))
        except OSError:
            path.unlink(missing_ok=True)
            raise
        if self._durability != "none":
            self._sync_names(upload_id, path)

    def _sync_names(self, upload_id: str, path: Path) -> None:
        for directory in {path.parent, self._info_path(upload_id).parent}:
            sync_directory(directory)

    # --- writing, under the upload's lock ---

    def begin(self, upload_id: str, descriptor: int) -> Upload:
        """Read an upload of which the caller holds the lock, after cutting off bytes that were never verified."""
        upload = self.load(upload_id, descriptor)
        with system_errors_translated():
            mark = self._unverified.offset(upload_id)
            if mark is not None:
                self._cut(upload_id, descriptor, min(mark, os.fstat(descriptor).st_size))
            else:
                self._unverified.remove(upload_id)  # a torn one
        return upload

    def declare_size(self, upload: Upload, size: int) -> Upload:
        """Write down the length of a deferred upload (tus creation-defer-length)."""
        sized = replace(upload, size=size)
        self._rewrite_info(sized, durable=self._durability == "each")
        return sized

    def name_file(self, upload: Upload, file_id: str) -> Upload:
        """Write down which file a complete upload is."""
        named = replace(upload, file_id=file_id)
        self._rewrite_info(named, durable=self._durability != "none")
        return named

    def _rewrite_info(self, upload: Upload, *, durable: bool) -> None:
        with system_errors_translated(), self._workspace.entry(upload.id) as info:
            self._write_info(info, upload)
            info.replace(self._info_path(upload.id))
            if durable:
                sync_directory(self._info_path(upload.id).parent)

    def receiver(
        self, upload: Upload, descriptor: int, limit: int, *, hold_back: bool, algorithm: str | None, verified: bool
    ) -> Receiver:
        """Start writing at the upload's offset; a `verified` body counts only after `accept`."""
        if verified:
            with system_errors_translated():
                self._unverified.set(upload.id, upload.offset)
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

    def accept(self, upload: Upload, descriptor: int, offset: int, *, verified: bool) -> Upload:
        """Let the bytes up to `offset` count, durable as the policy says; call it before the answer.

        Raises 404 if the upload is no longer there, so that nobody is told that its bytes were kept.
        """
        accepted = replace(upload, offset=offset, changed_at=time.time())
        is_durable = self._promises(accepted)
        with system_errors_translated():
            if is_durable:
                os.fdatasync(descriptor)
            if verified:
                if self._durability != "none" and not is_durable:
                    os.fdatasync(descriptor)
                self._unverified.remove(upload.id)
            if self._durability != "none" and accepted.is_complete:
                self._sync_names(upload.id, Path(upload.path))
            if not (os.fstat(descriptor).st_nlink and self._info_path(upload.id).exists()):
                raise UploadError(errors.UPLOAD_NOT_FOUND)  # somebody took its files away meanwhile
        return accepted

    def settle(self, upload: Upload, descriptor: int) -> None:
        """Make what a killed process may have left as durable as the policy promises; call it before it is told."""
        if self._promises(upload):
            with system_errors_translated():
                os.fdatasync(descriptor)
                self._sync_names(upload.id, Path(upload.path))

    def _promises(self, upload: Upload) -> bool:
        """Whether the bytes that count are to survive the loss of power, by the policy."""
        return self._durability == "each" or (self._durability == "finish" and upload.is_complete)

    def reject(self, upload: Upload, descriptor: int) -> None:
        """Throw away the bytes after the upload's offset, those of a body that failed its verification."""
        with system_errors_translated():
            self._cut(upload.id, descriptor, upload.offset)

    def _cut(self, upload_id: str, descriptor: int, size: int) -> None:
        """Cut unverified bytes off, for good before the mark on them goes."""
        os.ftruncate(descriptor, size)
        if self._durability != "none":
            os.fdatasync(descriptor)
        self._unverified.remove(upload_id)

    def remove_description(self, upload_id: str) -> None:
        """Remove what is left of an upload whose bytes have been taken elsewhere."""
        with system_errors_translated():
            self._info_path(upload_id).unlink(missing_ok=True)

    def remove(self, upload: Upload) -> None:
        """Remove an upload for good; after a crash it is whole, or gone at the next sweep."""
        with system_errors_translated(), self._workspace.withdraw(self._info_path(upload.id), upload.id):
            Path(upload.path).unlink(missing_ok=True)
            self._unverified.remove(upload.id)

    # --- housekeeping ---

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
        path = self._data_path(upload_id)
        if withdrawn is not None:
            with suppress(CorruptInfo):
                path = Path(decode_info(withdrawn, upload_id).path or path)
        if remove_unpublished(path, self._info_path(upload_id)):
            self._unverified.remove(upload_id)

    # --- paths and small files ---

    def info_path(self, upload_id: str) -> str:
        """Where the `.info` of an upload is, or will be."""
        return str(self._info_path(upload_id))

    def is_place(self, path: str) -> bool:
        """Whether the data of an upload may be put at a path, relative to the upload directory: not in the place of a
        description, nor among our own files.
        """
        place = self._cleaned(path)
        is_ours = place.is_relative_to(self._state_directory) or place in (self.directory, *self.directory.parents)
        is_name = "\0" not in path and not path.endswith(("/", *RESERVED_ENDINGS))
        is_too_long = len(os.fsencode(place)) > LONGEST or len(os.fsencode(place.name)) > LONGEST_NAME
        return is_name and not is_ours and not is_too_long

    def _place_of(self, upload: Upload) -> Path:
        return self._cleaned(upload.path) if upload.path else self._data_path(upload.id)

    def _cleaned(self, path: str) -> Path:
        """Without `..`, as tusd has it."""
        return Path(os.path.normpath(self.directory / path))

    def _data_path(self, upload_id: str) -> Path:
        return self.directory / upload_id

    def _info_path(self, upload_id: str) -> Path:
        return self.directory / (upload_id + ".info")

    def _read_info(self, upload_id: str) -> Upload:
        with open(self._info_path(upload_id), "rb", opener=_open_without_blocking) as file:
            status = os.fstat(file.fileno())
            try:
                text = file.read() if stat.S_ISREG(status.st_mode) else b""
                return replace(decode_info(text, upload_id), changed_at=status.st_mtime)
            except CorruptInfo as error:
                raise UploadError(errors.INTERNAL_SERVER_ERROR, corrupt_info=str(error)) from error

    def _write_info(self, entry: Entry, upload: Upload) -> Upload:
        now = round(time.time(), 3)
        described = replace(upload, created_at=upload.created_at or now, changed_at=now)
        entry.write(encode_info(described, self.info_path(upload.id)), durable=self._durability != "none")
        return described


def _open_without_blocking(path: str, flags: int) -> int:
    """Whatever has this name: a pipe would wait for its other end."""
    return os.open(path, flags | os.O_NONBLOCK)
