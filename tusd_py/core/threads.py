"""How the rooms that must not know about threads ask for one, and what may do without.

Never block the event loop: whatever waits for a disk (a flush), for another process, or for longer the more bytes there
are (large writes, hashes, copies, walks through directories) is done in a thread. What is left is bounded and, on a
file system of this machine, shorter than the way to a thread and back: to look a file up, open, lock or link it, to
read or write a small one. That is *near* work, done at once where it is known to be so.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import ParamSpec, Protocol, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


Flush = Callable[[], object]
"""The part of an operation that waits for the disk."""

Steps = Generator[Flush, None, T]
"""An operation whose steps are near work, and which yields what has to be flushed between them."""


def done(steps: Steps[T]) -> T:
    """Go through an operation here and now."""
    try:
        flush = next(steps)
        while True:
            try:
                flush()
            except Exception as error:
                flush = steps.throw(error)
            else:
                flush = next(steps)
    except StopIteration as end:
        return cast(T, end.value)


class InThread(Protocol):
    """Runs a blocking function in a worker thread.

    When the caller is cancelled the function is still waited for, so that nothing it uses is taken from under it.
    """

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


class Near(Protocol):
    """Runs near work on the file at `path`: at once where that is quick, else as `InThread` does."""

    async def __call__(self, path: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
