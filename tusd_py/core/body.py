"""What the layers agree on about a request body: two ways out of one seam.

A body is read in batches through the server's `receive()`, which is right on every server, or the server lends the
connection's socket so that a worker thread reads it without a copy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from tusd_py.core.errors import UploadError

Buffer = bytes | bytearray | memoryview

LENDING = "tusd_py.lending"
"""Key of `scope["extensions"]`: a `Lender`, if the server can hand out the body by other ways than `receive()`."""

WRITE_LIMIT = "tusd_py.write_limit"
"""Key of `scope["extensions"]`: there if the server itself drops a client that takes nothing of its answer."""

TRAILERS = "tusd_py.trailers"
"""Key of `scope["extensions"]`: the list that request trailers are put into, as (lower-case name, value) pairs of
bytes.
"""


class Loan(Protocol):
    """A connection's socket, lent for the rest of one request body.

    `fd` is non-blocking and stays so. `remaining` is what the body still has on that socket, in bytes; whoever reads
    lowers it, and never reads more. `buffered` is the start of the rest, already read by the server. With
    `is_encrypted` the bytes on the socket are not those of the body.
    """

    fd: int
    buffered: bytes
    remaining: int
    is_encrypted: bool

    def read_into(self, view: memoryview) -> int:
        """Read bytes of the body and lower `remaining`, in any thread; 0 at the end of what the client sends.

        Raises BlockingIOError where there is nothing at the moment, and other OSErrors of a broken connection.
        """

    async def readable(self) -> None:
        """Wait on the event loop until the socket has bytes, has ended or has failed."""

    def wake(self) -> None:
        """End a wait in `readable`."""

    def give_back(self) -> None:
        """Hand the socket back, at the end of the body or before it; no thread may use it any more."""


class Body(Protocol):
    """The body of one request.

    `length` is the announced Content-Length in bytes, None with chunked coding. `ended_early` says why reading
    stopped before the end, once it did. `stop_requested` may be read from any thread.
    """

    length: int | None
    ended_early: UploadError | None
    stop_requested: bool

    def batches(self) -> AsyncIterator[Sequence[bytes]]:
        """The bytes that came since the last batch; ends at the end of the body or when `ended_early` is set."""

    async def lend(self) -> Loan | None:
        """The socket, where the server lends it and it is worth it."""

    async def readable(self, loan: Loan) -> bool:
        """Wait for bytes on a lent socket; False once `ended_early` is set."""

    def fail(self, error: UploadError) -> None:
        """Note that the body ended early, as seen by who reads the lent socket."""

    def interrupt(self, error: UploadError, grace: float) -> None:
        """Ask for an early end, for this reason, after `grace` seconds if the body has not ended by then."""

    def watch(self) -> None:
        """Set `stop_requested` when the client goes; for a request without a body."""

    def trailer(self, name: str) -> list[str] | None:
        """The values of a trailer field, after the end of the body; None where trailers are not delivered."""


class Lender(Protocol):
    """What our own server offers for the body of a request, as the extension `LENDING`."""

    def arrived(self) -> bytes | None:
        """All of the body, if it has come before anybody asked; it is not received again."""

    async def lend(self) -> Loan | None:
        """Lend the socket for the rest of this request's body, or None where that cannot be done."""
