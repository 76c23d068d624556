"""`tusd-py requeue|rescan|release`: what a human decides about files, seen on the command line and by clients."""

from __future__ import annotations

import asyncio
import getpass
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.chunked import Json, fields_of, state_of
from tests.hooks.receivers import Receiver, receiver
from tests.pipeline.clamav import SMALL, ClamAV, clamav
from tests.pipeline.sending import SIGNATURE, TEXT, Sent, by_tus, in_chunks, record_when_settled, signed_link
from tests.redis_server import RedisServer
from tests.running import DEADLINE, Server, ServerStarter, eventually
from tusd_py.pipeline.probes import EICAR
from tusd_py.service.threads import Threads
from tusd_py.state import FORGOTTEN
from tusd_py.state.configured import configured_state


@pytest.fixture(scope="module")
def daemon() -> Iterator[ClamAV]:
    with clamav(*SMALL) as daemon:
        yield daemon


def command(upload_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    name, *rest = words
    line = [sys.executable, "-m", "tusd_py", name, *rest, "-upload-dir", str(upload_dir)]
    return subprocess.run(line, capture_output=True, text=True, timeout=DEADLINE, check=False)


def stopped_with(start: ServerStarter, daemon: ClamAV, content: bytes, *flags: str) -> tuple[Server, Sent]:
    """A server that has settled a file and was stopped."""
    server = start("-clamd", daemon.unix, *flags)
    sent = by_tus(server, content)
    record_when_settled(server, sent.file_id)
    server.terminate()
    return server, sent


def settled_anew(start: ServerStarter, daemon: ClamAV, stopped: Server, sent: Sent) -> tuple[Server, Json]:
    server = start("-clamd", daemon.unix, upload_dir=stopped.upload_dir)
    return server, record_when_settled(server, sent.file_id)


@pytest.mark.parametrize("send", [by_tus, in_chunks])
def test_release_makes_a_quarantined_file_ready_and_says_who_did_it(
    start: ServerStarter, daemon: ClamAV, send: Callable[[Server, bytes], Sent]
) -> None:
    server = start("-clamd", daemon.unix)
    sent = send(server, EICAR)
    record_when_settled(server, sent.file_id)
    server.terminate()
    done = command(server.upload_dir, "release", sent.file_id)
    assert done.returncode == 0, done
    line = done.stdout + done.stderr
    assert sent.file_id in line
    assert f"says {getpass.getuser()}" in line
    assert f"was quarantined: {SIGNATURE}" in line
    server, record = settled_anew(start, daemon, server, sent)
    assert record["status"] == "ready"
    assert record["scanResult"] == f"released by {getpass.getuser()}, was: {SIGNATURE}"
    for path in (sent.path, signed_link(server, sent.file_id)):
        assert server.request("GET", path).body == EICAR
    assert not (state_of(server) / "quarantine" / sent.file_id).exists()


def test_a_file_is_released_beside_a_running_server(start: ServerStarter, daemon: ClamAV) -> None:
    server = start("-clamd", daemon.unix)
    sent = by_tus(server, EICAR)
    record_when_settled(server, sent.file_id)
    assert command(server.upload_dir, "release", sent.file_id).returncode == 0
    answer = server.request("GET", f"/api/files/{sent.file_id}")
    assert fields_of(answer)["status"] in {"processing", "ready"}
    assert server.request("GET", sent.path).status in {200, 409}


@pytest.mark.parametrize("kind", ["files", "redis"])
def test_the_processes_that_serve_are_told_at_once(start: ServerStarter, redis: RedisServer, kind: str) -> None:
    """Beside the server, which has the file done, a process that can only hear of it listens as the server does."""
    prefix = secrets.token_hex(4)
    redis.use(prefix)
    url = redis.url if kind == "redis" else ""
    flags = ("-redis-url", url, "-redis-prefix", prefix)
    server = start("-detect", *flags)
    sent = by_tus(server, TEXT)
    record_when_settled(server, sent.file_id)

    async def told() -> subprocess.CompletedProcess[str]:
        state = configured_state(url, prefix, state_of(server) / "run", Threads("told", 1).near, lambda _: None)
        heard = asyncio.Event()
        state.listen(FORGOTTEN, lambda _: heard.set())
        await state.start()
        try:
            async with asyncio.timeout(2 * DEADLINE):
                await asyncio.to_thread(eventually, lambda: not state.trouble())
                assert not heard.is_set()
                done = await asyncio.to_thread(command, server.upload_dir, "rescan", sent.file_id, *flags)
                await heard.wait()
        finally:
            await state.close()
        return done

    done = asyncio.run(told())
    assert done.returncode == 0, done
    assert record_when_settled(server, sent.file_id)["status"] == "ready"


def test_a_redis_that_is_away_delays_the_work_and_loses_nothing(start: ServerStarter, tmp_path: Path) -> None:
    server = start("-detect")
    sent = by_tus(server, TEXT)
    record_when_settled(server, sent.file_id)
    server.terminate()
    for url, status in (("nonsense", 1), (f"unix://{tmp_path}/away.sock", 0)):
        done = command(server.upload_dir, "rescan", sent.file_id, "-redis-url", url)
        assert done.returncode == status, done
        assert "Traceback" not in done.stderr
    server = start("-detect", upload_dir=server.upload_dir)
    assert record_when_settled(server, sent.file_id)["status"] == "ready"


@pytest.mark.parametrize("before", [(), ("-detect",), ("-durability", "none", "--")])
def test_flags_may_stand_before_the_id(tmp_path: Path, before: tuple[str, ...]) -> None:
    file_id = "f_" + "0" * 32
    line = [sys.executable, "-m", "tusd_py", "rescan", "-upload-dir", str(tmp_path), *before, file_id]
    done = subprocess.run(line, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 1
    assert f"tusd-py rescan {file_id}: " in done.stderr


@pytest.mark.parametrize("words", [("requeue", "-help"), ("requeue", "f_x", "--help"), ("-help",)])
def test_help_says_how_the_commands_are_called(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tusd_py", *words], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0
    assert "  tusd-py requeue [flags] <file id>\n    \tTry a file again" in done.stderr
    assert ("  tusd-py release [flags] <file id>" in done.stderr) == ("requeue" not in words)


@pytest.mark.parametrize(("content", "status"), [(TEXT, "ready"), (EICAR, "quarantined")])
def test_rescan_asks_the_scanner_again(start: ServerStarter, daemon: ClamAV, content: bytes, status: str) -> None:
    stopped, sent = stopped_with(start, daemon, content)
    done = command(stopped.upload_dir, "rescan", sent.file_id)
    assert done.returncode == 0, done
    assert not (state_of(stopped) / "public" / sent.file_id).exists()
    waiting = start("-clamd", "unix:/nowhere/clamd.sock", upload_dir=stopped.upload_dir)
    assert fields_of(waiting.request("GET", f"/api/files/{sent.file_id}"))["status"] == "processing"
    for path in (sent.path, signed_link(waiting, sent.file_id)):
        assert waiting.request("GET", path).status == 409
    waiting.terminate()
    server, record = settled_anew(start, daemon, stopped, sent)
    assert record["status"] == status
    assert server.request("GET", sent.path).status == (200 if status == "ready" else 403)


def test_requeue_tries_a_file_again_whose_bytes_have_come_back(start: ServerStarter, daemon: ClamAV) -> None:
    stopped, sent = stopped_with(start, daemon, TEXT)
    path = stopped.upload_dir / sent.upload_id
    aside = path.rename(path.with_name("aside"))
    (state_of(stopped) / "public" / sent.file_id).unlink()
    server, record = settled_anew(start, daemon, stopped, sent)
    eventually(lambda: fields_of(server.request("GET", f"/api/files/{sent.file_id}"))["status"] == "gone")
    assert server.request("GET", sent.path).status == 410
    server.terminate()
    aside.rename(path)
    done = command(stopped.upload_dir, "requeue", sent.file_id)
    assert done.returncode == 0, done
    server, record = settled_anew(start, daemon, server, sent)
    assert (record["status"], record["scanResult"]) == ("ready", "clean")
    assert server.request("GET", sent.path).body == TEXT


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [("release", TEXT, "ready"), ("requeue", TEXT, "ready"), ("requeue", EICAR, "quarantined")],
)
def test_a_file_in_another_status_is_left_alone(
    start: ServerStarter, daemon: ClamAV, name: str, content: bytes, status: str
) -> None:
    stopped, sent = stopped_with(start, daemon, content)
    before = stopped.files()
    done = command(stopped.upload_dir, name, sent.file_id)
    assert done.returncode == 1
    assert f"the file is {status}" in done.stdout + done.stderr
    assert stopped.files() == before


@pytest.mark.parametrize("name", ["requeue", "rescan", "release"])
def test_a_file_that_is_being_worked_on_is_left_alone(start: ServerStarter, name: str) -> None:
    server = start("-clamd", "unix:/nowhere/clamd.sock")
    sent = by_tus(server, EICAR)
    done = command(server.upload_dir, name, sent.file_id)
    assert done.returncode == 1
    assert "the file is processing" in done.stdout + done.stderr


def test_deleted_bytes_cannot_be_released(start: ServerStarter, daemon: ClamAV) -> None:
    stopped, sent = stopped_with(start, daemon, EICAR, "-infected", "delete")
    for name in ("release", "rescan"):
        done = command(stopped.upload_dir, name, sent.file_id)
        assert done.returncode == 1
        assert "its bytes have been deleted" in done.stdout + done.stderr


@pytest.mark.parametrize("words", [("release",), ("release", "f_" + "0" * 32), ("rescan", "../../etc/passwd")])
def test_what_is_no_file_is_an_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = command(tmp_path, *words)
    assert done.returncode == 1
    assert done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def has_received(webhooks: Receiver, count: int) -> bool:
    return len(webhooks.received) == count


def test_what_was_decided_is_told_in_order_and_under_a_new_id(start: ServerStarter, daemon: ClamAV) -> None:
    with receiver() as webhooks:
        flags = ("-clamd", daemon.unix, "-webhook-url", webhooks.url)
        server = start(*flags)
        sent = by_tus(server, EICAR)
        for count, name in enumerate(("release", "rescan"), 1):
            eventually(partial(has_received, webhooks, count))
            record_when_settled(server, sent.file_id)
            server.terminate()
            assert command(server.upload_dir, name, sent.file_id).returncode == 0
            server = start(*flags, upload_dir=server.upload_dir)
        eventually(partial(has_received, webhooks, 3))
    kinds = [body["type"] for body in webhooks.bodies]
    assert kinds == ["file.quarantined", "file.ready", "file.quarantined"]
    assert len({request.header("Webhook-Id") for request in webhooks.received}) == 3
