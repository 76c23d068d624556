"""What tests of several parts of the store use."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tusd_py.store.directories import prepare_directories
from tusd_py.store.durability import Durability
from tusd_py.store.filesystem import FilesystemStore

MIB = 1024 * 1024


def store_in(
    directory: Path, *, durability: Durability = "finish", min_free_space: int = 0, file_mode: int = 0o664
) -> FilesystemStore:
    """The store of a directory, which is made ready where it is not."""
    prepare_directories(directory, directory / ".tusd-py", 0o775)
    return FilesystemStore(
        directory,
        directory / ".tusd-py",
        file_mode=file_mode,
        directory_mode=0o775,
        durability=durability,
        min_free_space=min_free_space,
    )


@contextmanager
def data_file() -> Iterator[int]:
    """A file without a name."""
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def content_of(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


@contextmanager
def opened(path: Path | str) -> Iterator[int]:
    """A descriptor of a file, for reading and writing; the file is made if it is not there."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
