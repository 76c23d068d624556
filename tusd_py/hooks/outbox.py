"""Calls on disk that are not delivered yet: a file each, in lines that keep their order.

A file has the call on its first line (`pack_call`) and after that a line of JSON for every attempt that failed, so a
call that was given up tells its story. Files are in `<ab>/`, by the upload that they are about, and end up in `dead/`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.core.hook_events import HookCall
from tusd_py.core.hook_json import CorruptCall, pack_call, unpack_call
from tusd_py.core.log_event import LogEvent
from tusd_py.hooks.fresh import FreshCalls

log = logging.getLogger("tusd_py")

_NAME = re.compile(r"([0-9a-f]{32})-([0-9]{20})-(.+)\.json")
_BUSY = 0.25
"""Seconds after which a line that somebody else works on is looked at again."""
_ABANDONED = 60.0
"""Age in seconds at which a file in the making that nobody has locked belongs to a process that was killed."""
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Line:
    """The calls to one back end about one upload, which are delivered one after the other."""

    key: str
    backend: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to deliver a call, alone among all processes, until `release`; `created_at` in Unix seconds."""

    path: Path
    descriptor: int
    call: HookCall
    created_at: float
    failed_attempts: int

    def release(self) -> None:
        os.close(self.descriptor)


class Outbox:
    """Below `directory`, which is made; `durable` says whether calls have to survive the loss of power.

    The process that added a call, and knows headers of it that are not on disk, has it for itself for `head_start`
    seconds.

    Everything blocks and may be called from any thread. A process that is killed loses its claims at once, and what it
    had delivered but not yet removed is delivered again.
    """

    def __init__(self, directory: Path, *, durable: bool, head_start: float = 5.0) -> None:
        self._directory = directory
        self._dead = directory / "dead"
        self._durable = durable
        self._head_start = head_start
        self._fresh = FreshCalls()
        self._lock = threading.Lock()
        self._newest = 0
        for path in (directory, self._dead):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def add(self, call: HookCall, kept: HookCall, backends: Sequence[str]) -> list[Line]:
        """Put a call at the end of its lines: as `kept` on disk, as it is in memory while there is room for it.

        Raises `UploadError`; then some of the back ends may be told.
        """
        text = pack_call(kept) + b"\n"
        key = hashlib.sha256(kept.upload.id.encode("utf-8", "replace")).hexdigest()[:32]
        lines = [Line(key, backend) for backend in backends]
        try:
            for line in lines:
                self._publish(line, text, call)
        except OSError as error:
            problem = errors.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else errors.STORE_UNAVAILABLE
            raise UploadError(problem, system_error=errno.errorcode.get(error.errno or 0, "unknown")) from error
        return lines

    def lines(self) -> list[Line]:
        """All lines that have calls. What killed processes had not finished writing is removed."""
        return list(dict.fromkeys(line for shard in self._shards() for _, line in self._calls(shard, sweep=True)))

    def count(self) -> int:
        """How many calls are not delivered yet, whoever has added them."""
        return sum(1 for shard in self._shards() for _ in self._calls(shard))

    def claim(self, line: Line) -> Claim | float | None:
        """The first call of a line; else the seconds after which to look again, or None where nothing is left."""
        while (path := self._first(line)) is not None:
            age = time.time() - _created_at(path)
            if path.name not in self._fresh and 0 <= age < self._head_start:
                return min(self._head_start - age, _BUSY)
            try:
                descriptor = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                claim = self._read(path, descriptor) if os.fstat(descriptor).st_nlink else None
            except BlockingIOError:
                os.close(descriptor)
                return _BUSY
            except BaseException:
                os.close(descriptor)
                raise
            if isinstance(claim, Claim):
                return claim
            os.close(descriptor)
            if claim is not None:
                return claim
        return None

    def settle(self, claim: Claim) -> None:
        """The call is delivered."""
        claim.path.unlink(missing_ok=True)
        self._fresh.remove(claim.path.name)

    def postpone(self, claim: Claim, reason: str, pause: float) -> None:
        """The attempt failed; the next one is due in `pause` seconds."""
        _append(claim.descriptor, reason, pause)

    def bury(self, claim: Claim, reason: str) -> None:
        """The last attempt failed; the call is kept in `dead/` for who looks after the server."""
        _append(claim.descriptor, reason, 0.0)
        self._move_to_dead(claim.path)

    # --- names ---

    def _shards(self) -> Iterator[Path]:
        return (path for path in self._directory.iterdir() if len(path.name) == 2)

    def _calls(self, shard: Path, *, sweep: bool = False) -> Iterator[tuple[str, Line]]:
        try:
            names = os.listdir(shard)
        except FileNotFoundError:
            return
        for name in names:
            if match := _NAME.fullmatch(name):
                yield name, Line(match[1], unquote(match[3]))
            elif sweep and name.startswith("."):
                with suppress(FileNotFoundError, BlockingIOError), open(shard / name, "rb+") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if time.time() - os.fstat(file.fileno()).st_mtime > _ABANDONED:
                        (shard / name).unlink()

    def _first(self, line: Line) -> Path | None:
        shard = self._directory / line.key[:2]
        name = min((name for name, other in self._calls(shard) if other == line), default=None)
        return shard / name if name is not None else None

    def _next_name(self, line: Line) -> str:
        """Later calls have greater names, also when the clock goes back while we run."""
        self._newest = max(self._newest + 1, time.time_ns())
        return f"{line.key}-{self._newest:020d}-{quote(line.backend, safe='')}.json"

    # --- files ---

    def _publish(self, line: Line, text: bytes, call: HookCall) -> None:
        shard = self._directory / line.key[:2]
        if not shard.is_dir():
            shard.mkdir(mode=0o700, exist_ok=True)
            self._sync(self._directory)
        temporary = shard / f".{secrets.token_hex(8)}"
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with open(descriptor, "wb") as file:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                file.write(text)
                file.flush()
                if self._durable:
                    os.fsync(descriptor)
            with self._lock:
                self._link(temporary, shard, line, call)
        finally:
            temporary.unlink(missing_ok=True)
        self._sync(shard)

    def _link(self, temporary: Path, shard: Path, line: Line, call: HookCall) -> None:
        """Give the file its name; from then on the call can be claimed."""
        while True:
            name = self._next_name(line)
            self._fresh.add(name, call)
            try:
                os.link(temporary, shard / name)
            except OSError as error:
                self._fresh.remove(name)
                if not isinstance(error, FileExistsError):
                    raise
            else:
                return

    def _read(self, path: Path, descriptor: int) -> Claim | float | None:
        """The claim, or the seconds until it is due; a file that cannot be read is put aside."""
        with open(descriptor, "rb", closefd=False) as file:
            first, *failures = file.read().split(b"\n")
        failures = [failure for failure in failures if failure]
        try:
            call = unpack_call(first)
        except CorruptCall:
            log.error(LogEvent("HookDeadLetter", file=path.name, error="not a call"))  # noqa: TRY400
            self._move_to_dead(path)
            return None
        due_in = _retry_at(failures[-1]) - time.time() if failures else 0.0
        if due_in > 0:
            return due_in
        return Claim(path, descriptor, self._fresh.get(path.name) or call, _created_at(path), len(failures))

    def _move_to_dead(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            path.rename(self._dead / path.name)
        self._fresh.remove(path.name)
        self._sync(self._dead)

    def _sync(self, directory: Path) -> None:
        if not self._durable:
            return
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _created_at(path: Path) -> float:
    return int(path.name.split("-")[1]) / 1e9


def _append(descriptor: int, reason: str, pause: float) -> None:
    now = time.time()
    failure = {"failed": round(now, 3), "retry": round(now + pause, 3), "error": reason[:_LONGEST_REASON]}
    os.lseek(descriptor, 0, os.SEEK_END)
    os.write(descriptor, json.dumps(failure).encode() + b"\n")


def _retry_at(text: bytes) -> float:
    """When the next attempt is due; at once after a line that was not written to its end."""
    try:
        return float(json.loads(text)["retry"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0.0
