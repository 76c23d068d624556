"""Turns of worker threads at lent sockets: what moves an upload's bytes from the network to its file.

Two ways lead there. Bytes that nobody has to see pass through a pipe, inside the kernel (splice): half of the copying
is saved. Others, of which a digest is wanted or which are encrypted, are read into the thread's buffer.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from tusd_py.core import errors
from tusd_py.core.body import Body, Loan
from tusd_py.core.errors import UploadError
from tusd_py.store.patience import Patience
from tusd_py.store.receiver import Receiver

STEP = 1024 * 1024
"""Bytes that are moved at once: the size of a thread's buffer, and of a pipe."""

TURN = 16 * 1024 * 1024
"""Bytes that one connection may move before its thread serves another."""

_WORTH_A_PIPE = 128 * 1024
"""Bytes below which making one costs more than it saves; the kernel gives smaller ones to users who have many."""

Move = Callable[[], int]
"""Moves at most `STEP` bytes from the socket into the upload, and says how many; 0 at the socket's end.

What has left the socket does not remain of the loan, also where the upload could not take it.
"""


class _ThreadBuffer(threading.local):
    """One buffer per worker thread, made when it is first needed: memory is bounded by the threads."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(STEP))


_buffer = _ThreadBuffer()


def receive(receiver: Receiver, body: Body, loan: Loan) -> bool:
    """Move bytes from a lent socket into the upload, until the body ends, the socket runs dry or the turn is over.

    Returns whether the socket is likely to have more at once. One whose bytes are flowing is waited for a moment here,
    in the thread; a slow one on the event loop. What the socket shows as an end before the body's is noted on the
    body. Raises what `Receiver.write` raises.
    """
    if loan.buffered:
        buffered, loan.buffered = loan.buffered, b""
        receiver.write(buffered)
    with _way(receiver, loan) as move:
        moved, patience = 0, Patience()
        while loan.remaining and moved < TURN and not body.stop_requested:
            try:
                count = move()
            except BlockingIOError:
                if not patience.is_ready(loan.fd, select.POLLIN, moved):
                    return False
                continue
            except OSError:
                body.fail(UploadError(errors.CONNECTION_RESET))
                return False
            if not count:
                body.fail(UploadError(errors.UNEXPECTED_EOF, missing=loan.remaining))
                return False
            moved += count
    return True


@contextmanager
def _way(receiver: Receiver, loan: Loan) -> Iterator[Move]:
    """How the bytes of this turn move. Whatever fails on the side of the file is an `UploadError`."""
    is_unseen = not loan.is_encrypted and loan.remaining >= _WORTH_A_PIPE and receiver.can_take_unseen(loan.remaining)
    pipe = _open_pipe() if is_unseen else None
    if pipe is None:
        yield partial(_through_memory, receiver, loan)
        return
    try:
        yield partial(_through_pipe, receiver, loan, pipe)
    finally:  # with what is still in it, if the file did not take it
        for end in pipe:
            os.close(end)


def _through_memory(receiver: Receiver, loan: Loan) -> int:
    count = loan.read_into(_buffer.view)
    receiver.write(_buffer.view[:count])
    return count


def _through_pipe(receiver: Receiver, loan: Loan, pipe: tuple[int, int]) -> int:
    read_end, write_end = pipe
    count = os.splice(loan.fd, write_end, min(loan.remaining, STEP))
    loan.remaining -= count
    receiver.write_from_pipe(read_end, count)
    return count


def _open_pipe() -> tuple[int, int] | None:
    """A pipe for `STEP` bytes, or None where this system has none to give."""
    try:
        read_end, write_end = os.pipe()
    except OSError:
        return None
    try:
        size = fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, STEP)
    except OSError:
        size = fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ)
    if size < _WORTH_A_PIPE:
        os.close(read_end)
        os.close(write_end)
        return None
    return read_end, write_end
