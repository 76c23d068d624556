"""How a step gets at the bytes of a file."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from tusd_py.core.threads import InThread
from tusd_py.pipeline import TryLater


@asynccontextmanager
async def opened(path: str, in_thread: InThread, head_size: int) -> AsyncIterator[tuple[int, bytes]]:
    """A descriptor of the file, closed in the end, and its first `head_size` bytes.

    Raises FileNotFoundError, and `TryLater` for a file that cannot be read now.
    """
    with ExitStack() as closing:
        try:
            descriptor, head = await in_thread(_open, path, head_size, closing)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise TryLater(f"the file cannot be read: {error.strerror}") from error
        yield descriptor, head


def _open(path: str, head_size: int, closing: ExitStack) -> tuple[int, bytes]:
    """What is open is known to `closing` before anything can go wrong with it, a cancellation of the caller too."""
    descriptor = os.open(path, os.O_RDONLY)
    closing.callback(os.close, descriptor)
    return descriptor, os.pread(descriptor, head_size, 0)
