"""State for one host: kernel locks on the data files, and messages between the processes that share the directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tusd_py.core.newest import Newest
from tusd_py.core.threads import Near
from tusd_py.state import Hold
from tusd_py.state.holds import Holds
from tusd_py.state.kernel_lock import KernelLock
from tusd_py.state.local_queue import LocalQueue
from tusd_py.state.messages import Messages

_WANTED, _FREE, _EXPIRED, _WORK = "wanted", "free", "expired", "work"


class FilesState:
    """Exclusion is a `flock` on the data file, so it holds between processes and ends with a killed one.

    Taking over: the newcomer tells the holder that it is wanted, at once within a process, by a message between two;
    the holder tells those who asked when it is done.
    """

    def __init__(self, directory: Path, near: Near) -> None:
        self._near = near
        self._messages = Messages(directory, self._on_message)
        self._is_started = False
        self._holds = Holds()
        self._askers: dict[str, set[str]] = {}
        self._expired: Newest[str, None] = Newest()
        self._listeners: dict[str, list[Callable[[str], None]]] = {}
        self.queue = _Queue(self._messages)

    async def start(self) -> None:
        if not self._is_started:
            self._messages.open()
            self._is_started = True

    async def close(self) -> None:
        if self._is_started:
            self._messages.close()

    def hold(
        self,
        key: str,
        path: str,
        *,
        shared: bool = False,
        slot: int | None = None,
        timeout: float,
        on_wanted: Callable[[], None] | None = None,
        on_lost: Callable[[], None] | None = None,  # noqa: ARG002 -- the kernel's locks are not lost
    ) -> AbstractAsyncContextManager[Hold]:
        if slot is not None:
            key = f"{key}#{slot}"
        kernel = KernelLock(path, shared=shared, slot=slot)
        lock = _Lock(key, kernel, self._near, self._messages, self._askers)
        return self._holds.hold(key, lock, timeout, on_wanted)

    def announce(self, event: str, subject: str) -> None:
        self._messages.broadcast(f"{event}\0{subject}")

    def listen(self, event: str, heard: Callable[[str], None]) -> None:
        self._listeners.setdefault(event, []).append(heard)

    async def bury(self, key: str) -> None:
        self._expired[key] = None
        self._messages.broadcast(f"{_EXPIRED}\0{key}")

    async def is_buried(self, key: str) -> bool:
        self._messages.read()  # who buried it said so before the upload went
        return key in self._expired

    async def check(self) -> None:
        """There is nothing that could be away."""

    def trouble(self) -> str:
        return ""

    def _on_message(self, text: str, sender: str) -> None:
        kind, _, subject = text.partition("\0")
        if kind == _WANTED:
            if self._holds.ask(subject):
                self._askers.setdefault(subject, set()).add(sender)
        elif kind == _FREE:
            self._holds.is_free(subject)
        elif kind == _EXPIRED:
            self._expired[subject] = None
        elif kind == _WORK:
            self.queue.hear(subject)
        for heard in self._listeners.get(kind, ()):
            heard(subject)


class _Lock:
    """The kernel's lock, and the messages about it; see `holds.Lock`. `askers` are names of processes, by key."""

    def __init__(
        self, key: str, kernel: KernelLock, near: Near, messages: Messages, askers: dict[str, set[str]]
    ) -> None:
        self._key = key
        self._kernel = kernel
        self._near = near
        self._messages = messages
        self._askers = askers

    @property
    def descriptor(self) -> int:
        return self._kernel.descriptor

    async def take(self, *, asking: bool) -> bool:
        """The holder is asked before the lock is tried, so that the end of its hold is not missed."""
        if asking:
            self._messages.broadcast(f"{_WANTED}\0{self._key}")
        return await self._near(self._kernel.path, self._kernel.take)

    async def release(self) -> None:
        """Let go, and tell those who asked: who found it taken has asked before, so that is here by now."""
        if self._kernel.descriptor >= 0:
            self._kernel.release()
            self._messages.read()
            for name in self._askers.pop(self._key, ()):
                self._messages.send(name, f"{_FREE}\0{self._key}")


class _Queue:
    """Every process has every piece of work in line; who comes to it first takes it, by the lock on its record."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._local = LocalQueue()

    def put(self, item: str) -> None:
        self._local.put(item)
        self._messages.broadcast(f"{_WORK}\0{item}")

    def refill(self, items: Iterable[str]) -> None:
        for item in items:
            self._local.put(item)

    def hear(self, item: str) -> None:
        self._local.put(item)

    async def take(self) -> str:
        return await self._local.take()

    def done(self, item: str) -> None:
        """Nobody else has to know."""
