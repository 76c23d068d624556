"""Servers that are done harm, and a disk of its own for tests of trouble with disks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Server, ServerStarter


@pytest.fixture
def server(start: ServerStarter) -> Server:
    """One for each test, with the default flags and an empty directory."""
    return start()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB and 60 files, which needs the rights to mount one."""
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=60", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)
