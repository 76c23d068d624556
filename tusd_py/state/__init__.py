"""Coordination of processes: who may write an upload, who has to stop, what is to be done, what has happened.

Nothing here holds the only copy of anything: what counts is on disk. `State` is what every kind of state offers:
`files` serves one host with any number of processes, `redis` many hosts that share a directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

SETTLED = "settled"
"""The event that a file is settled; its subject is the file id."""

FORGOTTEN = "forgotten"
"""The event, also of this process, that there may be work on disk which is not in line, or no longer."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The right to act on an upload's data file. `descriptor` is that file, open for writing and locked by the kernel.

    It must not be passed on: whoever else wants the file opens it again.
    """

    key: str
    descriptor: int


class WorkQueue(Protocol):
    """Work in line for whichever process comes to it, by the ids of what is to be worked on.

    It is an index of what is on disk, and may forget, or name twice, what is there.
    """

    def put(self, item: str) -> None:
        """Put new work in line; it does not wait, and never fails."""

    def refill(self, items: Iterable[str]) -> None:
        """The same for what has been found on disk, and is likely to be in line already."""

    async def take(self) -> str:
        """Wait for work. It is in this process's hands until `done`, or for as long as this process lives."""

    def done(self, item: str) -> None: ...


class State(Protocol):
    """Holds on uploads, by key (the upload id), and what processes let each other know."""

    @property
    def queue(self) -> WorkQueue: ...

    def hold(
        self,
        key: str,
        path: str,
        *,
        shared: bool = False,
        slot: int | None = None,
        timeout: float,
        on_wanted: Callable[[], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> AbstractAsyncContextManager[Hold]:
        """Hold an upload, alone or `shared`, from the moment the block is entered to its end.

        With a `slot` only this one of the places that the file at `path` stands for is held.

        Who holds it otherwise is asked to stop. `on_wanted` is called, on the event loop and possibly more than once,
        when a newcomer asks us to; `on_lost` when it is no longer certain that we hold it, and we have to stop at
        once. Raises 423 ERR_UPLOAD_LOCKED after `timeout` seconds (0: at once, and nobody is asked), 404 if the file at
        `path` goes away, and 503 ERR_STATE_UNAVAILABLE. A killed process loses its holds at once, or within seconds
        where that takes another host's word.
        """

    def announce(self, event: str, subject: str) -> None:
        """Tell every other process; one that does not hear it has to find out by itself."""

    def listen(self, event: str, heard: Callable[[str], None]) -> None:
        """From now on `heard(subject)` is called, on the event loop, for each announcement of another process."""

    async def bury(self, key: str) -> None:
        """Remember, in all processes, that this upload has expired, before it is removed."""

    async def is_buried(self, key: str) -> bool:
        """Whether this upload is known to have expired; not for ever, and not for certain."""

    async def check(self) -> None:
        """Raises 503 ERR_STATE_UNAVAILABLE while nothing can be held."""

    def trouble(self) -> str:
        """What works less well than it should, in a word or two; empty if nothing does."""

    async def start(self) -> None:
        """Begin to hear what other processes want; does nothing the second time."""

    async def close(self) -> None: ...
