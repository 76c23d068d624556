"""What several workers know together, asked of all of them: connections are dealt out in turn."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chunked import Source, complete, fields_of, initiate, put_all, record_when_settled, status
from tests.running import START_DEADLINE, TUS, Server, ServerStarter, eventually, uploads_in

ASKED = 6
"""Requests, by which every one of two or three workers is asked, and more than once."""


def answers_of_all(server: Server, method: str, path: str, **headers: str) -> set[int]:
    named = TUS | {name.replace("_", "-"): value for name, value in headers.items()}
    return {server.request(method, path, named).status for _ in range(ASKED)}


def test_the_limit_of_unfinished_uploads_is_that_of_all_workers(start: ServerStarter) -> None:
    server = start("-workers", "3", "-max-unfinished", "5")
    urls = [server.create(5) for _ in range(5)]
    assert answers_of_all(server, "POST", server.url, Upload_Length="5") == {503}
    os.kill(max(server.workers()), signal.SIGKILL)
    eventually(lambda: server.output().count("event=WorkerStarted") == 4, START_DEADLINE)
    assert answers_of_all(server, "POST", server.url, Upload_Length="5") == {503}
    for url in urls[:2]:
        assert server.patch(url, 0, b"hello").status == 204
    statuses = [server.request("POST", headers=TUS | {"Upload-Length": "5"}).status for _ in range(ASKED)]
    assert sorted(statuses) == [201, 201, 503, 503, 503, 503]


def test_every_worker_says_that_a_session_is_being_assembled(start: ServerStarter, tmp_path: Path) -> None:
    hooks, may_go_on = tmp_path / "hooks", tmp_path / "go-on"
    hooks.mkdir()
    (hooks / "pre-finish").write_text(f"#!/bin/sh\nwhile ! [ -e {may_go_on} ]; do sleep 0.05; done\n")
    (hooks / "pre-finish").chmod(0o755)
    server = start("-workers", "2", "-hooks-dir", str(hooks), "-hooks-enabled-events", "pre-finish")
    upload = initiate(server, Source(b"hello world " * 10_000))
    put_all(server, upload)
    assert {status(server, upload)["status"] for _ in range(ASKED)} == {"uploading"}
    with ThreadPoolExecutor(1) as pool:
        completing = pool.submit(complete, server, upload)
        try:
            eventually(lambda: {status(server, upload)["status"] for _ in range(ASKED)} == {"assembling"})
        finally:
            may_go_on.touch()
        answer = completing.result()
    assert answer.status == 200
    assert record_when_settled(server, fields_of(answer)["fileId"])["status"] == "ready"


def test_what_has_expired_is_gone_for_every_worker(start: ServerStarter) -> None:
    server = start("-workers", "2", "-expire-after", "2s")
    url = server.create(5)
    eventually(lambda: not uploads_in(server.upload_dir))
    assert answers_of_all(server, "HEAD", url) == {410}
    assert server.output().count("event=UploadExpired") == 1
