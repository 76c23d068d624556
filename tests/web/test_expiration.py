"""tus expiration."""

from __future__ import annotations

import os
import re
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

from tests.patching import patch_head
from tests.running import TUS, Server, ServerStarter, eventually, has_size, uploads_in

IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)


def age(server: Server, url: str, seconds: float) -> None:
    """Make the newest change of an upload one of the past."""
    then = time.time() - seconds
    for path in (server.path_of(url), Path(f"{server.path_of(url)}.info")):
        os.utime(path, (then, then))


def test_answers_about_an_upload_that_will_expire_say_when(start: ServerStarter) -> None:
    server = start("-expire-after", "1h")
    created = server.request("POST", headers=TUS | {"Upload-Length": "5"})
    url = created.headers["location"]
    appended = server.patch(url, 0, b"hel")
    looked_at = server.request("HEAD", url, TUS)
    for answer in (created, appended, looked_at):
        assert IMF_FIXDATE.fullmatch(answer.headers["upload-expires"])
        remaining = parsedate_to_datetime(answer.headers["upload-expires"]).timestamp() - time.time()
        assert 3590 < remaining <= 3600
    assert "upload-expires" not in server.patch(url, 3, b"lo").headers
    assert "upload-expires" not in server.request("HEAD", url, TUS).headers


def test_the_time_counts_from_the_newest_change(start: ServerStarter) -> None:
    server = start("-expire-after", "1h")
    url = server.create(5)
    age(server, url, 3000)
    before = parsedate_to_datetime(server.request("HEAD", url, TUS).headers["upload-expires"])
    after = parsedate_to_datetime(server.patch(url, 0, b"h").headers["upload-expires"])
    assert (after - before).total_seconds() > 2900


def test_an_expired_upload_is_gone_by_the_clock_and_then_from_the_disk(start: ServerStarter) -> None:
    first = start()
    url = first.create(5)
    first.patch(url, 0, b"hel")
    age(first, url, 3)
    first.kill()
    server = start("-expire-after", "1s", upload_dir=first.upload_dir, port=first.port)
    for answer in (server.request("HEAD", url, TUS), server.patch(url, 3, b"lo"), server.request("GET", url)):
        assert answer.status == 410
    eventually(lambda: uploads_in(server.upload_dir) == [])
    assert server.request("HEAD", url, TUS).status == 410
    eventually(lambda: b"tusd_py_uploads_expired_total 1.0" in server.request("GET", "/metrics").body)


def test_finished_and_busy_uploads_do_not_expire(start: ServerStarter) -> None:
    server = start()
    finished = server.create(5)
    server.patch(finished, 0, b"hello")
    age(server, finished, 100)
    busy = server.create(10)
    canary = server.create(5)
    with server.connection() as connection:
        connection.sendall(patch_head(busy, 0, 10) + b"x")
        eventually(has_size(server.path_of(busy), 1))
        age(server, busy, 100)
        age(server, canary, 100)
        sweeping = start("-expire-after", "1s", upload_dir=server.upload_dir)
        eventually(lambda: not server.path_of(canary).exists())
        connection.sendall(b"x" * 9)
        assert connection.recv(100).startswith(b"HTTP/1.1 204 ")
    age(server, finished, 100)
    age(server, busy, 100)
    for each in (server, sweeping):
        assert each.request("GET", finished).body == b"hello"
        assert (each.offset(finished), each.offset(busy)) == (5, 10)


def test_nothing_expires_unless_it_is_asked_for(server: Server) -> None:
    url = server.create(5)
    age(server, url, 10_000_000)
    assert server.offset(url) == 0


def test_the_sweep_clears_up_after_crashes_and_leaves_strangers_alone(start: ServerStarter) -> None:
    server = start("-expire-after", "1s")
    stranger = server.upload_dir / "notes.txt"
    stranger.write_text("not an upload")
    left = server.upload_dir / ".tusd-py" / "workspace" / ("0" * 16 + "." + "a" * 32)
    left.write_text("{}")
    orphan = server.upload_dir / ("a" * 32)
    orphan.touch()
    eventually(lambda: not left.exists())
    assert not orphan.exists()
    assert stranger.exists()
