"""The end of a server: nothing new is taken, and what is being received ends with what it has brought."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tusd_py.core import errors
from tusd_py.core.body import Body
from tusd_py.core.errors import UploadError


class Draining:
    """Whether the server is stopping, and the bodies that a stop ends."""

    def __init__(self) -> None:
        self.has_begun = False
        self._receiving: set[Body] = set()

    def begin(self) -> None:
        self.has_begun = True
        for body in tuple(self._receiving):
            body.interrupt(UploadError(errors.SERVER_SHUTDOWN), 0)

    def refuse_new(self) -> None:
        """Raises 503 once the end has begun."""
        if self.has_begun:
            raise UploadError(errors.SERVER_SHUTDOWN)

    @contextmanager
    def receiving(self, body: Body) -> Iterator[None]:
        """While this body is received, a stop ends it."""
        self._receiving.add(body)
        if self.has_begun:
            body.interrupt(UploadError(errors.SERVER_SHUTDOWN), 0)
        try:
            yield
        finally:
            self._receiving.discard(body)
