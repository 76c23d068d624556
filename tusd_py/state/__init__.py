"""Coordination of requests: who may write an upload, and who has to stop.

Nothing here holds the only copy of anything: what counts is on disk. `State` is what every kind of state offers; the
one for a single host, with any number of processes, is `files`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Hold:
    """The right to act on an upload's data file. `descriptor` is that file, open for writing and locked by the kernel.

    It must not be passed on: whoever else wants the file opens it again.
    """

    key: str
    descriptor: int


class State(Protocol):
    """Holds on uploads, by key (the upload id)."""

    def hold(
        self,
        key: str,
        path: str,
        *,
        shared: bool = False,
        slot: int | None = None,
        timeout: float,
        on_wanted: Callable[[], None] | None = None,
    ) -> AbstractAsyncContextManager[Hold]:
        """Hold an upload, alone or `shared`, from the moment the block is entered to its end.

        With a `slot` only this one of the places that the file at `path` stands for is held.

        Who holds it otherwise is asked to stop. `on_wanted` is called, on the event loop and possibly more than once,
        when a newcomer asks us to. Raises 423 ERR_UPLOAD_LOCKED after `timeout` seconds (0: at once, and nobody is
        asked), and 404 if the file at `path` goes away. A killed process loses its holds at once.
        """

    async def start(self) -> None:
        """Begin to hear what other processes want; does nothing the second time."""

    async def close(self) -> None: ...
