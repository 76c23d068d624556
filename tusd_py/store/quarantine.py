"""Where the bytes of quarantined files are: in a directory that no address leads to.

They are moved before the record is settled, so that a killed server moves them again. Every operation may be repeated
after a crash at any point: bytes are complete under one name before they lose the other.
"""

from __future__ import annotations

import errno
import filecmp
import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from tusd_py.core import errors
from tusd_py.core.records import FileRecord
from tusd_py.store.system_errors import system_errors_translated
from tusd_py.store.workspace import sync_directory

_COPIED_AT_ONCE = 1024 * 1024


class Quarantine:
    """Moves bytes to `<directory>/<file id>` and back; with `keep` off they are removed instead, for good.

    Only the owner may read what is there. `file_mode` (umask applied) is what released bytes get. A download that has
    the file open already goes on. `durable` says whether moves have to survive the loss of power. Errors of the system
    come out as `UploadError`; everything blocks, for as long as a copy takes where the bytes are on another file
    system. The caller works on the record alone.
    """

    def __init__(self, directory: Path, *, keep: bool, durable: bool, file_mode: int) -> None:
        self._directory = directory
        self._keep = keep
        self._durable = durable
        self._file_mode = file_mode

    def holds(self, file_id: str) -> bool:
        """Whether the bytes of the file are here, all of them."""
        with system_errors_translated():
            return self._path(file_id).exists()

    def discard(self, file_id: str) -> None:
        """Remove the bytes for good, if they are here."""
        with system_errors_translated():
            self._path(file_id).unlink(missing_ok=True)

    def take(self, record: FileRecord) -> None:
        """Take the bytes away from `record.path`; what has been taken, or is gone, is left at that."""
        source, target = Path(record.path), self._path(record.id)
        with system_errors_translated(missing=errors.STORE_UNAVAILABLE):
            if self._keep:
                self._directory.mkdir(mode=0o700, exist_ok=True)
                try:
                    self._move(record.id, source, target, 0o600)
                except FileNotFoundError:
                    if source.exists():
                        raise
                return
            for path in (source, target, _copy_path(record.id, target)):
                path.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                self._sync(source.parent)

    def release(self, record: FileRecord) -> Path:
        """Put the bytes back to `record.path`, also after a release that broke off.

        Raises 404 where there are none, and `UPLOAD_EXISTS` where something else has taken their place.
        """
        source, target = self._path(record.id), Path(record.path)
        with system_errors_translated(missing=errors.FILE_NOT_FOUND):
            if not target.exists():
                self._move(record.id, source, target, self._mode_of_new_files())
            elif source.exists():
                if not filecmp.cmp(source, target, shallow=False):
                    raise FileExistsError(errno.EEXIST, "other bytes have taken the place of those in quarantine")
                source.unlink()
                self._sync(self._directory)
        return target

    def _move(self, file_id: str, source: Path, target: Path, mode: int) -> None:
        """Raises FileNotFoundError where there is no source."""
        with suppress(PermissionError):  # not ours: then its directory has to keep others out
            source.chmod(mode)
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(source, _copy_path(file_id, target), target, mode)
            source.unlink()
        self._sync(target.parent)
        self._sync(source.parent)

    def _copy(self, source: Path, copy: Path, target: Path, mode: int) -> None:
        """A copy that a crash left unfinished is written anew."""
        with source.open("rb") as original, open(copy, "wb", opener=_open_privately) as made:
            shutil.copyfileobj(original, made, _COPIED_AT_ONCE)
            made.flush()
            with suppress(PermissionError):
                status = os.fstat(original.fileno())
                os.fchown(made.fileno(), status.st_uid, status.st_gid)
            os.fchmod(made.fileno(), mode)
            if self._durable:
                os.fsync(made.fileno())
        copy.rename(target)
        self._sync(target.parent)

    def _mode_of_new_files(self) -> int:
        """`file_mode` under the process's umask, which can only be read by making a file."""
        path = self._directory / secrets.token_hex(8)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, self._file_mode)
        try:
            path.unlink()
            return stat.S_IMODE(os.fstat(descriptor).st_mode)
        finally:
            os.close(descriptor)

    def _path(self, file_id: str) -> Path:
        return self._directory / file_id

    def _sync(self, directory: Path) -> None:
        if self._durable:
            sync_directory(directory)


def _copy_path(file_id: str, target: Path) -> Path:
    """Where a copy is made before it has its name; with the leading dot it is no upload's name."""
    return target.with_name(f".{file_id}.copy")


def _open_privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
