"""Data files without `.info`: of uploads that do not exist yet, and of those that no longer do."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tusd_py.store.concatenation import append_file
from tusd_py.store.workspace import Entry

T = TypeVar("T")

_CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR


def _taken() -> FileExistsError:
    return FileExistsError(errno.EEXIST, "an upload with this id exists")


def is_there(path: str) -> bool:
    """Whether something has this name; what cannot be looked at is not taken for absent (OSError)."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextmanager
def claimed_data_file(
    path: str, info_path: str, file_mode: int, directory_mode: int, *, may_be_left: bool = True
) -> Iterator[None]:
    """Have an empty data file to oneself while its `.info` is published; a file made here goes if that fails.

    An empty file without `.info`, which a crashed creation left, is used if it `may_be_left`: not in a place that does
    not follow from the id, where it may be the file of another upload that has no bytes yet. Raises FileExistsError
    where the id or the place is taken, or is being made or removed by somebody else just now.
    """
    descriptor, is_new = _open_locked(path, info_path, file_mode, directory_mode, may_be_left=may_be_left)
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(FileNotFoundError):
                os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def place_data(made: Entry, path: str, file_mode: int, stop_requested: Callable[[], bool], *, durable: bool) -> None:
    """Give a data file that is whole its name, or, on another file system, a copy of it.

    Raises FileExistsError where the name is taken. A crash leaves a file without `.info`, which nobody is served.
    """
    try:
        made.link(path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_data(made, path, file_mode, stop_requested, durable=durable)


def _copy_data(made: Entry, path: str, file_mode: int, stop_requested: Callable[[], bool], *, durable: bool) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, file_mode)
    try:
        append_file(descriptor, Path(made.path), os.fstat(made.descriptor).st_size, stop_requested)
        if durable:
            os.fsync(descriptor)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def adopt_data(source: Path, path: Path, file_mode: int, *, durable: bool) -> None:
    """Let a whole file have the name `path` as well, or, on another file system, a copy of it.

    Raises FileExistsError where the name is another file's. After a crash it is done again; a copy is known as ours by
    its second name until `forget_copy`.
    """
    try:
        os.link(source, path)
    except FileExistsError:
        if not is_adopted(source, path):
            raise
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if not is_adopted(source, path):
            _adopt_copy(source, path, file_mode, durable=durable)


def _adopt_copy(source: Path, path: Path, file_mode: int, *, durable: bool) -> None:
    copy = _copy_of(path)
    copy.unlink(missing_ok=True)
    descriptor = os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, file_mode)
    try:
        append_file(descriptor, source, os.stat(source).st_size, lambda: False)
        if durable:
            os.fsync(descriptor)
        os.link(copy, path)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def forget_copy(path: Path) -> None:
    """The file at `path` is described by its `.info` from now on, and needs no second name."""
    _copy_of(path).unlink(missing_ok=True)


def is_adopted(source: Path, path: Path) -> bool:
    """Whether the name was given to the file, or to a copy of it that has its second name still."""
    try:
        return any(os.path.samefile(each, path) for each in (source, _copy_of(path)) if each.exists())
    except FileNotFoundError:
        return False


def _copy_of(path: Path) -> Path:
    return path.with_name(path.name + ".tusd-py")


def remove_unpublished(path: str, info_path: str) -> bool:
    """Remove a data file that no `.info` belongs to, unless somebody works on it; whether that was done."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return not is_there(info_path)
    try:
        if not _lock(descriptor) or is_there(info_path):
            return False
        with suppress(FileNotFoundError):
            os.unlink(path)
        return True
    finally:
        os.close(descriptor)


def with_parents(path: str, directory_mode: int, make: Callable[[str], T]) -> T:
    """Make something at `path`, and before it the directories that are missing, as for an id with slashes.

    An upload in the place of one makes the id a taken one (FileExistsError).
    """
    try:
        return make(path)
    except FileNotFoundError:
        try:
            os.makedirs(os.path.dirname(path), directory_mode, exist_ok=True)
        except NotADirectoryError:
            raise _taken() from None
        return make(path)
    except NotADirectoryError:
        raise _taken() from None


def _open_locked(
    path: str, info_path: str, file_mode: int, directory_mode: int, *, may_be_left: bool
) -> tuple[int, bool]:
    """The file, and whether it was made here. One that another creation took first is left to that."""
    while not is_there(info_path):
        try:
            descriptor, is_new = _open(path, file_mode, directory_mode)
        except FileNotFoundError:
            continue  # removed while we looked at it
        if not is_new and not may_be_left:
            os.close(descriptor)
            break
        is_locked = _lock(descriptor)
        status = os.fstat(descriptor)
        if is_locked and status.st_nlink and _is_empty_file(status) and not is_there(info_path):
            return descriptor, is_new
        os.close(descriptor)
        if status.st_nlink:
            break
    raise _taken()


def _open(path: str, file_mode: int, directory_mode: int) -> tuple[int, bool]:
    try:
        return with_parents(path, directory_mode, lambda place: os.open(place, _CREATE, file_mode)), True
    except FileExistsError:
        try:
            return os.open(path, os.O_RDWR), False
        except FileNotFoundError:
            if os.path.islink(path):
                raise _taken() from None  # one that leads nowhere
            raise
        except (IsADirectoryError, NotADirectoryError):
            raise _taken() from None


def _is_empty_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and not status.st_size


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
