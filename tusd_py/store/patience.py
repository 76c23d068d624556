"""How long a worker thread stays with a connection that cannot go on at once."""

from __future__ import annotations

import select
import time

_LONGEST_WAIT = 0.020
_LONGEST_TURN = 0.100
_LEAST_RATE = 10 * 1024 * 1024
"""A connection keeps its thread for so many seconds at once, so many in a turn, and only if it has moved so many bytes
a second in it.
"""


class Patience:
    """That of one turn, which begins now."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def is_ready(self, descriptor: int, event: int, moved: int) -> bool:
        """Wait until `event` (`select.POLLIN` or `POLLOUT`), unless the bytes moved in this turn are too few for it."""
        elapsed = time.monotonic() - self._began
        seconds = min(_LONGEST_WAIT, _LONGEST_TURN - elapsed, moved / _LEAST_RATE - elapsed)
        if seconds < 0.001:
            return False
        poller = select.poll()
        poller.register(descriptor, event)
        return bool(poller.poll(seconds * 1000))
