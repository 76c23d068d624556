"""Files of secret keys: those that sign links, and those that callers of the API show.

A key is a line of at least 32 visible ASCII characters, so that it can be pasted into a header or into the settings of
a CDN; blank lines and lines that begin with `#` are not keys. No text from such a file is ever part of a message.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from tusd_py.store.workspace import Workspace, sync_directory

SHORTEST = 32

_KEY = re.compile(rb"[!-~]+")
_FILE_MODE = 0o600
_FOR_GROUP_AND_OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
_NEW_FILE = """\
# The keys of signed links, oldest first: the last one signs, links of all of them are good.
# To change the key, add a line and restart; remove the old line when its links have expired.
{key}
"""


class UnusableKeys(Exception):
    """The server must not start with this key file; the text says why."""


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys in a file, in its order, without white space around them. Raises `UnusableKeys`, also for no key."""
    keys = []
    for number, line in enumerate(map(bytes.strip, read_private(path).split(b"\n")), 1):
        if not line or line.startswith(b"#"):
            continue
        if not _KEY.fullmatch(line):
            raise UnusableKeys(f"line {number} of the key file '{path}' has other than visible ASCII characters")
        if len(line) < SHORTEST:
            raise UnusableKeys(
                f"the key in line {number} of '{path}' has {len(line)} bytes, fewer than {SHORTEST}; "
                "make one with: openssl rand -hex 32"
            )
        keys.append(line)
    if not keys:
        raise UnusableKeys(f"there is no key in '{path}'; make one with: openssl rand -hex 32")
    return tuple(keys)


def read_private(path: Path) -> bytes:
    """What is in a file that is for its owner alone. Raises `UnusableKeys` for any other."""
    try:
        # Not blocking, whatever has this name.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnusableKeys(f"the key file '{path}' is not a regular file")
            if status.st_mode & _FOR_GROUP_AND_OTHERS:
                raise UnusableKeys(
                    f"the key file '{path}' can be read or written by others (mode {status.st_mode & 0o777:o}); "
                    f"allow it to its owner only: chmod 600 '{path}'"
                )
            with open(descriptor, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnusableKeys(f"the key file '{path}' cannot be read: {error.strerror}") from error


def load_or_create_signing_keys(state_directory: Path) -> tuple[bytes, ...]:
    """The keys in `signing.keys` of a prepared state directory; the first server to look makes it.

    Servers that start at once agree, since it is published by a link. It is durable when this returns, so no power loss
    ends the links made with it; a crash before leaves no file, or a whole one. Raises `UnusableKeys`.
    """
    path = state_directory / "signing.keys"
    try:
        if not os.path.lexists(path):
            _create(path, Workspace(state_directory / "workspace", _FILE_MODE))
        # Whoever has made it may have been killed before this.
        sync_directory(state_directory)
    except OSError as error:
        raise UnusableKeys(f"the key file '{path}' cannot be made: {error.strerror}") from error
    return read_keys(path)


def _create(path: Path, workspace: Workspace) -> None:
    # No upload's entry: a sweep after a crash has nothing else to remove.
    with workspace.entry("") as entry:
        entry.write(_NEW_FILE.format(key=secrets.token_hex(SHORTEST)).encode(), durable=True)
        with suppress(FileExistsError):
            entry.link(path)
