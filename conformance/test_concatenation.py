"""The extensions `concatenation` and `concatenation-unfinished`."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from .extensions import concatenation, concatenation_unfinished
from .marks import covers, implied, may, must, needs, should
from .process import Process
from .tus import OFFSET_STREAM, Server, check_refused, eventually, pattern, usual_time
from .wire import PATIENCE, Fields, Reply

joining = needs("concatenation")
joining_early = needs("concatenation", "concatenation-unfinished")

PARTIAL: Fields = {"Upload-Concat": "partial"}
MIB = 2**20


def part(server: Server, data: bytes) -> str:
    """A complete partial upload."""
    return server.uploaded(data, PARTIAL)


def join(server: Server, *parts: str, fields: Fields | None = None) -> Reply:
    """The answer to the creation of a final upload."""
    return server.post({"Upload-Concat": "final;" + " ".join(parts), **(fields or {})})


def joined(server: Server, *parts: str, fields: Fields | None = None) -> str:
    """A complete final upload."""
    final = server.created(join(server, *parts, fields=fields))
    if server.remembers:
        assert eventually(lambda: server.head(final).header("Upload-Offset") is not None), "the final is never complete"
    return final


def path(upload: str) -> str:
    return urlsplit(upload).path


@must
def test_CAT_01_the_extension_is_announced_if_it_works(server: Server) -> None:
    """A server that joins uploads announces `concatenation`, and only such a server."""
    assert concatenation(server) == ("concatenation" in server.extensions)


@must
@joining
def test_CAT_02_a_partial_upload_is_created_like_any_other(server: Server) -> None:
    """`Upload-Concat: partial` in the creation makes a partial upload."""
    assert server.post({"Upload-Length": "5", **PARTIAL}).status == 201


@must
@joining
@covers("CAT-03", "CAT-15")
def test_CAT_03_the_length_of_a_final_is_the_sum(server: Server) -> None:
    """The length of a final upload is the sum of its parts, and its offset is the same once it is complete."""
    final = joined(server, part(server, b"hello"), part(server, b" world"))
    reply = server.head(final)
    assert (reply.header("Upload-Length"), reply.header("Upload-Offset")) == ("11", "11")


@must
@joining
def test_CAT_05_the_list_gives_the_order(server: Server) -> None:
    """`Upload-Concat: final;` and the URLs of the parts make a final upload, in the order of the list."""
    first, second = part(server, b"hello "), part(server, b"world")
    server.check_content(joined(server, first, second), b"hello world")
    first, second = part(server, b"hello "), part(server, b"world")
    server.check_content(joined(server, second, first), b"worldhello ")


@implied
@joining
def test_CAT_06_the_length_of_a_final_is_not_the_clients(server: Server) -> None:
    """A client does not send `Upload-Length` with a final upload; if it does, it is refused or ignored."""
    reply = join(server, part(server, b"hello"), fields={"Upload-Length": "7"})
    assert reply.status == 400 or server.head(server.created(reply)).header("Upload-Length") == "5"


@should
@joining
def test_CAT_07_parts_are_complete_first(server: Server) -> None:
    """Without `concatenation-unfinished` a final upload of unfinished parts is refused."""
    if "concatenation-unfinished" in server.extensions:
        pytest.skip("concatenation-unfinished is announced")
    check_refused(join(server, part(server, b"hello"), server.create(5, PARTIAL)))


@must
def test_CAT_08_the_extension_for_unfinished_parts_is_announced_if_it_works(server: Server) -> None:
    """A server that joins unfinished uploads announces `concatenation-unfinished`, and only such a server."""
    assert concatenation_unfinished(server) == ("concatenation-unfinished" in server.extensions)


@must
@joining
def test_CAT_09_metadata_of_the_parts_is_not_the_finals(server: Server) -> None:
    """Metadata of the parts does not move to the final upload."""
    one = server.uploaded(b"hello", {**PARTIAL, "Upload-Metadata": "a YQ=="})
    assert server.head(joined(server, one)).header("Upload-Metadata") is None


@should
@joining
def test_CAT_10_metadata_of_the_final_comes_with_its_creation(server: Server) -> None:
    """The final upload has the metadata of its own creation."""
    final = joined(server, part(server, b"hello"), fields={"Upload-Metadata": "a YQ=="})
    assert server.head(final).header("Upload-Metadata") == "a YQ=="


@may
@needs("concatenation", "termination")
def test_CAT_11_a_final_does_not_depend_on_its_parts(server: Server) -> None:
    """The server may remove the parts; also when the client removes them, the final upload stays."""
    one = part(server, b"hello")
    final = joined(server, one)
    server.delete(one)
    server.check_content(final, b"hello")


@may
@joining
def test_CAT_12_a_part_may_be_used_several_times(server: Server) -> None:
    """A part may appear several times in a list, and in several final uploads."""
    one = part(server, b"hello")
    server.check_content(joined(server, one, one), b"hellohello")
    server.check_content(joined(server, one), b"hello")


@must
@joining
@pytest.mark.parametrize("offset", [0, 5])
@pytest.mark.parametrize("media_type", [OFFSET_STREAM, "text/plain"])
def test_CAT_13_a_final_cannot_be_patched(server: Server, offset: int, media_type: str) -> None:
    """PATCH of a final upload is answered 403, and does not change it."""
    final = joined(server, part(server, b"hello"))
    assert server.patch(final, offset, b"x", {"Content-Type": media_type}).status == 403
    server.check_content(final, b"hello")


@should
@joining_early
def test_CAT_14_an_unfinished_final_has_no_offset(server: Server) -> None:
    """HEAD of a final upload shows no `Upload-Offset` until it is complete."""
    one = server.create(5, PARTIAL)
    final = server.created(join(server, one))
    assert server.head(final).header("Upload-Offset") is None
    server.patch(one, 0, b"hello")
    assert eventually(lambda: server.head(final).header("Upload-Offset") == "5")
    server.check_content(final, b"hello")


@must
@joining
def test_CAT_16_head_shows_the_offset_of_a_part(server: Server) -> None:
    """HEAD of a partial upload shows `Upload-Offset`, as for any upload."""
    one = server.create(5, PARTIAL)
    server.patch(one, 0, b"he")
    assert server.head(one).header("Upload-Offset") == "2"


@must
@joining_early
def test_CAT_17_the_length_of_a_final_is_shown_when_it_is_known(server: Server) -> None:
    """HEAD of a final upload shows `Upload-Length` as soon as the lengths of all parts are known."""
    final = server.created(join(server, server.create(5, PARTIAL), server.create(6, PARTIAL)))
    assert server.head(final).header("Upload-Length") == "11"


@must
@joining
@pytest.mark.parametrize("form", ["absolute", "path"])
def test_CAT_18_head_shows_how_an_upload_was_created(server: Server, form: str) -> None:
    """HEAD of partial and final uploads shows `Upload-Concat` as it was received."""
    one, two = part(server, b"hello"), part(server, b" world")
    assert server.head(one).header("Upload-Concat") == "partial"
    text = f"final;{one} {two}" if form == "absolute" else f"final;{path(one)} {path(two)}"
    final = server.created(server.post({"Upload-Concat": text}))
    assert server.head(final).header("Upload-Concat") == text


@must
@joining
@pytest.mark.parametrize("form", ["absolute", "path", "relative"])
def test_CAT_19_the_list_has_urls_of_any_form(server: Server, form: str) -> None:
    """Parts are named by absolute URLs, by their paths, or relative to the creation URL."""
    one = part(server, b"hello")
    folder = path(server.url).rpartition("/")[0] + "/"
    if form == "relative" and not path(one).startswith(folder):
        pytest.skip("uploads are not below the creation URL")
    name = {"absolute": one, "path": path(one), "relative": path(one).removeprefix(folder)}[form]
    server.check_content(joined(server, name), b"hello")


@must
@joining
@pytest.mark.parametrize("text", ["final;", "final", "foo", "partial;x", "Partial"])
def test_CAT_19_other_values_are_refused(server: Server, text: str) -> None:
    """`Upload-Concat` is `partial`, or `final;` and a list: nothing is created with another value."""
    check_refused(server.post({"Upload-Length": "5", "Upload-Concat": text}))


@must
@joining
def test_CAT_19_an_empty_value_is_refused(server: Server) -> None:
    """An empty `Upload-Concat` is neither, and does not make an upload of the ordinary kind."""
    check_refused(server.post({"Upload-Length": "5", "Upload-Concat": ""}))


@implied
@joining
@pytest.mark.parametrize("kind", ["unknown", "not partial", "final", "of another host"])
def test_CAT_20_parts_are_partial_uploads_of_this_server(server: Server, kind: str) -> None:
    """Only existing partial uploads of this server can be joined."""
    one = part(server, b"hello")
    match kind:
        case "unknown":
            other = server.unknown()
        case "not partial":
            other = server.uploaded(b" world")
        case "final":
            other = joined(server, one)
        case _:
            other = f"http://tus.invalid{path(one)}"
    check_refused(join(server, one, other))


@implied
@joining
def test_CAT_21_a_final_is_bound_by_the_maximum(server: Server, max_size: int) -> None:
    """A final upload whose length would be above the maximum is answered 413."""
    if max_size > 64 * MIB:
        pytest.skip("the server's limit is too large for this test: above 64 MiB")
    one = part(server, bytes(max_size // 2 + 1))
    assert join(server, one, one).status == 413


@implied
@joining
def test_CAT_22_a_final_is_created_without_data(server: Server) -> None:
    """A final upload gets its data from its parts: a body is refused with 400 or 403."""
    fields = {"Upload-Concat": f"final;{part(server, b'hello')}", "Content-Type": OFFSET_STREAM}
    assert server.post(fields, b" world").status in {400, 403}


@implied
@joining
def test_CAT_23_lists_may_be_long(server: Server) -> None:
    """Lists of hundreds of parts are legal."""
    parts = [path(part(server, b"%03d" % number)) for number in range(500)]
    server.check_content(joined(server, *parts), b"".join(b"%03d" % number for number in range(500)))


@implied
@joining
def test_CAT_24_the_death_of_the_server_leaves_the_parts_intact(server: Server, process: Process) -> None:
    """After kill -9 while parts are being joined the parts are as they were, and can be joined again.

    Unless the parts were joined in time, by a server that removes them then.
    """
    server = replace(server, url=process.url)
    data = [pattern(8 * MIB, number) for number in range(4)]
    parts = [part(server, one) for one in data]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(join, server, *parts)
        process.kill()
    process.start()
    if {server.head(one).status for one in parts} <= {404, 410}:
        return
    assert [server.head(one).header("Upload-Offset") for one in parts] == [str(8 * MIB)] * 4
    server.check_content(joined(server, *parts), b"".join(data))


@implied
@joining
def test_CAT_25_joining_does_not_stop_the_server(server: Server) -> None:
    """Large parts are joined before clients lose patience, and other uploads are served meanwhile."""
    size = 16 * MIB if server.max_size is None else min(16 * MIB, server.max_size // 4)
    other, data = server.create(5), [pattern(size, number) for number in range(4)]
    parts = [part(server, one) for one in data]
    with ThreadPoolExecutor(1) as pool:
        final, begin = pool.submit(joined, server, *parts), time.monotonic()
        usual = usual_time(lambda: server.head(other), until=final.done)
        assert time.monotonic() - begin < PATIENCE
    assert usual < 1
    server.check_content(final.result(), b"".join(data))


@implied
@needs("concatenation", "creation-defer-length")
def test_CAT_26_a_part_may_be_of_unknown_length_at_first(server: Server) -> None:
    """A partial upload of unknown length is unfinished until its length comes and is reached."""
    one = server.create(None, PARTIAL)
    server.patch(one, 0, b"hello")
    if "concatenation-unfinished" not in server.extensions:
        check_refused(join(server, one))
    server.patch(one, 5, b"", {"Upload-Length": "5"})
    server.check_content(joined(server, one), b"hello")


@implied
@joining
def test_CAT_27_empty_parts_make_an_empty_final(server: Server) -> None:
    """Empty partial uploads can be joined."""
    reply = server.head(joined(server, part(server, b""), part(server, b"")))
    assert (reply.header("Upload-Length"), reply.header("Upload-Offset")) == ("0", "0")
