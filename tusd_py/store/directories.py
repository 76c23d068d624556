"""The upload directory at start: made, checked, and cleared of what a stopped tusd left."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile

from tusd_py.store.workspace import sync_directory

STATE_SUBDIRECTORIES = {
    **dict.fromkeys(
        ("workspace", "unverified", "run", "chunks", "pending", "files", "hooks", "quarantine", "thumbnails"), 0o700
    ),
    "public": 0o755,
}
"""What is in the state directory, with its modes; a server at the edge may read what is public."""


class UnusableDirectory(Exception):
    """The server must not start on this directory; the text says why."""


def prepare_directories(directory: Path, state_directory: Path, directory_mode: int, *, durable: bool = True) -> None:
    """Make what is missing, with `durable` so that the loss of power does not take it away. Raises `UnusableDirectory`.

    Files are published by links, so the state directory must be on the upload directory's file system; and a tusd
    that is alive on the directory knows nothing of our locks.
    """
    try:
        f"{directory}{state_directory}".encode()
    except UnicodeEncodeError:
        raise UnusableDirectory(
            "the name of the upload directory is not UTF-8, so it cannot stand in .info files"
        ) from None
    _check_place(directory, state_directory)
    try:
        changed = _make(directory, directory_mode) | _make(state_directory, 0o711)
        for name, mode in STATE_SUBDIRECTORIES.items():
            changed |= _make(state_directory / name, mode)
        if durable:
            for parent in changed:
                sync_directory(parent)
    except OSError as error:
        raise UnusableDirectory(f"unable to create directory: {error}") from error
    _check_that_files_can_be_made(state_directory)
    if directory.stat().st_dev != state_directory.stat().st_dev:
        raise UnusableDirectory(
            f"the state directory '{state_directory}' must be on the same file system as '{directory}'"
        )
    release_foreign_locks(directory)


def _check_place(directory: Path, state_directory: Path) -> None:
    """The files of the server are no uploads, and below a name with a dot at its start there are none."""
    uploads, ours = directory.resolve(), state_directory.resolve()
    if uploads.is_relative_to(ours):
        raise UnusableDirectory(
            f"the state directory '{state_directory}' must not hold the upload directory '{directory}'"
        )
    if ours.is_relative_to(uploads) and not ours.relative_to(uploads).parts[0].startswith("."):
        raise UnusableDirectory(
            f"the state directory '{state_directory}' is among the uploads in '{directory}'; "
            "put it elsewhere, or give it a name that begins with a dot"
        )


def _check_that_files_can_be_made(state_directory: Path) -> None:
    try:
        with TemporaryFile(dir=state_directory / "run"):
            pass
    except OSError as error:
        raise UnusableDirectory(f"unable to create files in '{state_directory}': {error.strerror}") from error


def _make(directory: Path, mode: int) -> set[Path]:
    """Make a directory and what is missing above it; the directories that have a new name in them."""
    missing = {path for path in (directory, *directory.parents) if not path.exists()}
    os.makedirs(directory, mode, exist_ok=True)
    return {path.parent for path in missing}


def release_foreign_locks(directory: Path) -> None:
    """Remove tusd's `.lock` and `.stop` files of processes that are gone. Raises `UnusableDirectory` for a live one."""
    for folder, subfolders, names in os.walk(directory):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if name.endswith(".lock"):
                if process := _live_owner(path):
                    raise UnusableDirectory(
                        f"'{path}' is locked by process {process}; stop the tusd that uses this directory, "
                        "or remove the file if that process is not tusd"
                    )
                path.unlink(missing_ok=True)
            elif name.endswith(".stop"):
                path.unlink(missing_ok=True)


def _live_owner(lock: Path) -> int | None:
    """The process in a tusd lock file if it is alive; our own number is that of a predecessor in a container."""
    try:
        process = int(lock.read_text().strip())
    except (ValueError, OSError):
        return None
    if process <= 0 or process == os.getpid():
        return None
    try:
        os.kill(process, 0)
    except PermissionError:
        return process
    except (ProcessLookupError, OverflowError):
        return None
    return process
