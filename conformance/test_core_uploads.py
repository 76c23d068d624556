"""The core protocol: HEAD and PATCH of an upload."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .marks import covers, implied, must, should
from .tus import OFFSET_STREAM, Server, check_refused, pattern
from .wire import Connection, Reply, chunked


@must
@covers("CORE-14", "CORE-15")
def test_CORE_14_head_shows_offset_and_length(server: Server) -> None:
    """HEAD shows `Upload-Offset`, also at 0 and at the end, and `Upload-Length` when it is known."""
    upload = server.create(8)
    for offset, data in [(0, b""), (0, b"hello"), (5, b"you")]:
        if data:
            server.patch(upload, offset, data)
        reply = server.head(upload)
        assert reply.header("Upload-Offset") == str(offset + len(data))
        assert reply.header("Upload-Length") == "8"


@should
def test_CORE_16_an_unknown_upload_has_no_offset(server: Server) -> None:
    """HEAD of an unknown upload is 404, 410 or 403, without `Upload-Offset`."""
    reply = server.head(server.unknown())
    assert reply.status in {403, 404, 410}
    assert reply.header("Upload-Offset") is None


@should
def test_CORE_17_head_succeeds_with_200_or_204(server: Server) -> None:
    """The status of a successful HEAD is 200 or 204, and nothing follows its head on the connection."""
    upload = server.create(5)
    with Connection(upload) as connection:
        for _ in range(2):
            assert connection.exchange(server.message("HEAD", upload)).status in {200, 204}


HEADS: dict[str, Callable[[Server], Reply]] = {
    "new": lambda server: server.head(server.create(5)),
    "complete": lambda server: server.head(server.uploaded(b"hello")),
    "unknown": lambda server: server.head(server.unknown()),
    "unsupported version": lambda server: server.head(server.create(5), {"Tus-Resumable": "0.2.2"}),
}


@must
@pytest.mark.parametrize("name", HEADS)
def test_CORE_18_head_is_not_to_be_stored(server: Server, name: str) -> None:
    """Answers to HEAD carry `Cache-Control: no-store`, whatever their status."""
    assert "no-store" in HEADS[name](server).items("Cache-Control")


@should
def test_CORE_19_bytes_go_where_the_offset_says(server: Server) -> None:
    """PATCH is accepted on any upload and applies its bytes at `Upload-Offset`."""
    upload, data = server.create(300_000), pattern(300_000)
    for start in range(0, 300_000, 100_000):
        reply = server.patch(upload, start, data[start : start + 100_000])
        assert (reply.status, reply.header("Upload-Offset")) == (204, str(start + 100_000))
    server.check_content(upload, data)


@should
@pytest.mark.parametrize("media_type", ["text/plain", "application/octet-stream", "application/offset", None])
def test_CORE_20_another_media_type_is_refused(server: Server, media_type: str | None) -> None:
    """PATCH with another media type than `application/offset+octet-stream`, or none, is answered 415."""
    upload = server.create(5)
    assert server.patch(upload, 0, b"hello", {"Content-Type": media_type}).status == 415
    assert server.offset(upload) == 0


@implied
@pytest.mark.parametrize("media_type", ["Application/Offset+Octet-Stream", f"{OFFSET_STREAM}; charset=binary"])
def test_CORE_20_media_types_are_compared_as_http_says(server: Server, media_type: str) -> None:
    """Media types have no case, and parameters do not make another type."""
    assert server.patch(server.create(5), 0, b"hello", {"Content-Type": media_type}).status == 204


@must
@pytest.mark.parametrize("offset", [0, 4, 6, 2**62], ids=["begin", "before", "after", "far"])
def test_CORE_21_another_offset_is_a_conflict(server: Server, offset: int) -> None:
    """PATCH at another offset than the current one is answered 409, and the upload is not changed."""
    upload = server.create(10)
    server.patch(upload, 0, b"01234")
    assert server.patch(upload, offset, b"xxxxx").status == 409
    assert server.offset(upload) == 5
    server.patch(upload, 5, b"56789")
    server.check_content(upload, b"0123456789")


@implied
def test_CORE_21_a_patch_without_offset_is_a_bad_request(server: Server) -> None:
    """PATCH without `Upload-Offset` is answered 400."""
    upload = server.create(5)
    assert server.patch(upload, 0, b"hello", {"Upload-Offset": None}).status == 400
    assert server.offset(upload) == 0


@must
@covers("CORE-22", "CORE-23")
def test_CORE_22_an_accepted_patch_is_a_204_with_the_new_offset(server: Server) -> None:
    """PATCH succeeds with 204, without a body, and `Upload-Offset` is the new offset."""
    upload = server.create(8)
    with Connection(upload) as connection:
        for offset, data, after in [(0, b"hello", "5"), (5, b"you", "8")]:
            reply = connection.exchange(server.patch_message(upload, offset, data))
            assert (reply.status, reply.header("Upload-Offset")) == (204, after)
            assert reply.header("Transfer-Encoding") is None


@must
def test_CORE_24_the_offset_grows_by_what_was_received(server: Server) -> None:
    """The new offset is the old one and the bytes of this request, also when these are none."""
    upload = server.create(20)
    for offset, data, after in [(0, b"01234", "5"), (5, b"567", "8"), (8, b"", "8")]:
        reply = server.patch(upload, offset, data)
        assert (reply.status, reply.header("Upload-Offset")) == (204, after)
        assert server.head(upload).header("Upload-Offset") == after


@implied
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_CORE_24_more_bytes_than_the_length_are_refused(server: Server, framing: str) -> None:
    """An upload never grows beyond its length: PATCH with more bytes is a client's error."""
    upload, data = server.create(10), b"0123456789 and more"
    with Connection(upload) as connection:
        if framing == "length":
            reply = connection.exchange(server.patch_message(upload, 0, data))
        else:
            message = server.patch_message(upload, 0, None, {"Transfer-Encoding": "chunked"})
            connection.send(message.head() + chunked([data]))
            reply = connection.reply()
    check_refused(reply)
    assert server.offset(upload) <= 10


@implied
def test_CORE_24_an_empty_patch_at_the_end_is_accepted(server: Server) -> None:
    """An empty PATCH at the end of a complete upload changes nothing: a client that lost the last 204 may send it."""
    upload = server.uploaded(b"hello")
    reply = server.patch(upload, 5, b"")
    assert (reply.status, reply.header("Upload-Offset")) == (204, "5")


@should
def test_CORE_25_an_unknown_upload_is_not_found(server: Server) -> None:
    """PATCH of an unknown upload is answered 404."""
    assert server.patch(server.unknown(), 0, b"hello").status == 404
