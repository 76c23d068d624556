"""Bad values of every header, with every method: refused where the header means something, else not looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.running import CHUNK, Server, request_head

STATUSES = {"POST": 201, "PATCH": 204, "HEAD": 200, "GET": 200, "OPTIONS": 200, "DELETE": 204}
"""Of requests without a bad value, for each method; the last removes the upload."""

BODY = b"hello"

BAD_INTEGERS = ["-1", "+1", "1.0", "abc", "", "1_0", "٣", "9" * 30, "9223372036854775808", "0x5", "1 0"]
SHA1 = "qvTGHdzF6KLavt4PO0gs2a6pQ00="
BAD_CHECKSUMS = ["sha1", "sha1 ", "sha1  x", "sha1 !!!", "sha1 YQ==", "md5 x", "", f"SHA1 {SHA1}", "whirlpool YQ=="]
BAD_CHECKSUMS += [f"sha1 {SHA1} x", f"sha1,{SHA1}", f"sha1 {SHA1[:-1]}", f"sha1  {SHA1}", f"sha1\t{SHA1}"]
BAD_METADATA = ["a !!!", "a YQ", "a YQ==,a Yg==", "a\tYQ==", "a  YQ==", "a b c", ",a YQ==", "a YQ==,", ",", "a -_8="]
BAD_METADATA += ["ключ YQ=="]
BAD_CONCATS = ["", "final", "final;", "final; ", "foo", "partial;x", "Partial", "partial, partial", "final ;/files/x"]


@dataclass(frozen=True)
class Bad:
    """`values` of a header that are answered with `status` and `code` by `methods`; a pair is sent as two headers."""

    header: str
    values: Sequence[str | tuple[str, str]]
    methods: Sequence[str]
    status: int
    code: str


BAD = [
    Bad(
        "Tus-Resumable",
        ["", "0.2.2", "1.0", "1.0.0, 1.0.0", "v1.0.0", "1.0.0x", "1" * 5000, ("1.0.0", "1.0.0")],
        ["POST", "PATCH", "HEAD", "DELETE"],
        *(412, "ERR_UNSUPPORTED_VERSION"),
    ),
    Bad("Upload-Offset", [*BAD_INTEGERS, ("0", "0")], ["PATCH"], 400, "ERR_INVALID_OFFSET"),
    Bad("Upload-Length", [*BAD_INTEGERS, ("5", "5")], ["POST", "PATCH"], 400, "ERR_INVALID_UPLOAD_LENGTH"),
    Bad("Upload-Metadata", [*BAD_METADATA, ("a YQ==", "b Yg==")], ["POST"], 400, "ERR_INVALID_METADATA"),
    Bad("Upload-Concat", [*BAD_CONCATS, ("partial", "partial")], ["POST"], 400, "ERR_INVALID_CONCAT"),
    Bad("Upload-Checksum", [*BAD_CHECKSUMS, (f"sha1 {SHA1}", f"sha1 {SHA1}")], ["POST", "PATCH"], 400, "ERR_"),
    Bad("Trailer", ["Upload-Checksum", "x, upload-checksum"], ["POST", "PATCH"], 400, "ERR_INVALID_CHECKSUM"),
    Bad(
        "Content-Type",
        ["", "text/plain", "application/offset", "application/offset+octet-stream, text/plain", "\xff"],
        ["POST", "PATCH"],
        *(415, "ERR_INVALID_CONTENT_TYPE"),
    ),
    Bad(
        "X-HTTP-Method-Override",
        ["patch", "TRACE", "PATCH, PATCH", "PATCH/1", "x" * 5000, "\xff"],
        ["POST", "PATCH", "HEAD", "GET", "DELETE"],
        *(405, ""),
    ),
]


def request(server: Server, method: str, url: str, headers: Mapping[str, str | tuple[str, str]]) -> tuple[int, bytes]:
    """Status and body of the answer; the request has what each method needs, but for what `headers` say."""
    fields: Mapping[str, str | tuple[str, str]] = {
        **CHUNK,
        "Upload-Length": "5",
        "Content-Length": str(len(BODY)),
        "Connection": "close",
        **({} if method == "POST" else {"Upload-Offset": "0"}),
        **headers,
    }
    pairs: list[tuple[str, str]] = []
    for name, value in fields.items():
        pairs += [(name, one) for one in ([value] if isinstance(value, str) else value)]
    path = urlsplit(server.url if method == "POST" else url).path
    head, _, body = server.raw(request_head(method, path, pairs) + BODY).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def bad_requests(bad: Bad) -> Iterator[tuple[str, Mapping[str, str | tuple[str, str]]]]:
    for value in bad.values:
        for method in STATUSES:
            yield method, {bad.header: value}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.header)
def test_a_bad_value_is_refused_where_it_means_something_and_changes_nothing(server: Server, bad: Bad) -> None:
    for method, headers in bad_requests(bad):
        url = server.create(len(BODY))
        before = server.files()
        status, body = request(server, method, url, headers)
        what = (method, headers, status, body)
        if method not in bad.methods:
            assert status == STATUSES[method], what
            continue
        assert status == bad.status, what
        assert method == "HEAD" or body.decode().startswith(bad.code), what
        assert server.files() == before, what
        assert request(server, method, url, {})[0] == STATUSES[method], what


def test_the_deferral_of_a_length_has_one_form(server: Server) -> None:
    for value in ("0", "2", "01", "true", "", " ", "1,1", ("1", "1")):
        before = server.files()
        head = [("Tus-Resumable", "1.0.0"), ("Connection", "close")]
        head += [("Upload-Defer-Length", one) for one in ([value] if isinstance(value, str) else value)]
        answer = server.raw(request_head("POST", "/files/", head))
        assert answer.startswith(b"HTTP/1.1 400 "), value
        assert b"ERR_INVALID_UPLOAD_LENGTH_DEFER" in answer, value
        assert server.files() == before
