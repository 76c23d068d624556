import fcntl
import hashlib
import os
import select
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store import largest_file
from tusd_py.core import errors
from tusd_py.core.body import Loan
from tusd_py.core.errors import UploadError
from tusd_py.store.receiver import TURN, WRITEBACK_EVERY, Receiver, receive

MIB = 1024 * 1024


class LentSocket:
    """A loan of some descriptor; nothing here waits on an event loop."""

    def __init__(self, fd: int, remaining: int, buffered: bytes = b"") -> None:
        self.fd = fd
        self.remaining = remaining
        self.buffered = buffered

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

    def lend(self) -> Loan | None:
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


@contextmanager
def data_file() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def content_of(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


# --- writing ---


def test_bytes_are_written_from_the_start_on_and_what_is_before_stays() -> None:
    with data_file() as descriptor:
        os.pwrite(descriptor, b"hello ", 0)
        receiver = Receiver(descriptor, 6, 5, hold_back=False)
        receiver.write(b"wor")
        receiver.write(bytearray(b"l"))
        receiver.write(memoryview(b"d"))
        receiver.finish()
        assert content_of(descriptor) == b"hello world"
        assert (receiver.start, receiver.position) == (6, 11)


def test_bytes_beyond_the_limit_are_refused_and_those_up_to_it_kept() -> None:
    with data_file() as descriptor:
        receiver = Receiver(descriptor, 0, 5, hold_back=False)
        receiver.write(b"hel")
        with pytest.raises(UploadError) as caught:
            receiver.write(b"lo world")
        assert caught.value.problem is errors.UPLOAD_SIZE_EXCEEDED
        assert content_of(descriptor) == b"hello"
        with pytest.raises(UploadError):
            receiver.write(b"!")
        receiver.write(b"")
        assert receiver.position == 5


def test_the_completing_byte_of_a_body_of_unknown_length_waits_for_its_end() -> None:
    with data_file() as descriptor:
        receiver = Receiver(descriptor, 0, 5, hold_back=True)
        receiver.write(b"hello")
        assert content_of(descriptor) == b"hell"
        assert receiver.position == 4
        receiver.finish()
        assert content_of(descriptor) == b"hello"
        assert receiver.position == 5
        receiver.finish()
        assert receiver.position == 5


@pytest.mark.parametrize("batches", [[b"hello world"], [b"hello", b" world"], [b"hell", b"o", b" "]])
def test_a_body_that_proves_too_long_never_completes_an_upload(batches: list[bytes]) -> None:
    with data_file() as descriptor:
        receiver = Receiver(descriptor, 0, 5, hold_back=True)
        for batch in batches[:-1]:
            receiver.write(batch)
        with pytest.raises(UploadError) as caught:
            receiver.write(batches[-1])
        assert caught.value.problem is errors.UPLOAD_SIZE_EXCEEDED
        assert content_of(descriptor) == b"hell"


@given(
    batches=st.lists(st.binary(max_size=20), max_size=6),
    limit=st.integers(0, 60),
    start=st.integers(0, 5),
    hold_back=st.booleans(),
)
@settings(deadline=None)
def test_what_is_written_is_the_start_of_the_body_and_never_beyond_the_limit(
    batches: list[bytes], limit: int, start: int, hold_back: bool
) -> None:
    body = b"".join(batches)
    is_over = len(body) > limit
    with data_file() as descriptor:
        receiver = Receiver(descriptor, start, limit, hold_back=hold_back, digest=hashlib.sha256())
        for batch in batches:
            try:
                receiver.write(batch)
            except UploadError:
                assert is_over
                break
            written = receiver.position - start
            assert written < limit or not hold_back or not limit
        else:
            assert not is_over
            receiver.finish()
        expected = body[: limit - 1 if is_over and hold_back else limit] if limit else b""
        assert os.pread(descriptor, 1000, start) == expected
        assert receiver.position == start + len(expected)
        assert receiver.digest() == hashlib.sha256(expected).digest()


def test_without_an_algorithm_there_is_no_digest() -> None:
    with data_file() as descriptor:
        receiver = Receiver(descriptor, 0, 5, hold_back=False)
        receiver.write(b"hello")
        assert receiver.digest() == b""


def test_a_full_disk_is_said_and_nothing_counts_that_was_not_written() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        receiver = Receiver(full.fileno(), 0, 100, hold_back=False)
        with pytest.raises(UploadError) as caught:
            receiver.write(b"hello")
    assert caught.value.problem is errors.DISK_FULL
    assert receiver.position == 0


def test_a_disk_that_fills_up_keeps_the_bytes_that_found_room(tmp_path: Path) -> None:
    with (tmp_path / "data").open("w+b", buffering=0) as file:
        receiver = Receiver(file.fileno(), 0, 20_000, hold_back=False, digest=hashlib.sha256())
        with largest_file(10_000), pytest.raises(UploadError) as caught:
            receiver.write(b"x" * 15_000)
        assert caught.value.problem is errors.DISK_FULL
        assert receiver.position == os.fstat(file.fileno()).st_size == 10_000
        assert receiver.digest() == hashlib.sha256(b"x" * 10_000).digest()


def test_space_is_looked_for_on_the_way_of_a_large_body() -> None:
    looks: list[int] = []
    with data_file() as descriptor:
        receiver = Receiver(descriptor, 0, 100 * MIB, hold_back=False, check_space=lambda: looks.append(1))
        for _ in range(2 * WRITEBACK_EVERY // MIB):
            receiver.write(bytes(MIB))
        assert len(looks) == 2


def test_a_body_ends_when_there_is_no_space_left_to_keep() -> None:
    def no_space() -> None:
        raise UploadError(errors.DISK_FULL)

    with data_file() as descriptor:
        receiver = Receiver(descriptor, 0, 100 * MIB, hold_back=False, check_space=no_space)
        with pytest.raises(UploadError) as caught:
            receiver.write(bytes(WRITEBACK_EVERY))
        assert caught.value.problem is errors.DISK_FULL
        assert receiver.position == WRITEBACK_EVERY


# --- draining a lent socket ---


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


def test_a_large_body_arrives_byte_for_byte_whatever_the_pace() -> None:
    content = os.urandom(24 * MIB)
    with data_file() as descriptor, connection() as (client, ours):
        loan = LentSocket(ours.fileno(), len(content))
        receiver = Receiver(descriptor, 0, len(content), hold_back=False, digest=hashlib.sha256())
        sender = threading.Thread(target=client.sendall, args=(content,))
        sender.start()
        while loan.remaining:
            assert select.select([ours], [], [], 10)[0]
            receive(receiver, LentBody(), loan)
        sender.join()
        assert content_of(descriptor) == content
        assert receiver.digest() == hashlib.sha256(content).digest()


def test_a_body_on_a_lent_socket_has_the_same_limit() -> None:
    with data_file() as descriptor, connection() as (client, ours):
        client.sendall(b"hello world")
        with pytest.raises(UploadError) as caught:
            receive(Receiver(descriptor, 0, 5, hold_back=False), LentBody(), LentSocket(ours.fileno(), 11))
        assert caught.value.problem is errors.UPLOAD_SIZE_EXCEEDED
        assert content_of(descriptor) == b"hello"
