"""Behaviour that is not in the specification, but that clients in use rely on."""

from __future__ import annotations

from itertools import combinations
from urllib.parse import urljoin, urlsplit

import pytest

from .marks import implied
from .tus import Server, check_refused, pattern
from .wire import Connection

ORIGIN = {"Origin": "https://example.com"}


@implied
def test_X_03_a_complete_upload_can_be_downloaded(server: Server) -> None:
    """GET of a complete upload answers 200 with its bytes."""
    data = pattern(300_000)
    reply = server.get(server.uploaded(data))
    assert reply.status == 200
    assert reply.body == data


def allowed(reply_items: list[str], wanted: set[str]) -> set[str]:
    """Those of the wanted names that a CORS list lacks."""
    names = {item.lower() for item in reply_items}
    return set() if "*" in names else {name for name in wanted if name.lower() not in names}


@implied
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_X_04_browsers_may_send(server: Server, method: str) -> None:
    """A preflight of another origin allows the methods and headers of the protocol."""
    names = {"Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata", "Content-Type"}
    names |= {"Upload-Defer-Length"} if "creation-defer-length" in server.extensions else set()
    names |= {"Upload-Concat"} if "concatenation" in server.extensions else set()
    names |= {"Upload-Checksum"} if "checksum" in server.extensions else set()
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": ",".join(sorted(names)).lower()}
    reply = server.send("OPTIONS", server.create(5), {"Tus-Resumable": None, **ORIGIN, **asked})
    assert reply.status in {200, 204}
    assert reply.header("Access-Control-Allow-Origin") in {"*", ORIGIN["Origin"]}
    assert not allowed(reply.items("Access-Control-Allow-Methods"), {method})
    assert not allowed(reply.items("Access-Control-Allow-Headers"), names)


@implied
@pytest.mark.parametrize("status", [201, 200, 204, 404, 409, 412])
def test_X_04_browsers_may_read(server: Server, status: int) -> None:
    """Answers to another origin, errors too, let a page read the headers that clients need."""
    upload = server.create(5)
    match status:
        case 201:
            reply = server.post({"Upload-Length": "5", **ORIGIN})
        case 200:
            reply = server.head(upload, ORIGIN)
        case 204:
            reply = server.patch(upload, 0, b"hello", ORIGIN)
        case 404:
            reply = server.head(server.unknown(), ORIGIN)
        case 409:
            reply = server.patch(upload, 3, b"hello", ORIGIN)
        case _:
            reply = server.patch(upload, 0, b"hello", {"Tus-Resumable": "0.2.2", **ORIGIN})
    assert reply.header("Access-Control-Allow-Origin") in {"*", ORIGIN["Origin"]}
    needed = {"Location", "Upload-Offset", "Upload-Length"}
    needed |= {"Upload-Defer-Length"} if "creation-defer-length" in server.extensions else set()
    assert not allowed(reply.items("Access-Control-Expose-Headers"), needed)


@implied
def test_X_05_an_early_error_reaches_a_client_that_is_still_sending(server: Server) -> None:
    """A client that sends a large body to the wrong offset can read the 409, on a connection that is not reset."""
    size = 64 * 2**20 if server.max_size is None else min(64 * 2**20, server.max_size // 2)
    upload = server.create(2 * size)
    message = server.patch_message(upload, 1, None, {"Content-Length": str(size)})
    with Connection(upload) as connection:
        connection.send(message.head())
        connection.send(bytes(size))
        assert connection.reply("PATCH").status == 409


@implied
def test_X_06_a_client_may_ask_after_the_end(server: Server) -> None:
    """HEAD shows that an upload is complete as often as it is asked, since the last 204 may have been lost."""
    upload = server.uploaded(b"hello")
    for _ in range(3):
        reply = server.head(upload)
        assert (reply.header("Upload-Offset"), reply.header("Upload-Length")) == ("5", "5")


@implied
@pytest.mark.parametrize("length", [2**31, 2**32 + 1, 2**53])
def test_X_07_lengths_may_be_large(server: Server, length: int) -> None:
    """Lengths are exact up to the largest that JavaScript has."""
    if server.max_size is not None and server.max_size < length:
        pytest.skip("above the server's limit")
    assert server.head(server.create(length)).header("Upload-Length") == str(length)


@implied
@pytest.mark.parametrize("size", [5, 300_000])
def test_X_08_a_connection_goes_on_after_an_error(server: Server, size: int) -> None:
    """After an error to a request with a body the connection goes on with the next request, or is closed."""
    upload = server.create(2**20)
    with Connection(upload) as connection:
        connection.send(server.patch_message(upload, 1, None, {"Content-Length": str(size)}).head())
        connection.send(bytes(size), whole=True)
        reply = connection.reply("PATCH")
        assert reply.status == 409
        if "close" not in reply.items("Connection") and not connection.is_closed_within(0.2):
            assert connection.exchange(server.message("HEAD", upload)).header("Upload-Offset") == "0"


@implied
def test_X_08_requests_may_follow_each_other_closely(server: Server) -> None:
    """Requests that are sent before the answers have come are answered in their order."""
    uploads = [server.create(length) for length in (5, 6, 7)]
    with Connection(server.url) as connection:
        connection.send(b"".join(server.message("HEAD", upload).head() for upload in uploads))
        replies = [connection.reply("HEAD") for _ in uploads]
    assert [reply.header("Upload-Length") for reply in replies] == ["5", "6", "7"]


@implied
def test_X_09_a_creation_without_data_may_show_offset_0(server: Server) -> None:
    """`Upload-Offset` in the answer to a creation without data is allowed, and 0."""
    assert server.post({"Upload-Length": "5"}).header("Upload-Offset") in {None, "0"}


@implied
@pytest.mark.parametrize("slash", ["", "/"], ids=["without", "with"])
def test_X_10_nothing_is_redirected(server: Server, slash: str) -> None:
    """Some clients do not follow redirections: the creation URL works with and without the slash at its end."""
    assert server.send("POST", server.url.rstrip("/") + slash, {"Upload-Length": "5"}, b"").status == 201


@implied
def test_X_11_clients_may_ask_before_they_send(server: Server) -> None:
    """PATCH with `Expect: 100-continue` gets 100 before its body, and then 204."""
    upload = server.create(5)
    with Connection(upload) as connection:
        fields = {"Content-Length": "5", "Expect": "100-continue"}
        connection.send(server.patch_message(upload, 0, None, fields).head())
        assert connection.interim() == 100
        connection.send(b"hello")
        assert connection.reply("PATCH").status == 204


@implied
def test_X_11_a_body_that_is_not_wanted_is_not_asked_for(server: Server) -> None:
    """PATCH that is refused by its headers gets its answer instead of 100."""
    upload = server.create(10)
    with Connection(upload) as connection:
        fields = {"Content-Length": "5", "Expect": "100-continue"}
        connection.send(server.patch_message(upload, 5, None, fields).head())
        reply = connection.reply("PATCH")
    assert (reply.status, reply.interim) == (409, ())


@implied
@pytest.mark.parametrize(
    "path", ["%2e%2e%2fetc%2fpasswd", "..%2f..%2f..%2fetc%2fpasswd", "../../etc/passwd", "%00", "."]
)
def test_X_12_a_path_is_not_a_file_name(server: Server, path: str) -> None:
    """No path leads out of the uploads."""
    base = server.url.rstrip("/")
    for method in ("HEAD", "GET"):
        check_refused(server.send(method, f"{base}/{path}"))
    check_refused(server.patch(f"{base}/{path}", 0, b"hello"))


@implied
def test_X_12_urls_of_uploads_cannot_be_guessed(server: Server) -> None:
    """Who knows the URL of one upload cannot tell that of another."""
    names = [urlsplit(urljoin(server.url, server.create(1))).path.rpartition("/")[2] for _ in range(4)]
    for one, two in combinations(names, 2):
        assert len(one) >= 16
        assert sum(a != b for a, b in zip(one, two, strict=False)) >= 8
