"""The extension `expiration`."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from .extensions import expiration
from .marks import implied, may, must, needs, should
from .tus import Server, pattern
from .wire import Connection, Reply

expiring = needs("expiration")

IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"[0-2][0-9]:[0-5][0-9]:[0-6][0-9] GMT"
)


def expires(reply: Reply) -> datetime:
    """The time in `Upload-Expires`."""
    text = reply.header("Upload-Expires")
    assert text is not None, f"no Upload-Expires on the {reply.status}"
    return parsedate_to_datetime(text)


@dataclass(frozen=True)
class Aged:
    """Uploads that nobody has touched for longer than unfinished ones are kept; the last two if there are such."""

    unfinished: str
    complete: str
    partial: str | None
    final: str | None


@pytest.fixture(scope="module")
def aged(server: Server, request: pytest.FixtureRequest) -> Aged:
    """They are made together, so that they are waited for together."""
    if "expiration" not in server.extensions:
        pytest.skip("expiration not announced")
    expiry = request.getfixturevalue("expiry")
    unfinished, complete = server.create(10), server.uploaded(b"hello")
    server.patch(unfinished, 0, b"hello")
    partial = final = None
    if "concatenation" in server.extensions:
        part = server.uploaded(b"hello", {"Upload-Concat": "partial"})
        partial = server.create(5, {"Upload-Concat": "partial"})
        final = server.created(server.post({"Upload-Concat": f"final;{part}"}))
    deadline = time.monotonic() + expiry + 1  # times on the wire are whole seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(left)
    return Aged(unfinished, complete, partial, final)


@must
def test_EXP_01_the_extension_is_announced_if_uploads_expire(server: Server) -> None:
    """A server that removes unfinished uploads announces `expiration`, and only such a server."""
    assert expiration(server) == ("expiration" in server.extensions)


@must
@expiring
def test_EXP_02_a_patch_tells_when_the_upload_expires(server: Server) -> None:
    """The answer to a PATCH of an upload that will expire has `Upload-Expires`, in the future."""
    upload = server.create(10)
    for offset in (0, 3):
        assert expires(server.patch(upload, offset, b"abc")) >= datetime.now(UTC).replace(microsecond=0)


@must
@expiring
def test_EXP_03_the_creation_tells_when_the_upload_expires(server: Server) -> None:
    """The answer to the creation has `Upload-Expires`, when the time is known by then."""
    reply = server.post({"Upload-Length": "10"})
    assert expires(reply) >= datetime.now(UTC).replace(microsecond=0)


@may
@expiring
def test_EXP_04_the_time_may_change(server: Server) -> None:
    """The time may change with every PATCH; an active upload does not lose any of it."""
    upload = server.create(10)
    first = expires(server.patch(upload, 0, b"abc"))
    assert expires(server.patch(upload, 3, b"def")) >= first


@should
@expiring
def test_EXP_05_an_expired_upload_is_gone(server: Server, aged: Aged) -> None:
    """Requests for an expired upload are answered 410, or 404, from the announced time on."""
    reply = server.head(aged.unfinished)
    assert reply.status in {404, 410}
    assert reply.header("Upload-Offset") is None
    assert server.patch(aged.unfinished, 5, b"world").status in {404, 410}


@must
@expiring
def test_EXP_06_the_time_is_a_date_of_http(server: Server) -> None:
    """`Upload-Expires` is a date in the form that HTTP prefers."""
    for reply in (server.post({"Upload-Length": "10"}), server.patch(server.create(10), 0, b"hello")):
        assert IMF_FIXDATE.fullmatch(reply.header("Upload-Expires") or "")


@implied
@expiring
def test_EXP_07_the_last_patch_has_no_time(server: Server) -> None:
    """Only unfinished uploads expire: the PATCH that completes one shows no `Upload-Expires`."""
    assert server.patch(server.create(5), 0, b"hello").header("Upload-Expires") is None


@implied
@expiring
def test_EXP_07_a_complete_upload_stays(server: Server, aged: Aged) -> None:
    """Only unfinished uploads expire: a complete one is still there afterwards."""
    server.check_content(aged.complete, b"hello")


@implied
@expiring
def test_EXP_08_a_slow_upload_is_not_swept_away(server: Server, expiry: float) -> None:
    """A PATCH that takes longer than the time to live ends well, or the upload is cleanly gone."""
    data = pattern(64 * 1024)
    upload, pieces = server.create(len(data)), 32
    with Connection(upload) as connection:
        message = server.patch_message(upload, 0, None, {"Content-Length": str(len(data))})
        connection.send(message.head())
        for number in range(pieces):
            connection.send(data[number * len(data) // pieces : (number + 1) * len(data) // pieces])
            time.sleep((expiry + 1) / pieces)
        reply = connection.reply("PATCH")
    assert reply.status in {204, 404, 410}
    if reply.status == 204:
        server.check_content(upload, data)
    else:
        assert server.head(upload).status in {404, 410}


@implied
@expiring
def test_EXP_10_head_may_show_the_time(server: Server) -> None:
    """HEAD may show `Upload-Expires`, which then is a date of HTTP; for a complete upload it does not."""
    shown = server.head(server.create(10)).header("Upload-Expires")
    assert shown is None or IMF_FIXDATE.fullmatch(shown)
    assert server.head(server.uploaded(b"hello")).header("Upload-Expires") is None


@implied
@needs("expiration", "concatenation")
def test_EXP_11_a_final_upload_stays(server: Server, aged: Aged) -> None:
    """Partial uploads expire as others do; a final upload, once complete, does not."""
    assert aged.final is not None
    assert aged.partial is not None
    server.check_content(aged.final, b"hello")
    assert server.head(aged.partial).status in {404, 410}
