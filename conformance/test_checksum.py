"""The extensions `checksum` and `checksum-trailer`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from .extensions import checksum_trailer, checksums
from .marks import covers, implied, may, must, needs
from .tus import Server, check_refused, checksum, eventually, pattern, usual_time
from .wire import Connection, Fields, Reply, chunked

checking = needs("checksum")
trailing = needs("checksum", "checksum-trailer")

HELLO_WORLD = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="
NOTHING = "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk="
MIB = 2**20


@must
def test_CHK_01_the_extension_is_announced_if_it_works(server: Server) -> None:
    """A server that verifies checksums announces `checksum`, and only such a server."""
    assert checksums(server) == ("checksum" in server.extensions)


@must
@checking
def test_CHK_02_the_algorithms_are_announced(server: Server) -> None:
    """OPTIONS has `Tus-Checksum-Algorithm`, a comma-separated list with sha1 in it."""
    assert "sha1" in server.options().items("Tus-Checksum-Algorithm")


@must
@checking
@pytest.mark.parametrize(("data", "digest"), [(b"hello world", HELLO_WORLD), (b"", NOTHING)], ids=["some", "none"])
def test_CHK_03_sha1_is_always_there(server: Server, data: bytes, digest: str) -> None:
    """Every server of this extension knows sha1."""
    upload = server.create(11)
    reply = server.patch(upload, 0, data, {"Upload-Checksum": digest})
    assert (reply.status, reply.header("Upload-Offset")) == (204, str(len(data)))


@must
@checking
def test_CHK_04_names_have_no_capitals(server: Server) -> None:
    """Names of algorithms are ASCII without capital letters."""
    for name in server.options().items("Tus-Checksum-Algorithm"):
        assert name.isascii()
        assert name == name.lower()


@implied
@checking
def test_CHK_04_a_name_with_capitals_is_another_one(server: Server) -> None:
    """SHA1 is not a name of an algorithm."""
    upload = server.create(11)
    assert server.patch(upload, 0, b"hello world", {"Upload-Checksum": HELLO_WORLD.upper()}).status == 400
    assert server.offset(upload) == 0


@must
@checking
@covers("CHK-05", "CHK-06")
@pytest.mark.parametrize("size", [5, MIB])
def test_CHK_06_data_with_another_checksum_is_thrown_away(server: Server, size: int) -> None:
    """A body is verified when all of it is there: if its checksum does not match, none of it counts."""
    upload, data = server.create(10 + size), pattern(size)
    server.patch(upload, 0, b"0123456789")
    assert server.patch(upload, 10, bytes(size), {"Upload-Checksum": checksum(data)}).status >= 400
    assert server.offset(upload) == 10
    assert server.patch(upload, 10, data, {"Upload-Checksum": checksum(data)}).status == 204
    server.check_content(upload, b"0123456789" + data)


@may
@checking
def test_CHK_07_the_statuses(server: Server) -> None:
    """An unknown algorithm is answered 400, another checksum 460, and the right one 204."""
    upload = server.create(11)
    for value, status in [("whirlpool YQ==", 400), (checksum(b"other"), 460), (HELLO_WORLD, 204)]:
        assert server.patch(upload, 0, b"hello world", {"Upload-Checksum": value}).status == status


@must
@checking
@pytest.mark.parametrize("value", ["sha1", "sha1  x", "sha1 !!!", "sha1 YQ==", HELLO_WORLD.replace(" ", ""), ""])
def test_CHK_08_the_header_is_a_name_and_base64(server: Server, value: str) -> None:
    """`Upload-Checksum` is the name of an algorithm, a space, and the checksum in base64: other values are refused."""
    upload = server.create(11)
    check_refused(server.patch(upload, 0, b"hello world", {"Upload-Checksum": value}))
    assert server.offset(upload) == 0


@implied
@checking
def test_CHK_09_data_that_cannot_be_verified_does_not_count(server: Server) -> None:
    """Of a PATCH with a checksum that breaks off nothing is kept."""
    upload, data = server.create(MIB), pattern(MIB)
    with Connection(upload) as connection:
        fields = {"Content-Length": str(MIB), "Upload-Checksum": checksum(data)}
        connection.send(server.patch_message(upload, 0, None, fields).head() + data[: MIB // 2])
    assert server.offset(upload) == 0
    assert eventually(lambda: server.patch(upload, 0, data, {"Upload-Checksum": checksum(data)}).status == 204)
    server.check_content(upload, data)


def send_with_trailers(
    server: Server, upload: str, data: bytes, trailers: Sequence[tuple[str, str]], fields: Fields | None = None
) -> Reply:
    """PATCH at 0 in chunked coding, with the announcement of a checksum in the trailers."""
    announced = {"Transfer-Encoding": "chunked", "Trailer": "Upload-Checksum", **(fields or {})}
    pieces = [data[start : start + 10_000] for start in range(0, len(data), 10_000)]
    with Connection(upload) as connection:
        connection.send(server.patch_message(upload, 0, None, announced).head() + chunked(pieces, trailers))
        return connection.reply("PATCH")


@must
def test_CHK_10_trailers_are_announced_if_they_work(server: Server) -> None:
    """A server that takes checksums in trailers announces `checksum-trailer`, and only such a server."""
    assert checksum_trailer(server) == ("checksum-trailer" in server.extensions)


@must
@trailing
@pytest.mark.parametrize("size", [5, MIB])
def test_CHK_10_a_checksum_may_follow_the_data(server: Server, size: int) -> None:
    """A checksum after the last chunk counts like one in the header."""
    upload, data = server.create(size), pattern(size)
    assert send_with_trailers(server, upload, data, [("Upload-Checksum", checksum(b"other"))]).status == 460
    assert server.offset(upload) == 0
    assert send_with_trailers(server, upload, data, [("Upload-Checksum", checksum(data))]).status == 204
    server.check_content(upload, data)


@implied
@trailing
def test_CHK_11_a_promised_checksum_that_does_not_come(server: Server) -> None:
    """Data whose checksum was promised and did not come cannot be verified: 400, and nothing is kept."""
    upload = server.create(11)
    assert send_with_trailers(server, upload, b"hello world", []).status == 400
    assert server.offset(upload) == 0


@implied
@trailing
def test_CHK_11_data_that_breaks_off_before_its_checksum(server: Server) -> None:
    """Nor is anything kept when the connection breaks before the promised checksum."""
    upload = server.create(MIB)
    fields = {"Transfer-Encoding": "chunked", "Trailer": "Upload-Checksum"}
    with Connection(upload) as connection:
        half = chunked([pattern(MIB // 2)]).removesuffix(b"0\r\n\r\n")
        connection.send(server.patch_message(upload, 0, None, fields).head() + half)
    assert server.offset(upload) == 0


@implied
@trailing
def test_CHK_11_two_checksums_are_one_too_many(server: Server) -> None:
    """A checksum in the header and one in the trailers: 400."""
    upload, trailers = server.create(11), [("Upload-Checksum", HELLO_WORLD)]
    reply = send_with_trailers(server, upload, b"hello world", trailers, {"Upload-Checksum": HELLO_WORLD})
    assert reply.status == 400
    assert server.offset(upload) == 0


@implied
@trailing
def test_CHK_12_trailers_bring_nothing_but_the_checksum(server: Server) -> None:
    """Other fields in the trailers do not become headers of the request."""
    upload = server.create(11)
    foreign = [("Upload-Offset", "5"), ("Tus-Resumable", "9"), ("Content-Type", "text/plain"), ("Upload-Length", "7")]
    reply = send_with_trailers(server, upload, b"hello world", [*foreign, ("Upload-Checksum", HELLO_WORLD)])
    assert (reply.status, reply.header("Upload-Offset")) == (204, "11")


@implied
@checking
def test_CHK_13_an_empty_patch_has_a_checksum_too(server: Server) -> None:
    """The checksum of no data is verified like any other."""
    upload = server.create(11)
    assert server.patch(upload, 0, b"", {"Upload-Checksum": NOTHING}).status == 204
    assert server.patch(upload, 0, b"", {"Upload-Checksum": HELLO_WORLD}).status == 460


@implied
@checking
def test_CHK_14_hashing_does_not_stop_the_server(server: Server) -> None:
    """While large bodies are verified, another upload's HEAD is answered within a second."""
    data = pattern(16 * MIB)
    other, digest = server.create(5), checksum(data)
    uploads = [server.create(len(data)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        patches = [pool.submit(server.patch, upload, 0, data, {"Upload-Checksum": digest}) for upload in uploads]
        usual = usual_time(lambda: server.head(other), until=lambda: all(patch.done() for patch in patches))
    assert usual < 1
    assert [patch.result().status for patch in patches] == [204] * 4
