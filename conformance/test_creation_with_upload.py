"""The extension `creation-with-upload`."""

from __future__ import annotations

import pytest

from .extensions import creation_with_upload
from .marks import implied, may, must, needs
from .tus import OFFSET_STREAM, Server, checksum
from .wire import Connection, Fields, Reply

with_upload = needs("creation-with-upload")

STREAM: Fields = {"Content-Type": OFFSET_STREAM}


def post(server: Server, length: int, body: bytes, fields: Fields | None = None) -> Reply:
    return server.post({"Upload-Length": str(length), **STREAM, **(fields or {})}, body)


@must
def test_CWU_01_the_extension_is_announced_if_it_works(server: Server) -> None:
    """A server that takes data with the creation announces `creation-with-upload`, and `creation` with it."""
    assert creation_with_upload(server) == ("creation-with-upload" in server.extensions)
    assert "creation-with-upload" not in server.extensions or "creation" in server.extensions


@may
@with_upload
def test_CWU_02_the_body_is_the_first_part(server: Server) -> None:
    """The body of the creation is the first part of the data, and PATCH brings the rest."""
    upload = server.created(post(server, 11, b"hello"))
    assert server.offset(upload) == 5
    assert server.patch(upload, 5, b" world").status == 204
    server.check_content(upload, b"hello world")


@implied
@with_upload
@pytest.mark.parametrize("media_type", ["text/plain", "application/octet-stream", None])
def test_CWU_03_a_body_of_another_type_is_no_data(server: Server, media_type: str | None) -> None:
    """A body of another media type is refused with 415, or passed over; it never becomes part of the upload."""
    reply = post(server, 100, b"hello", {"Content-Type": media_type})
    assert reply.status == 415 or server.offset(server.created(reply)) == 0


@implied
@with_upload
def test_CWU_03_the_type_of_an_empty_body_does_not_matter(server: Server) -> None:
    """Some clients add a media type of their own to every POST; without a body it is ignored."""
    assert post(server, 100, b"", {"Content-Type": "application/x-www-form-urlencoded"}).status == 201


@must
@with_upload
def test_CWU_05_the_answer_shows_the_offset(server: Server) -> None:
    """`Upload-Offset` of the 201 is the number of bytes accepted."""
    reply = post(server, 100, b"hello")
    assert (reply.status, reply.header("Upload-Offset")) == (201, "5")


def offer(server: Server, length: int) -> Connection:
    """A connection with a creation that waits for leave to send its 5 bytes."""
    fields = {**STREAM, "Upload-Length": str(length), "Content-Length": "5", "Expect": "100-continue"}
    connection = Connection(server.url)
    connection.send(server.message("POST", server.url, fields).head())
    return connection


@implied
@with_upload
def test_CWU_06_the_body_is_asked_for(server: Server) -> None:
    """A client that sends `Expect: 100-continue` gets 100 before it sends the body, and then 201."""
    with offer(server, 5) as connection:
        assert connection.interim() == 100
        connection.send(b"hello")
        reply = connection.reply("POST")
    assert (reply.status, reply.header("Upload-Offset")) == (201, "5")


@implied
@with_upload
def test_CWU_06_the_body_of_a_refused_creation_is_not_asked_for(server: Server, max_size: int) -> None:
    """A creation that is refused by its headers gets its answer instead of 100."""
    with offer(server, max_size + 1) as connection:
        reply = connection.reply("POST")
    assert (reply.status, reply.interim) == (413, ())


@implied
@with_upload
def test_CWU_07_a_body_beyond_the_length_is_too_large(server: Server) -> None:
    """A body that is longer than `Upload-Length` is answered 413, and nothing is created."""
    reply = post(server, 3, b"hello")
    assert reply.status == 413
    assert reply.header("Location") is None


@implied
@with_upload
def test_CWU_08_the_whole_data_completes_the_upload(server: Server) -> None:
    """A creation with all of the data is complete at once, and does not expire."""
    reply = post(server, 5, b"hello")
    assert (reply.status, reply.header("Upload-Offset")) == (201, "5")
    assert reply.header("Upload-Expires") is None
    server.check_content(server.created(reply), b"hello")


@implied
@needs("creation-with-upload", "creation-defer-length")
def test_CWU_09_together_with_an_unknown_length(server: Server) -> None:
    """The creation of an upload of unknown length may bring data."""
    upload = server.created(server.post({"Upload-Defer-Length": "1", **STREAM}, b"hello"))
    shown = server.head(upload)
    assert (shown.header("Upload-Offset"), shown.header("Upload-Defer-Length")) == ("5", "1")


@implied
@needs("creation-with-upload", "concatenation")
def test_CWU_09_together_with_concatenation(server: Server) -> None:
    """The creation of a partial upload may bring data."""
    part = server.created(post(server, 5, b"hello", {"Upload-Concat": "partial"}))
    assert server.offset(part) == 5
    server.check_content(server.created(server.post({"Upload-Concat": f"final;{part}"})), b"hello")


@implied
@needs("creation-with-upload", "checksum")
def test_CWU_10_the_body_is_verified(server: Server) -> None:
    """`Upload-Checksum` counts for the body of a creation as for that of a PATCH: a wrong one leaves nothing behind."""
    reply = post(server, 10, b"hello", {"Upload-Checksum": checksum(b"hello")})
    assert (reply.status, reply.header("Upload-Offset")) == (201, "5")
    reply = post(server, 10, b"hello", {"Upload-Checksum": checksum(b"other")})
    assert (reply.status, reply.header("Location")) == (460, None)
