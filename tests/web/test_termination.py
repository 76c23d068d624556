"""tus termination."""

from __future__ import annotations

from tests.patching import patch_head
from tests.running import TUS, Server, ServerStarter, eventually, has_size, read_all, uploads_in


def test_an_upload_is_removed_finished_or_not(server: Server) -> None:
    before = uploads_in(server.upload_dir)
    for body in (b"", b"hel", b"hello"):
        url = server.create(5)
        server.patch(url, 0, body)
        answer = server.request("DELETE", url, TUS)
        assert (answer.status, answer.body) == (204, b"")
        assert [server.request(method, url, TUS).status for method in ("HEAD", "PATCH", "DELETE", "GET")] == [404] * 4
    assert uploads_in(server.upload_dir) == before


def test_an_unknown_upload_cannot_be_removed(server: Server) -> None:
    assert server.request("DELETE", server.url + "unknown", TUS).status == 404


def test_the_body_of_a_delete_is_ignored(server: Server) -> None:
    assert server.request("DELETE", server.create(5), TUS, b"hello").status == 204


def test_a_delete_ends_a_running_patch(server: Server) -> None:
    before = uploads_in(server.upload_dir)
    url = server.create(1_000_000)
    with server.connection() as connection:
        connection.sendall(patch_head(url, 0, 1_000_000) + b"x" * 1000)
        eventually(has_size(server.path_of(url), 1000))
        assert server.request("DELETE", url, TUS).status == 204
        assert b"ERR_UPLOAD_INTERRUPTED" in read_all(connection)
    assert uploads_in(server.upload_dir) == before


def test_termination_can_be_switched_off(start: ServerStarter) -> None:
    server = start("-disable-termination")
    answer = server.request("DELETE", server.create(5), TUS)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PATCH, DELETE")
