"""The extension `creation`."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urljoin

import pytest

from .extensions import creation
from .marks import implied, may, must, should
from .tus import Server, check_refused, refused


@must
def test_CRE_01_the_extension_is_announced_if_it_works(server: Server) -> None:
    """A server that creates uploads announces `creation`, and only such a server."""
    assert creation(server) == ("creation" in server.extensions)


@must
def test_CRE_02_a_length_or_its_absence_is_declared(server: Server) -> None:
    """A creation has either `Upload-Length` or `Upload-Defer-Length`: with neither nothing is created."""
    check_refused(server.post({}))


@must
def test_CRE_02_a_length_is_not_declared_and_absent(server: Server) -> None:
    """A creation has either `Upload-Length` or `Upload-Defer-Length`: with both nothing is created."""
    check_refused(server.post({"Upload-Length": "5", "Upload-Defer-Length": "1"}))


@implied
def test_CRE_02_a_creation_without_length_is_a_bad_request(server: Server) -> None:
    """A creation with neither or both of the headers is answered 400."""
    assert server.post({}).status == 400
    assert server.post({"Upload-Length": "5", "Upload-Defer-Length": "1"}).status == 400


@implied
def test_CRE_02_two_lengths_are_none(server: Server) -> None:
    """Two different lines of `Upload-Length` do not say how long the upload is."""
    check_refused(server.post({"Upload-Length": ["5", "6"]}))


@must
def test_CRE_03_a_creation_is_answered_201(server: Server) -> None:
    """A successful creation is answered 201."""
    assert server.post({"Upload-Length": "100"}).status == 201


@must
def test_CRE_04_location_is_the_upload(server: Server) -> None:
    """`Location` of the 201 is the upload's URL, absolute or relative to the creation URL."""
    location = server.post({"Upload-Length": "100"}).header("Location")
    assert location is not None
    assert server.offset(urljoin(server.url, location)) == 0


@must
def test_CRE_05_a_new_upload_is_at_offset_0(server: Server) -> None:
    """An upload begins at offset 0."""
    assert server.head(server.create(100)).header("Upload-Offset") == "0"


@may
def test_CRE_06_an_empty_upload_is_complete_at_once(server: Server) -> None:
    """`Upload-Length: 0` is a legal length; the upload is complete without any PATCH."""
    reply = server.head(server.create(0))
    assert (reply.header("Upload-Offset"), reply.header("Upload-Length")) == ("0", "0")


@must
def test_CRE_07_more_than_the_maximum_is_refused(server: Server, max_size: int) -> None:
    """A length above the maximum is answered 413, and nothing is created; the maximum itself is accepted."""
    reply = server.post({"Upload-Length": str(max_size + 1)})
    assert reply.status == 413
    assert reply.header("Location") is None
    assert server.post({"Upload-Length": str(max_size)}).status == 201


@must
def test_CRE_08_metadata_are_pairs_with_commas_between(server: Server) -> None:
    """`Upload-Metadata` is one or more pairs, separated by commas."""
    assert server.post({"Upload-Length": "5", "Upload-Metadata": "a YQ=="}).status == 201
    assert server.post({"Upload-Length": "5", "Upload-Metadata": "a YQ==,b Yg=="}).status == 201


@must
def test_CRE_09_a_space_separates_key_and_value(server: Server) -> None:
    """The key and the value of a pair are separated by a space, not by a tabulator."""
    check_refused(server.post({"Upload-Length": "5", "Upload-Metadata": "a\tYQ=="}))


@must
@pytest.mark.parametrize("metadata", ["a YQ==,,b Yg==", ",a YQ==", "a b YQ=="])
def test_CRE_10_a_key_is_not_empty_and_has_no_space(server: Server, metadata: str) -> None:
    """A key is not empty, and contains neither spaces nor commas."""
    check_refused(server.post({"Upload-Length": "5", "Upload-Metadata": metadata}))


@should
def test_CRE_11_a_key_beyond_ascii_is_the_clients_affair(server: Server) -> None:
    """Keys are ASCII; a server may refuse or take others, but does not stumble over them."""
    reply = server.post({"Upload-Length": "5", "Upload-Metadata": "ключ YQ=="})
    assert reply.status == 201 or refused(reply)


@must
@pytest.mark.parametrize("value", ["!!!", "YQ", "Y Q==", "YQ="])
def test_CRE_12_a_value_is_base64(server: Server, value: str) -> None:
    """The value of a pair is base64."""
    check_refused(server.post({"Upload-Length": "5", "Upload-Metadata": f"a {value}"}))


@must
def test_CRE_13_a_key_is_unique(server: Server) -> None:
    """No key is used twice."""
    check_refused(server.post({"Upload-Length": "5", "Upload-Metadata": "a YQ==,a Yg=="}))


@may
@pytest.mark.parametrize("metadata", ["a,b Yg==", "a ,b Yg==", "a"])
def test_CRE_14_a_value_may_be_empty(server: Server, metadata: str) -> None:
    """A value may be empty, and the space before it may be left out then."""
    upload = server.create(5, {"Upload-Metadata": metadata})
    assert server.head(upload).header("Upload-Metadata") == metadata


@implied
def test_CRE_15_an_empty_header_is_no_metadata(server: Server) -> None:
    """Clients in use send an empty `Upload-Metadata` when they have none: the upload is created without."""
    upload = server.create(5, {"Upload-Metadata": ""})
    assert not server.head(upload).header("Upload-Metadata")


@implied
def test_CRE_15_a_blank_after_the_comma_is_ignored(server: Server) -> None:
    """Clients in use put a blank after the comma."""
    assert server.post({"Upload-Length": "5", "Upload-Metadata": "a YQ==, b Yg=="}).status == 201


FILE_NAMES = {
    "header": "x\r\nSet-Cookie: a=b",
    "quote": 'x"; filename="y',
    "path": "../../../etc/passwd",
    "null": "\0",
    "long": "x" * 1000,
}


@should
@pytest.mark.parametrize("name", FILE_NAMES)
def test_CRE_16_values_are_made_safe_before_use(server: Server, name: str) -> None:
    """Whatever a value decodes to, it does not get into the headers or the file system as it is."""
    value = b64encode(FILE_NAMES[name].encode()).decode()
    reply = server.post({"Upload-Length": "5", "Upload-Metadata": f"filename {value}"})
    if refused(reply):
        return
    upload = server.created(reply)
    assert server.patch(upload, 0, b"hello").status == 204
    server.check_content(upload, b"hello")
    for answer in (reply, server.head(upload), server.get(upload)):
        assert answer.status < 500, f"answered with {answer.status}"
        assert answer.header("Set-Cookie") is None


@must
@pytest.mark.parametrize(
    "metadata", ["b Yg==,a YQ==,c", "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential"]
)
def test_CRE_18_head_shows_the_metadata(server: Server, metadata: str) -> None:
    """HEAD shows `Upload-Metadata` as the client gave it."""
    upload = server.create(5, {"Upload-Metadata": metadata})
    assert server.head(upload).header("Upload-Metadata") == metadata
    server.patch(upload, 0, b"hello")
    assert server.head(upload).header("Upload-Metadata") == metadata
