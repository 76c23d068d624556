import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.core.digests import ALGORITHMS


def digest_of(name: str, *pieces: bytes) -> bytes:
    digest = ALGORITHMS[name].start()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def test_the_algorithms_are_announced_with_the_mandatory_one_first() -> None:
    assert list(ALGORITHMS) == ["sha1", "sha256", "sha512", "md5", "crc32"]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("sha1", b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha256", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "sha512",
            b"abc",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        ("md5", b"abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("crc32", b"123456789", "cbf43926"),
        ("crc32", b"", "00000000"),
    ],
)
def test_published_vectors_come_out(name: str, data: bytes, expected: str) -> None:
    assert digest_of(name, data).hex() == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"hello world", "Kq5sNclPz7QV2+lfQIuc6R7oRu0="), (b"", "2jmj7l5rSw0yVb/vlWAYkK/YBwk=")],
)
def test_sha1_gives_the_checksum_of_the_specification(data: bytes, expected: str) -> None:
    assert base64.b64encode(digest_of("sha1", data)).decode() == expected


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
@given(pieces=st.lists(st.binary()))
def test_a_digest_has_its_size_and_does_not_depend_on_how_the_bytes_came(name: str, pieces: list[bytes]) -> None:
    digest = digest_of(name, *pieces)
    assert digest == digest_of(name, b"".join(pieces))
    assert len(digest) == ALGORITHMS[name].size
