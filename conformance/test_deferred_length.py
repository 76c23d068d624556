"""The extension `creation-defer-length`."""

from __future__ import annotations

import pytest

from .extensions import creation_defer_length
from .marks import implied, must, needs, should
from .tus import Server, check_refused
from .wire import Connection, chunked

deferring = needs("creation-defer-length")


@must
def test_DEF_01_the_extension_is_announced_if_it_works(server: Server) -> None:
    """A server that takes uploads of unknown length announces `creation-defer-length`, and only such a server."""
    assert creation_defer_length(server) == ("creation-defer-length" in server.extensions)


@must
@deferring
def test_DEF_02_the_value_is_1(server: Server) -> None:
    """`Upload-Defer-Length: 1` creates an upload of unknown length."""
    assert server.post({"Upload-Defer-Length": "1"}).status == 201


@should
@deferring
@pytest.mark.parametrize("value", ["0", "2", "true", "01", ""], ids=["0", "2", "true", "01", "empty"])
def test_DEF_03_another_value_is_a_bad_request(server: Server, value: str) -> None:
    """Another value than 1 is answered 400."""
    reply = server.post({"Upload-Defer-Length": value})
    assert reply.status == 400
    assert reply.header("Location") is None


@must
def test_DEF_04_the_header_is_absent_if_the_length_is_known(server: Server) -> None:
    """`Upload-Defer-Length` is not shown for an upload whose length is known."""
    assert server.head(server.create(5)).header("Upload-Defer-Length") is None


@must
@deferring
def test_DEF_05_head_shows_that_the_length_is_unknown(server: Server) -> None:
    """While the length is unknown, HEAD shows `Upload-Defer-Length: 1` and no `Upload-Length`."""
    upload = server.create(None)
    for offset in (0, 5):
        reply = server.head(upload)
        assert (reply.header("Upload-Defer-Length"), reply.header("Upload-Length")) == ("1", None)
        assert reply.header("Upload-Offset") == str(offset)
        server.patch(upload, offset, b"hello")


@implied
@deferring
@pytest.mark.parametrize("bodies", [[b"hello world"], [b"hello", b" world"], [b"hello", b" world", b""]])
@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_DEF_06_the_length_comes_with_any_patch(server: Server, bodies: list[bytes], which: int) -> None:
    """The length comes with the first, a later or the last PATCH, which may be empty; from then on HEAD shows it."""
    upload, offset = server.create(None), 0
    declaring = range(len(bodies))[which]
    for number, body in enumerate(bodies):
        reply = server.patch(upload, offset, body, {"Upload-Length": "11" if number == declaring else None})
        offset += len(body)
        assert (reply.status, reply.header("Upload-Offset")) == (204, str(offset))
        shown = server.head(upload)
        known = number >= declaring
        assert shown.header("Upload-Length") == ("11" if known else None)
        assert shown.header("Upload-Defer-Length") == (None if known else "1")
    server.check_content(upload, b"hello world")


@must
@deferring
def test_DEF_07_a_length_does_not_change(server: Server) -> None:
    """Once the length is set, another one is refused, and nothing of that request is kept."""
    upload = server.create(None)
    server.patch(upload, 0, b"hello", {"Upload-Length": "11"})
    check_refused(server.patch(upload, 5, b" world", {"Upload-Length": "12"}))
    shown = server.head(upload)
    assert (shown.header("Upload-Length"), shown.header("Upload-Offset")) == ("11", "5")


@implied
@deferring
def test_DEF_07_the_same_length_again_is_no_change(server: Server) -> None:
    """A client that lost an answer may send the same length once more."""
    upload = server.create(None)
    server.patch(upload, 0, b"hello", {"Upload-Length": "11"})
    assert server.patch(upload, 5, b" world", {"Upload-Length": "11"}).status == 204


@implied
@deferring
def test_DEF_08_a_length_below_the_offset_is_a_bad_request(server: Server) -> None:
    """A length that the upload has already passed is answered 400."""
    upload = server.create(None)
    server.patch(upload, 0, b"hello")
    assert server.patch(upload, 5, b"", {"Upload-Length": "4"}).status == 400
    assert server.head(upload).header("Upload-Defer-Length") == "1"


@implied
@deferring
def test_DEF_08_a_length_above_the_maximum_is_too_large(server: Server, max_size: int) -> None:
    """A length above the maximum is answered 413."""
    assert server.patch(server.create(None), 0, b"hello", {"Upload-Length": str(max_size + 1)}).status == 413


@implied
@deferring
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_DEF_09_the_maximum_binds_uploads_of_unknown_length(server: Server, max_size: int, framing: str) -> None:
    """An upload of unknown length does not grow beyond the maximum either: 413."""
    if max_size > 64 * 2**20:
        pytest.skip("the server's limit is too large for this test: above 64 MiB")
    upload, data = server.create(None), bytes(max_size + 1)
    with Connection(upload) as connection:
        if framing == "length":
            reply = connection.exchange(server.patch_message(upload, 0, data))
        else:
            message = server.patch_message(upload, 0, None, {"Transfer-Encoding": "chunked"})
            connection.send(message.head() + chunked([data]))
            reply = connection.reply()
    assert reply.status == 413
    assert server.offset(upload) <= max_size


@implied
@deferring
def test_DEF_10_a_length_equal_to_the_offset_completes(server: Server) -> None:
    """The PATCH that makes length and offset equal completes the upload, also an empty one."""
    upload = server.create(None)
    server.patch(upload, 0, b"hello")
    assert server.patch(upload, 5, b"", {"Upload-Length": "5"}).status == 204
    server.check_content(upload, b"hello")


@implied
def test_DEF_11_a_known_length_is_not_changed_by_patch(server: Server) -> None:
    """`Upload-Length` in a PATCH of an upload of known length: the same is accepted, another one is not."""
    upload = server.create(11)
    assert server.patch(upload, 0, b"hello", {"Upload-Length": "11"}).status == 204
    check_refused(server.patch(upload, 5, b" world", {"Upload-Length": "12"}))
    shown = server.head(upload)
    assert (shown.header("Upload-Length"), shown.header("Upload-Offset")) == ("11", "5")
