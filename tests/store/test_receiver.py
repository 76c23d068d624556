import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store import MIB, content_of, data_file, largest_file
from tusd_py.core import errors
from tusd_py.core.errors import UploadError
from tusd_py.store.receiver import WRITEBACK_EVERY, Receiver


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
