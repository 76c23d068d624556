"""The extension `termination`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from .extensions import termination
from .marks import implied, must, needs, should
from .tus import Server, pattern
from .wire import PATIENCE, NoAnswer

terminating = needs("termination")


@must
def test_TRM_01_the_extension_is_announced_if_it_works(server: Server) -> None:
    """A server on which uploads can be ended announces `termination`, and only such a server."""
    assert termination(server) == ("termination" in server.extensions)


@must
@terminating
@pytest.mark.parametrize("sent", [b"", b"hello", b"hello world"], ids=["new", "unfinished", "finished"])
def test_TRM_02_an_upload_can_be_ended(server: Server, sent: bytes) -> None:
    """DELETE of an upload is answered 204, whether it is finished or not."""
    upload = server.create(11)
    server.patch(upload, 0, sent)
    assert server.delete(upload).status == 204


@should
@terminating
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "GET"])
def test_TRM_04_an_ended_upload_is_gone(server: Server, method: str) -> None:
    """Later requests for an upload that was ended are answered 404 or 410."""
    upload = server.create(11)
    server.delete(upload)
    reply = server.patch(upload, 0, b"hello") if method == "PATCH" else server.send(method, upload)
    assert reply.status in {404, 410} or (method == "GET" and not server.downloads)
    assert reply.header("Upload-Offset") is None


@implied
@terminating
def test_TRM_05_an_unknown_upload_is_not_found(server: Server) -> None:
    """DELETE of an unknown upload is answered 404."""
    assert server.delete(server.unknown()).status == 404


@implied
@terminating
def test_TRM_06_an_upload_can_be_ended_during_a_patch(server: Server) -> None:
    """DELETE succeeds while a PATCH hangs, and nothing of the upload comes back when that goes on."""
    upload, data = server.create(2**20), pattern(2**20)
    with server.stalled_patch(upload, data) as connection:
        assert server.delete(upload).status == 204
        connection.send(data[len(data) // 2 :])
        with suppress(NoAnswer):
            connection.reply("PATCH")
    assert server.head(upload).status in {404, 410}


@implied
@terminating
def test_TRM_07_a_patch_and_a_delete_at_once(server: Server) -> None:
    """When DELETE meets the last PATCH, the upload is gone afterwards if DELETE was answered 204, and intact if not."""
    for _ in range(20):
        upload = server.create(5)
        start = threading.Barrier(2)

        def patch(upload: str = upload, start: threading.Barrier = start) -> int:
            start.wait(PATIENCE)
            return server.patch(upload, 0, b"hello").status

        def delete(upload: str = upload, start: threading.Barrier = start) -> int:
            start.wait(PATIENCE)
            return server.delete(upload).status

        with ThreadPoolExecutor(2) as pool:
            patched, deleted = pool.submit(patch), pool.submit(delete)
        assert patched.result() in {204, 400, 404, 409, 410, 423}
        if deleted.result() == 204:
            assert server.head(upload).status in {404, 410}
        else:
            assert deleted.result() in {409, 423}
            server.check_content(upload, b"hello")


@implied
@terminating
def test_TRM_08_the_body_of_a_delete_does_not_matter(server: Server) -> None:
    """DELETE may come with a body, with `Content-Length: 0`, or without both."""
    for body in (b"ignored", b"", None):
        assert server.send("DELETE", server.create(5), body=body).status == 204
