"""The core protocol: the grammar of its headers, versions, the override of methods, and OPTIONS."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .extensions import WORKS
from .marks import implied, may, must, needs, should
from .tus import NOT_INTEGERS, OFFSET_STREAM, VERSION, Server, check_refused, pattern
from .wire import Fields, Reply

READ_BY_A_LENIENT_PARSER = {"plus": 1, "fraction": 1, "underscore": 10, "hexadecimal": 1, "exponent": 1, "arabic": 3}


@must
def test_CORE_01_head_patch_and_options_are_there(server: Server) -> None:
    """Every server has HEAD, PATCH and OPTIONS."""
    upload = server.create(5)
    assert server.options().status in {200, 204}
    assert server.head(upload).status in {200, 204}
    assert server.patch(upload, 0, b"hello").status == 204


def patch_with_offset(server: Server, text: str, offset: int) -> tuple[Reply, int]:
    """The answer to a PATCH with this text as its offset, on an upload at `offset`, and the offset after it."""
    upload = server.create(20)
    server.patch(upload, 0, b"0123456789"[:offset])
    return server.patch(upload, offset, b"hello", {"Upload-Offset": text}), server.offset(upload)


@must
@pytest.mark.parametrize("name", NOT_INTEGERS)
def test_CORE_02_an_offset_is_a_non_negative_integer(server: Server, name: str) -> None:
    """`Upload-Offset` is a non-negative integer: other texts are refused, also where a lenient parser would match."""
    offset = READ_BY_A_LENIENT_PARSER.get(name, 0)
    reply, after = patch_with_offset(server, NOT_INTEGERS[name], offset)
    check_refused(reply)
    assert after == offset


@implied
@pytest.mark.parametrize("name", NOT_INTEGERS)
def test_CORE_02_a_malformed_offset_is_a_bad_request(server: Server, name: str) -> None:
    """The refusal of a malformed `Upload-Offset` is a 400."""
    assert patch_with_offset(server, NOT_INTEGERS[name], 0)[0].status == 400


@must
@pytest.mark.parametrize("name", NOT_INTEGERS)
def test_CORE_03_a_length_is_a_non_negative_integer(server: Server, name: str) -> None:
    """`Upload-Length` is a non-negative integer: with another text nothing is created."""
    check_refused(server.post({"Upload-Length": NOT_INTEGERS[name]}))


@implied
@pytest.mark.parametrize("name", [name for name in NOT_INTEGERS if name != "huge"])
def test_CORE_03_a_malformed_length_is_a_bad_request(server: Server, name: str) -> None:
    """The refusal of a malformed `Upload-Length` is a 400."""
    assert server.post({"Upload-Length": NOT_INTEGERS[name]}).status == 400


@must
def test_CORE_04_the_versions_are_listed(server: Server) -> None:
    """`Tus-Version` is the list of versions, the preferred one first."""
    assert VERSION in server.options().items("Tus-Version")


ANSWERS: dict[str, Callable[[Server, str], Reply]] = {
    "201": lambda server, _: server.post({"Upload-Length": "5"}),
    "204": lambda server, upload: server.patch(upload, 0, b"hello"),
    "200": lambda server, upload: server.head(upload),
    "400 to PATCH": lambda server, upload: server.patch(upload, 0, b"hello", {"Upload-Offset": "x"}),
    "400 to POST": lambda server, _: server.post({"Upload-Length": "x"}),
    "404 to HEAD": lambda server, _: server.head(server.unknown()),
    "404 to PATCH": lambda server, _: server.patch(server.unknown(), 0, b"hello"),
    "405": lambda server, upload: server.send("PUT", upload, body=b"hello"),
    "409": lambda server, upload: server.patch(upload, 1, b"hello"),
    "412": lambda server, upload: server.patch(upload, 0, b"hello", {"Tus-Resumable": "0.2.2"}),
    "413": lambda server, upload: server.patch(upload, 0, b"hello world"),
    "415": lambda server, upload: server.patch(upload, 0, b"hello", {"Content-Type": "text/plain"}),
}


@must
@pytest.mark.parametrize("name", ANSWERS)
def test_CORE_05_every_answer_names_the_version(server: Server, name: str) -> None:
    """`Tus-Resumable` is in every answer, errors too, with the version in use."""
    reply = ANSWERS[name](server, server.create(5))
    assert reply.header("Tus-Resumable") == VERSION, f"missing on a {reply.status}"


@implied
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_CORE_05_a_request_without_version_is_refused(server: Server, method: str) -> None:
    """`Tus-Resumable` is in every request: without it, POST and PATCH are answered as with an unsupported version."""
    upload = server.create(5)
    none: Fields = {"Tus-Resumable": None}
    reply = server.patch(upload, 0, b"x", none) if method == "PATCH" else server.post({"Upload-Length": "5", **none})
    assert reply.status == 412
    assert VERSION in reply.items("Tus-Version")
    assert server.offset(upload) == 0


def check_refusal(reply: Reply) -> None:
    assert reply.status == 412
    assert VERSION in reply.items("Tus-Version")
    assert reply.header("Location") is None


@must
@pytest.mark.parametrize("version", ["0.2.2", "9.9.9", "1.0", "2"])
def test_CORE_06_an_unsupported_version_is_refused(server: Server, version: str) -> None:
    """A version that the server does not support is answered 412 with `Tus-Version`, and the request not processed."""
    upload = server.create(5)
    check_refusal(server.post({"Upload-Length": "5", "Tus-Resumable": version}))
    check_refusal(server.patch(upload, 0, b"hello", {"Tus-Resumable": version}))
    assert server.offset(upload) == 0


@must
@pytest.mark.parametrize("version", ["0.2.2", "9.9.9", "1.0", "2"])
def test_CORE_06_an_unsupported_version_is_refused_by_head_too(server: Server, version: str) -> None:
    """Only OPTIONS is exempt from the rule about versions, HEAD is not."""
    check_refusal(server.head(server.create(5), {"Tus-Resumable": version}))


@must
def test_CORE_07_not_processed_means_not_even_stored(server: Server) -> None:
    """Of a request with an unsupported version not a byte of the body is kept."""
    upload = server.create(2**20)
    reply = server.patch(upload, 0, pattern(2**20), {"Tus-Resumable": "0.2.2"})
    check_refused(reply)
    assert server.offset(upload) == 0


@must
def test_CORE_08_the_extensions_are_a_list_of_known_names(server: Server) -> None:
    """`Tus-Extension` is a comma-separated list of names of the specification, and absent when it would be empty."""
    reply = server.options()
    names = reply.items("Tus-Extension")
    assert (reply.header("Tus-Extension") is None) == (names == [])
    assert set(names) <= WORKS.keys()
    assert len(names) == len(set(names))


@must
def test_CORE_09_the_maximum_size_is_a_non_negative_integer(server: Server) -> None:
    """`Tus-Max-Size`, when sent, is a non-negative integer."""
    size = server.options().header("Tus-Max-Size")
    assert size is None or (size.isascii() and size.isdigit())


@should
def test_CORE_10_a_limit_is_announced(server: Server, max_size: int) -> None:
    """A server with a hard limit announces it."""
    assert server.options().header("Tus-Max-Size") == str(max_size)


@must
def test_CORE_12_patch_in_the_name_of_post(server: Server) -> None:
    """`X-HTTP-Method-Override` names the method to execute: PATCH."""
    upload = server.create(5)
    fields = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", "Content-Type": OFFSET_STREAM}
    assert server.send("POST", upload, fields, b"hello").status == 204
    assert server.offset(upload) == 5


@must
def test_CORE_12_head_in_the_name_of_post(server: Server) -> None:
    """`X-HTTP-Method-Override` names the method to execute: HEAD."""
    reply = server.send("POST", server.create(5), {"X-HTTP-Method-Override": "HEAD"}, b"")
    assert reply.status in {200, 204}
    assert reply.header("Upload-Offset") == "0"


@must
@needs("termination")
def test_CORE_12_delete_in_the_name_of_post(server: Server) -> None:
    """`X-HTTP-Method-Override` names the method to execute: DELETE."""
    upload = server.create(5)
    assert server.send("POST", upload, {"X-HTTP-Method-Override": "DELETE"}, b"").status == 204
    assert server.head(upload).status in {404, 410}


@must
def test_CORE_13_the_real_method_is_ignored(server: Server) -> None:
    """With `X-HTTP-Method-Override` the real method does not matter."""
    upload = server.create(5)
    fields = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", "Content-Type": OFFSET_STREAM}
    assert server.send("PUT", upload, fields, b"hello").status == 204
    assert server.offset(upload) == 5


@may
def test_CORE_31_options_tell_what_the_server_can(server: Server) -> None:
    """OPTIONS is how a client asks what the server can, answered 204 or 200."""
    assert server.options().status in {200, 204}


PREFLIGHT = {
    "Origin": "https://example.com",
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "tus-resumable,upload-offset,content-type",
}


@must
@pytest.mark.parametrize("preflight", [{}, PREFLIGHT], ids=["plain", "preflight"])
def test_CORE_32_options_tell_the_version(server: Server, preflight: Fields) -> None:
    """A successful answer to OPTIONS has `Tus-Version`, also when the request is a browser's preflight."""
    assert VERSION in server.options(preflight).items("Tus-Version")


@must
@pytest.mark.parametrize("version", [None, "0.0.1", "nonsense", VERSION])
def test_CORE_34_options_ignore_the_version(server: Server, version: str | None) -> None:
    """`Tus-Resumable` in OPTIONS is ignored."""
    assert server.options({"Tus-Resumable": version}).status in {200, 204}


@should
def test_CORE_35_what_is_announced_is_what_works(server: Server) -> None:
    """Clients learn from OPTIONS what a server can: all that is announced works, and nothing else does."""
    assert {extension for extension, works in WORKS.items() if works(server)} == server.extensions & WORKS.keys()
