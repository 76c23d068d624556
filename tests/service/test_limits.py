"""Limits against abuse."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.running import CHUNK, TUS, ServerStarter, eventually, uploads_in


def test_what_would_leave_too_little_free_space_is_refused(start: ServerStarter, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    server = start("-min-free-space", str(free // 2))
    refused = server.request("POST", headers=TUS | {"Upload-Length": str(free)})
    assert (refused.status, refused.code) == (507, "ERR_DISK_FULL")
    assert uploads_in(server.upload_dir) == []
    deferred = server.create(None)
    assert server.patch(deferred, 0, b"hello").status == 204


def test_without_enough_free_space_nothing_is_taken_and_health_says_so(start: ServerStarter) -> None:
    server = start("-min-free-space", str(2**62))
    assert server.request("POST", headers=CHUNK | {"Upload-Defer-Length": "1"}, body=b"x").status == 507
    health = server.request("GET", "/health")
    assert health.status == 503
    assert b"ERR_DISK_FULL" in health.body


def test_too_many_unfinished_uploads_are_refused_until_some_end(start: ServerStarter) -> None:
    server = start("-max-unfinished", "2")
    one, two = server.create(5), server.create(5)
    refused = server.request("POST", headers=TUS | {"Upload-Length": "5"})
    assert (refused.status, refused.code) == (503, "ERR_TOO_MANY_UPLOADS")
    assert int(refused.headers["retry-after"]) > 0
    server.patch(one, 0, b"hello")
    three = server.create(5)
    assert server.request("POST", headers=TUS | {"Upload-Length": "5"}).status == 503
    server.request("DELETE", two, TUS)
    server.request("DELETE", three, TUS)
    server.create(0)
    server.create(5)
    server.create(5)
    assert server.request("POST", headers=TUS | {"Upload-Length": "5"}).status == 503


def test_unfinished_uploads_are_counted_again_after_a_restart(start: ServerStarter) -> None:
    server = start()
    server.create(5)
    server.create(0)
    server.kill()
    server = start("-max-unfinished", "2", upload_dir=server.upload_dir)
    eventually(lambda: server.request("POST", headers=TUS | {"Upload-Length": "5"}).status == 503)
    assert len(uploads_in(server.upload_dir)) // 2 <= 4
