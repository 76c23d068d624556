"""A request body on its way into an upload, by whichever way the server offers."""

from __future__ import annotations

from collections.abc import Sequence

from tusd_py.core.body import Body
from tusd_py.service.threads import Threads
from tusd_py.store.receiver import Receiver
from tusd_py.store.turns import receive

NEAR_BYTES = 64 * 1024
"""A batch of fewer bytes, with its digest, is near work."""


async def receive_body(receiver: Receiver, body: Body, in_thread: Threads, path: str) -> None:
    """Write what comes until the body ends, whole or early (then `body.ended_early` says why), into the file at `path`.

    Raises what `Receiver.write` raises; what was written by then stays written. No thread works on the receiver when
    this is left, however it is left.
    """
    loan = await body.lend()
    if loan is not None:
        try:
            has_more = True  # most often some of it has come with the head
            while loan.remaining and body.ended_early is None and (has_more or await body.readable(loan)):
                has_more = await in_thread(receive, receiver, body, loan)
        finally:
            loan.give_back()
    async for batch in body.batches():
        if sum(map(len, batch)) < NEAR_BYTES:
            await in_thread.near(path, _write_batch, receiver, batch)
        else:
            await in_thread(_write_batch, receiver, batch)


def _write_batch(receiver: Receiver, batch: Sequence[bytes]) -> None:
    for piece in batch:
        receiver.write(piece)
