"""Which directories are on a file system of this machine, where a look at a file does not wait for a network."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

MEMORY_TYPES = frozenset({"tmpfs", "ramfs"})
LOCAL_TYPES = MEMORY_TYPES | {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "overlay"}
"""Whatever else there is may be far away, as far as its name tells: fuse, nfs, cifs, 9p, virtiofs, ceph."""

_ESCAPED = re.compile(rb"\\([0-7]{3})")


def is_local(directory: Path, mounts: Path = MOUNTS) -> bool:
    """Whether a directory, with everything below it, is on local file systems; False where the system does not say."""
    return _types(directory, mounts) <= LOCAL_TYPES


def is_in_memory(directory: Path, mounts: Path = MOUNTS) -> bool:
    """The same for file systems that have no disk, on which nothing waits for a flush."""
    return _types(directory, mounts) <= MEMORY_TYPES


def _types(directory: Path, mounts: Path) -> set[str]:
    """The file systems that a directory, with everything below it, is on; one without a name for an unknown one."""
    try:
        mounted = _mounted(mounts.read_bytes())
    except (OSError, ValueError):
        mounted = {}
    place = os.path.join(os.path.realpath(os.fsencode(directory)), b"")
    above = [point for point in mounted if place.startswith(point)]
    below = [point for point in mounted if point.startswith(place)]
    return {mounted[point] for point in (max(above, key=len), *below)} if above else {""}


def _mounted(text: bytes) -> dict[bytes, str]:
    """File system types by mount point, with a slash at its end; of several on one the last is seen (proc(5))."""
    mounted = {}
    for line in text.splitlines():
        place, _, kind = line.partition(b" - ")
        point = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), place.split(b" ")[4])
        mounted[os.path.join(point, b"")] = kind.split(b" ")[0].decode("ascii", "replace")
    return mounted
