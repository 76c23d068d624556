import fcntl
import hashlib
import os
import resource
import select
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.store import MIB, content_of, data_file, largest_file
from tusd_py.core import errors
from tusd_py.core.body import Loan
from tusd_py.core.errors import UploadError
from tusd_py.store.receiver import Receiver
from tusd_py.store.turns import TURN, receive


class LentSocket:
    """A loan of some descriptor; nothing here waits on an event loop."""

    is_encrypted = False

    def __init__(self, fd: int, remaining: int, buffered: bytes = b"") -> None:
        self.fd = fd
        self.remaining = remaining
        self.buffered = buffered

    def read_into(self, view: memoryview) -> int:
        count = os.readv(self.fd, [view[: self.remaining]])
        self.remaining -= count
        return count

    async def readable(self) -> None:
        raise NotImplementedError

    def wake(self) -> None:
        raise NotImplementedError

    def give_back(self) -> None:
        raise NotImplementedError


class LentBody:
    """A body whose bytes are on a loan; remembers why it ended early."""

    def __init__(self, *, stop_requested: bool = False) -> None:
        self.length: int | None = None
        self.ended_early: UploadError | None = None
        self.stop_requested = stop_requested

    def batches(self) -> AsyncIterator[Sequence[bytes]]:
        raise NotImplementedError

    async def lend(self) -> Loan | None:
        raise NotImplementedError

    async def readable(self, loan: Loan) -> bool:
        raise NotImplementedError

    def fail(self, error: UploadError) -> None:
        self.ended_early = error

    def interrupt(self, error: UploadError, grace: float) -> None:
        raise NotImplementedError

    def watch(self) -> None:
        raise NotImplementedError

    def trailer(self, name: str) -> list[str] | None:
        raise NotImplementedError


@contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's end, and ours, which never blocks."""
    client, ours = socket.socketpair()
    with client, ours:
        ours.setblocking(False)
        yield client, ours


def test_what_the_server_had_read_comes_before_what_is_on_the_socket() -> None:
    body = LentBody()
    with data_file() as descriptor, connection() as (client, ours):
        client.sendall(b"world")
        loan = LentSocket(ours.fileno(), 5, b"hello ")
        receive(Receiver(descriptor, 0, 11, hold_back=False), body, loan)
        assert content_of(descriptor) == b"hello world"
        assert (loan.buffered, loan.remaining, body.ended_early) == (b"", 0, None)


def test_what_follows_the_body_is_never_read() -> None:
    with data_file() as descriptor, connection() as (client, ours):
        client.sendall(b"helloPATCH /files/next")
        receive(Receiver(descriptor, 0, 5, hold_back=False), LentBody(), LentSocket(ours.fileno(), 5))
        assert content_of(descriptor) == b"hello"
        assert ours.recv(100) == b"PATCH /files/next"


def test_a_socket_that_runs_dry_is_left_at_once() -> None:
    body = LentBody()
    with data_file() as descriptor, connection() as (client, ours):
        loan = LentSocket(ours.fileno(), 11)
        receiver = Receiver(descriptor, 0, 11, hold_back=False)
        client.sendall(b"hello ")
        receive(receiver, body, loan)
        assert (loan.remaining, body.ended_early) == (5, None)
        receive(receiver, body, loan)
        assert (loan.remaining, body.ended_early) == (5, None)
        client.sendall(b"world")
        receive(receiver, body, loan)
        assert content_of(descriptor) == b"hello world"


def test_an_end_before_that_of_the_body_is_noted_and_the_bytes_are_kept() -> None:
    body = LentBody()
    with data_file() as descriptor, connection() as (client, ours):
        client.sendall(b"hello ")
        client.close()
        receive(Receiver(descriptor, 0, 11, hold_back=False), body, LentSocket(ours.fileno(), 11))
        assert content_of(descriptor) == b"hello "
    assert body.ended_early is not None
    assert body.ended_early.problem is errors.UNEXPECTED_EOF
    assert body.ended_early.evidence == {"missing": 5}


def test_a_reset_connection_is_noted() -> None:
    body = LentBody()
    with data_file() as descriptor, connection() as (client, ours):
        ours.sendall(b"never read")
        client.close()
        receive(Receiver(descriptor, 0, 11, hold_back=False), body, LentSocket(ours.fileno(), 11))
    assert body.ended_early is not None
    assert body.ended_early.problem is errors.CONNECTION_RESET


def test_a_body_that_has_to_stop_is_not_read_on() -> None:
    body = LentBody(stop_requested=True)
    with data_file() as descriptor, connection() as (client, ours):
        client.sendall(b"world")
        loan = LentSocket(ours.fileno(), 5, b"hello ")
        receive(Receiver(descriptor, 0, 11, hold_back=False), body, loan)
        assert content_of(descriptor) == b"hello "
        assert loan.remaining == 5


def test_one_connection_moves_no_more_than_its_turn() -> None:
    with data_file() as descriptor, tempfile.TemporaryFile() as source:
        source.truncate(TURN + 5 * MIB)
        loan = LentSocket(source.fileno(), TURN + 5 * MIB)
        receiver = Receiver(descriptor, 0, TURN + 5 * MIB, hold_back=False)
        receive(receiver, LentBody(), loan)
        assert receiver.position == TURN
        assert loan.remaining == 5 * MIB


def test_a_fast_sender_is_waited_for_a_moment_but_no_longer() -> None:
    """As much as counts as flowing is on the pipe, and then nothing comes any more."""
    with data_file() as descriptor:
        source, target = os.pipe()
        try:
            fcntl.fcntl(target, fcntl.F_SETPIPE_SZ, MIB)
            os.set_blocking(source, False)
            assert os.write(target, bytes(MIB)) == MIB
            loan = LentSocket(source, 2 * MIB)
            receive(Receiver(descriptor, 0, 2 * MIB, hold_back=False), LentBody(), loan)
            assert loan.remaining == MIB
        finally:
            os.close(source)
            os.close(target)


@pytest.mark.parametrize("has_digest", [False, True], ids=["through a pipe", "through memory"])
def test_a_large_body_arrives_byte_for_byte_whatever_the_pace(has_digest: bool) -> None:
    content = os.urandom(24 * MIB + 17)
    with data_file() as descriptor, connection() as (client, ours):
        loan = LentSocket(ours.fileno(), len(content) - 5, content[:5])
        receiver = _receiver(descriptor, len(content), has_digest)
        sender = threading.Thread(target=client.sendall, args=(content[5:] + b"PATCH",))
        sender.start()
        while loan.remaining:
            assert select.select([ours], [], [], 10)[0]
            receive(receiver, LentBody(), loan)
        sender.join()
        assert content_of(descriptor) == content
        assert receiver.digest() == (hashlib.sha256(content).digest() if has_digest else b"")
        assert ours.recv(100) == b"PATCH"


@pytest.mark.parametrize("has_digest", [False, True], ids=["through a pipe", "through memory"])
def test_the_bytes_of_a_lent_socket_that_found_room_on_the_disk_are_kept(tmp_path: Path, has_digest: bool) -> None:
    content = os.urandom(MIB)
    with (tmp_path / "data").open("w+b", buffering=0) as file, _source(content) as source:
        receiver = _receiver(file.fileno(), 2 * MIB, has_digest)
        loan = LentSocket(source, 2 * MIB)
        with largest_file(10_000), pytest.raises(UploadError) as caught:
            receive(receiver, LentBody(), loan)
        assert caught.value.problem is errors.DISK_FULL
        assert receiver.position == 10_000
        assert content_of(file.fileno()) == content[:10_000]
        assert loan.remaining == 2 * MIB - len(content) + len(os.read(source, 2 * MIB))  # what was lost is not awaited


def test_a_file_that_takes_nothing_from_a_pipe_is_written_to(tmp_path: Path) -> None:
    """One that is open for appending is such a file."""
    content = os.urandom(MIB)
    with (tmp_path / "data").open("ab", buffering=0) as file, _source(content) as source:
        receiver = _receiver(file.fileno(), MIB, has_digest=False)
        receive(receiver, LentBody(), LentSocket(source, MIB))
        assert (tmp_path / "data").read_bytes() == content
        assert receiver.position == MIB


def test_no_descriptor_is_needed_and_none_stays_open() -> None:
    content = os.urandom(MIB)
    half = MIB // 2
    with data_file() as descriptor, _source(content) as source:
        receiver = _receiver(descriptor, MIB, has_digest=False)
        before = os.listdir("/proc/self/fd")
        receive(receiver, LentBody(), LentSocket(source, half))
        assert len(os.listdir("/proc/self/fd")) == len(before)
        with _no_more_descriptors():
            receive(receiver, LentBody(), LentSocket(source, half))
        assert content_of(descriptor) == content


def test_whether_more_is_likely_to_come_at_once_is_told() -> None:
    with data_file() as descriptor, connection() as (client, ours), _source(bytes(TURN + MIB)) as source:
        receiver = _receiver(descriptor, TURN + MIB, has_digest=False)
        assert receive(receiver, LentBody(), LentSocket(source, TURN + MIB))
        client.sendall(b"abc")
        loan = LentSocket(ours.fileno(), 5)
        assert not receive(receiver, LentBody(), loan)
        assert not receive(receiver, LentBody(), loan)
        assert loan.remaining == 2


@contextmanager
def _source(content: bytes) -> Iterator[int]:
    """Something that has all of these bytes at once."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file.fileno()


def _receiver(descriptor: int, limit: int, has_digest: bool) -> Receiver:
    """One that sees the bytes, or one that need not."""
    digest = hashlib.sha256() if has_digest else None
    return Receiver(descriptor, 0, limit, hold_back=False, digest=digest)


@contextmanager
def _no_more_descriptors() -> Iterator[None]:
    """This process can open nothing for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with tempfile.TemporaryFile() as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_body_on_a_lent_socket_has_the_same_limit() -> None:
    with data_file() as descriptor, connection() as (client, ours):
        client.sendall(b"hello world")
        with pytest.raises(UploadError) as caught:
            receive(Receiver(descriptor, 0, 5, hold_back=False), LentBody(), LentSocket(ours.fileno(), 11))
        assert caught.value.problem is errors.UPLOAD_SIZE_EXCEEDED
        assert content_of(descriptor) == b"hello"
