"""Finished files on a server whose scanner is away, and on one that is killed wherever it is with them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.chunked import fields_of, state_of
from tests.cli.test_metrics import values
from tests.hooks.receivers import Receiver, receiver
from tests.pipeline.clamav import ClamAV
from tests.pipeline.sending import (
    HOOKS,
    SIGNATURE,
    TEXT,
    Sent,
    by_tus,
    in_chunks,
    png,
    record_when_settled,
    signed_link,
    status_of,
)
from tests.running import Server, ServerStarter, eventually
from tusd_py.pipeline.probes import EICAR

DYING = Path(__file__).parent.parent / "crash" / "dying_server.py"
MOST_CALLS = 24
STRIDE = 3
"""Without --long, the server dies at every third call."""


def health(server: Server) -> dict[str, object]:
    answer = server.request("GET", "/health")
    assert answer.status == 200, answer
    return fields_of(answer)


def clients_of(daemon: ClamAV) -> int:
    """How many connections there are to it, taken up or not."""
    path = daemon.unix.removeprefix("unix:")
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(path) for line in lines) - 1


def assert_waiting(server: Server, *files: Sent) -> None:
    """The files are in progress, and nobody gets them."""
    for sent in files:
        assert status_of(server, sent) == "processing"
        for path in (sent.path, signed_link(server, sent.file_id)):
            answer = server.request("GET", path)
            assert (answer.status, answer.code) == (409, "ERR_FILE_NOT_READY")
        assert server.request("GET", f"/api/uploads/{sent.upload_id}/download").status == 409


def test_files_wait_for_a_scanner_that_is_away_and_go_on_by_themselves(start: ServerStarter, own: ClamAV) -> None:
    own.stop()
    server = start("-clamd", own.unix, "-expose-metrics")
    files = [by_tus(server, TEXT), in_chunks(server, TEXT), by_tus(server, EICAR)]
    eventually(lambda: health(server)["status"] == "degraded")
    assert "scanner" in str(health(server)["parts"])
    assert_waiting(server, *files)
    assert values(server, "tusd_py_pipeline_pending") == {"": 3}
    assert 0 < values(server, "tusd_py_pipeline_oldest_seconds")[""] < 3600

    own.start()
    assert [record_when_settled(server, sent.file_id)["status"] for sent in files] == ["ready", "ready", "quarantined"]
    assert health(server) == {"status": "ok"}
    eventually(lambda: values(server, "tusd_py_pipeline_pending") == {"": 0})
    steps = values(server, "tusd_py_pipeline_step_seconds_count")
    assert {outcome: steps[f'outcome="{outcome}",step="scan"'] for outcome in ("passed", "quarantined")} == {
        "passed": 2,
        "quarantined": 1,
    }
    assert steps['outcome="later",step="scan"'] >= 3
    assert steps['outcome="passed",step="detect"'] >= 1

    own.pause()  # it takes a file and does not come to its end with it
    first = by_tus(server, TEXT)
    eventually(lambda: clients_of(own) > 0)
    own.stop()
    second = by_tus(server, EICAR)
    eventually(lambda: health(server)["status"] == "degraded")
    assert_waiting(server, first, second)
    own.start()
    assert record_when_settled(server, first.file_id)["status"] == "ready"
    record = record_when_settled(server, second.file_id)
    assert (record["status"], record["scanResult"]) == ("quarantined", SIGNATURE)
    assert health(server) == {"status": "ok"}


def test_files_that_wait_are_found_again_by_the_next_server(start: ServerStarter, own: ClamAV) -> None:
    own.stop()
    server = start("-clamd", own.unix)
    files = [by_tus(server, TEXT), in_chunks(server, EICAR)]
    server.kill()
    own.start()
    server = start("-clamd", own.unix, upload_dir=server.upload_dir)
    assert [record_when_settled(server, sent.file_id)["status"] for sent in files] == ["ready", "quarantined"]


# --- a server that is killed ---


@contextmanager
def kept_from_servers(server: Server, files: Sequence[Sent]) -> Iterator[None]:
    """These files are in other hands, as far as a server can see."""
    with ExitStack() as held:
        for sent in files:
            path = state_of(server) / "pending" / f"{sent.file_id}.json"
            if path.exists():
                descriptor = os.open(path, os.O_RDWR)
                held.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def names_of(sent: Sent) -> str:
    """What paths have in them that belong to a file, calls of hooks about it included."""
    line = hashlib.sha256(sent.upload_id.encode()).hexdigest()[:32]
    return f"{sent.upload_id},{sent.file_id},{line}"


def is_over(server: Server, sent: Sent) -> bool:
    """Whether the server is dead, or has settled the file and told everybody."""
    state = state_of(server)
    is_settled = (state / "files" / sent.file_id[2:4] / f"{sent.file_id}.json").exists()
    is_pending = (state / "pending" / f"{sent.file_id}.json").exists()
    has_calls = bool(list((state / "hooks").rglob(names_of(sent).rpartition(",")[2] + "-*.json")))
    return server.process.poll() is not None or (is_settled and not is_pending and not has_calls)


def die_everywhere(start: ServerStarter, first: Server, flags: Sequence[str], files: Sequence[Sent], step: int) -> int:
    """Start servers that have one file each, and die at their first call that names it, or at one `step` later than
    the server before; how many did. The last one comes to its end with its file.
    """
    for count, sent in enumerate(files):
        with kept_from_servers(first, [other for other in files if other is not sent]):
            wrapper = [sys.executable, str(DYING), str(1 + count * step), names_of(sent)]
            server = start(*flags, upload_dir=first.upload_dir, wrapper=wrapper, wait=False)
            eventually(partial(is_over, server, sent), 60.0)
            is_dead = server.process.poll() is not None
            server.kill()
        if not is_dead:
            return count
    pytest.fail("there are more calls than files")


def ids_of(calls: Receiver, webhooks: Receiver, sent: Sent) -> dict[str, set[str]]:
    """By event, the ids under which hooks and webhooks told of a file."""
    found: dict[str, set[str]] = {}
    for request in calls.received:
        document = request.document
        if document["Event"]["Upload"]["ID"] == sent.upload_id:
            found.setdefault(document["Type"], set()).add(request.header("Webhook-Id") or "")
    for request in webhooks.received:
        if request.document["data"]["id"] == sent.file_id:
            found.setdefault(request.document["type"], set()).add(request.header("Webhook-Id") or "")
    return found


def has_heard(calls: Receiver, webhooks: Receiver, sent: Sent, events: set[str]) -> bool:
    return ids_of(calls, webhooks, sent).keys() >= events


@pytest.mark.parametrize("kind", ["ready", "quarantined"])
def test_a_file_comes_to_its_end_wherever_the_server_was_killed(
    start: ServerStarter, small: ClamAV, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    content, claim = (png(20, 10), "image/png") if kind == "ready" else (EICAR, "text/plain")
    step = 1 if request.config.getoption("--long") else STRIDE
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef")
    secret.chmod(0o600)
    with receiver() as calls, receiver() as webhooks:
        flags = (
            *("-hooks-http", calls.url, "-hooks-enabled-events", HOOKS, "-hooks-http-secret-file", str(secret)),
            *("-webhook-url", webhooks.url, "-thumbnails", "16"),
        )
        away = start(*flags, "-clamd", "unix:/nowhere/clamd.sock")
        files = [by_tus(away, content, claim) for _ in range(MOST_CALLS // step)]
        assert_waiting(away, *files)
        away.kill()

        scanning = (*flags, "-clamd", small.unix)
        deaths = die_everywhere(start, away, scanning, files, step)
        assert deaths * step >= 8, "not all steps were counted"

        server = start(*scanning, upload_dir=away.upload_dir)
        for sent in files:
            record = record_when_settled(server, sent.file_id)
            assert record["status"] == kind
            if kind == "ready":
                assert server.request("GET", signed_link(server, sent.file_id)).body == content
                assert [each["size"] for each in record["thumbnails"]] == ["16"]
            else:
                assert (state_of(server) / "quarantine" / sent.file_id).read_bytes() == content
                assert not (server.upload_dir / sent.upload_id).exists()
        events = {f"file-{kind}", f"file.{kind}"} | ({"post-finish"} if kind == "ready" else set())
        for sent in files:
            eventually(partial(has_heard, calls, webhooks, sent, events), 60.0)
            found = ids_of(calls, webhooks, sent)
            assert found.keys() == events
            assert all(len(ids) == 1 and "" not in ids for ids in found.values()), found
