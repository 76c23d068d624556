"""Hooks whose receivers are slow, dead, confused or hostile: nothing is lost, nobody is stuck, and clients are told."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hooks.receivers import JSON, Received, Reply, receiver
from tests.running import DEADLINE, TUS, Answer, Server, ServerStarter, eventually, uploads_in

MIB = 1024 * 1024
QUICK = ("-hooks-http-timeout", "1s", "-hooks-http-backoff", "10ms")
BEFORE, AFTER = ("-hooks-enabled-events", "pre-create"), ("-hooks-enabled-events", "post-finish")

TROUBLES = {
    "slow": Reply(delay=DEADLINE),
    "slow in the middle": Reply(body=b" " * 100, pause=DEADLINE),
    "hangs up": Reply(hangs_up=True),
    "500": Reply(500, b"no"),
    "404": Reply(404, b"no"),
    "garbage": Reply(body=b"\xff\x00garbage"),
    "10 MB": Reply(body=b" " * 10 * MIB),
    "no JSON": Reply(headers={"Content-Type": "text/html"}),
    "breaks off": Reply(body=b"{", headers={**JSON, "Content-Length": "1000"}),
    "a bomb": Reply(body=b"[" * 5000),
    "headers without end": Reply(headers={f"X-{number}": "x" * 8000 for number in range(200)}),
    "redirects to itself": Reply(307, headers={"Location": "/hook"}),
    "redirects to a file": Reply(302, headers={"Location": "file:///etc/passwd"}),
}


def creation(server: Server, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request("POST", headers=TUS | {"Upload-Length": "5"} | named)


# --- before something happens ---


def test_a_receiver_in_trouble_prevents_a_creation_and_the_client_is_told(start: ServerStarter) -> None:
    """One server for all kinds of trouble: after each it takes the next upload."""
    with receiver() as hooks:
        server = start("-hooks-http", hooks.url, *BEFORE, *QUICK)
        assert creation(server).status == 201
        memory = server.rss()
        for trouble, reply in TROUBLES.items():
            hooks.replies[:] = [reply]
            answer = creation(server)
            assert (answer.status, answer.code) == (500, "ERR_INTERNAL_SERVER_ERROR"), trouble
            assert len(answer.body) < 10_000, trouble
            assert len(uploads_in(server.upload_dir)) == 2, trouble  # those of the creation that was let through
        hooks.replies[:] = [Reply()]
        assert creation(server).status == 201
        assert server.rss() - memory < 64 * MIB


def test_a_slow_receiver_keeps_only_those_waiting_who_are_asked_about(start: ServerStarter) -> None:
    with receiver() as hooks:
        server = start("-hooks-http", hooks.url, *BEFORE)
        url = server.create(5)
        is_over = threading.Event()
        take = hooks.take

        def wait(received: Received) -> Reply:
            is_over.wait(DEADLINE)
            return take(received)

        hooks.take = wait  # type: ignore[method-assign]
        answers: list[Answer] = []
        waiting = [threading.Thread(target=lambda: answers.append(creation(server))) for _ in range(40)]
        for thread in waiting:
            thread.start()
        assert server.patch(url, 0, b"hello").status == 204
        assert server.request("GET", url).body == b"hello"
        assert answers == []
        is_over.set()
        for thread in waiting:
            thread.join(DEADLINE)
    assert [answer.status for answer in answers] == [201] * 40


def test_a_redirect_to_another_host_gets_the_event_but_no_credentials(start: ServerStarter) -> None:
    with receiver() as other, receiver(Reply(307, headers={"Location": other.url})) as hooks:
        home = hooks.url.replace("127.0.0.1", "user:password@localhost")
        server = start("-hooks-http", home, *BEFORE, "-hooks-http-forward-headers", "Authorization,X-Api-Key")
        answer = creation(server, Authorization="Bearer s3cret", X_Api_Key="s3cret", Cookie="a=s3cret", X_Team="blue")
    assert answer.status == 201
    assert hooks.received[0].header("Authorization") == "Bearer s3cret"
    [received] = other.received
    assert "s3cret" not in f"{received.headers}{received.body!r}"
    assert received.document["Event"]["HTTPRequest"]["Header"]["X-Team"] == ["blue"]


ANSWERS = {
    "a line break in a header": (b'{"HTTPResponse":{"Header":{"X-A":"a\\r\\nX-Evil: 1"}}}', 201),
    "a name that is none": (b'{"HTTPResponse":{"Header":{"X A:\\n":"a","X-Good":"1"}}}', 201),
    "lengths of its own": (b'{"HTTPResponse":{"Header":{"Content-Length":"99","Transfer-Encoding":"chunked"}}}', 201),
    "a status that is none": (b'{"HTTPResponse":{"StatusCode":99}}', 500),
    "a status of its own": (b'{"HTTPResponse":{"StatusCode":299,"Body":"b"}}', 299),
    "not Unicode": (b'{"HTTPResponse":{"Body":"\\ud800","Header":{"X-A":"\\ud800"}}}', 201),
    "metadata that is no header": (b'{"ChangeFileInfo":{"MetaData":{"a b,c":"1","":"2","gr\xc3\xbcn":"\\n"}}}', 201),
    "a NUL in an id": (b'{"ChangeFileInfo":{"ID":"a\\u0000b"}}', 500),
    "a very long id": (b'{"ChangeFileInfo":{"ID":"%s"}}' % (b"a" * 3000), 500),
    "a very deep id": (b'{"ChangeFileInfo":{"ID":"%s"}}' % (b"a/" * 400 + b"a"), 201),
    "a very long name": (b'{"ChangeFileInfo":{"ID":"a/%s"}}' % (b"a" * 252), 500),
    "a very long place": (b'{"ChangeFileInfo":{"Storage":{"Path":"%s"}}}' % (b"a" * 3000), 500),
    "a place in a file": (b'{"ChangeFileInfo":{"Storage":{"Path":"/etc/passwd/x"}}}', 400),
    "a taken place": (b'{"ChangeFileInfo":{"Storage":{"Path":"/etc/passwd"}}}', 400),
    "a device": (b'{"ChangeFileInfo":{"Storage":{"Path":"/dev/null"}}}', 400),
    "wrong types": (b'{"RejectUpload":"yes"}', 500),
    "a list": (b"[]", 500),
    "nothing": (b"", 500),
}


@pytest.fixture(scope="module")
def answering(
    start_shared: ServerStarter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[bytes], Answer]]:
    with receiver() as hooks:
        server = start_shared("-hooks-http", hooks.url, *BEFORE, upload_dir=tmp_path_factory.mktemp("answers"))

        def ask(text: bytes) -> Answer:
            hooks.replies[:] = [Reply(body=text)]
            answer = creation(server)
            if answer.status in (201, 299):
                url = answer.headers["location"]
                assert server.request("HEAD", url, TUS).headers["upload-offset"] == "0"
                assert server.patch(url, 0, b"hello").status == 204
            return answer

        yield ask


@pytest.mark.parametrize("kind", ANSWERS)
def test_no_answer_of_a_hook_breaks_the_answer_to_the_client(answering: Callable[[bytes], Answer], kind: str) -> None:
    text, status = ANSWERS[kind]
    answer = answering(text)
    assert answer.status == status, answer
    assert "x-evil" not in answer.headers


# --- after something has happened ---


def test_what_has_happened_is_told_once_the_receiver_takes_it_whatever_it_did_before(start: ServerStarter) -> None:
    """Nothing of it is seen by the client."""
    lost = ["slow", "slow in the middle", "hangs up", "500", "404", "redirects to a file", "headers without end"]
    with receiver() as hooks:
        server = start("-hooks-http", hooks.url, *AFTER, *QUICK, "-hooks-http-retry", "1")
        told: dict[str, list[str]] = {}
        troubles = iter(lost)
        take = hooks.take

        def answer(received: Received) -> Reply:
            take(received)
            attempts = told.setdefault(received.document["Event"]["Upload"]["ID"], [])
            attempts.append(next(troubles) if not attempts else "taken")
            return TROUBLES.get(attempts[-1], Reply())

        hooks.take = answer  # type: ignore[method-assign]
        for _ in lost:
            assert server.patch(server.create(5), 0, b"hello").status == 204
        eventually(lambda: [len(attempts) for attempts in told.values()] == [2] * len(lost), 3 * DEADLINE)
        eventually(lambda: not list((server.upload_dir / ".tusd-py/hooks").rglob("*.json")))
    assert sorted(attempts[0] for attempts in told.values()) == sorted(lost)
    assert {attempts[1] for attempts in told.values()} == {"taken"}


def test_a_receiver_that_is_dead_gets_everything_when_it_is_back(start: ServerStarter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    server = start("-hooks-http", f"http://127.0.0.1:{port}/hook", *AFTER, *QUICK)
    ids = []
    for _ in range(20):
        url = server.create(5)
        assert server.patch(url, 0, b"hello").status == 204
        ids.append(url.rpartition("/")[2])
    server.kill()
    with receiver(port=port) as hooks:
        start("-hooks-http", hooks.url, *AFTER, *QUICK, upload_dir=server.upload_dir)
        eventually(lambda: len(hooks.received) >= 20, 3 * DEADLINE)
    assert {body["Event"]["Upload"]["ID"] for body in hooks.bodies} == set(ids)


def test_a_server_that_is_killed_while_a_hook_lets_it_wait_goes_on_as_if_it_had_not_been_asked(
    start: ServerStarter,
) -> None:
    with receiver(Reply(delay=DEADLINE)) as hooks:
        flags = ("-hooks-http", hooks.url, "-hooks-enabled-events", "pre-create,pre-finish,post-finish")
        server = start(*flags)
        threading.Thread(target=lambda: _ignoring_the_end(lambda: creation(server)), daemon=True).start()
        eventually(lambda: hooks.received)
        server.kill()
        assert uploads_in(server.upload_dir) == []

        hooks.replies[:] = [Reply(), Reply(delay=DEADLINE)]
        server = start(*flags, upload_dir=server.upload_dir)
        url = server.create(5)
        threading.Thread(target=lambda: _ignoring_the_end(lambda: server.patch(url, 0, b"hello")), daemon=True).start()
        eventually(lambda: hooks.bodies[-1]["Type"] == "pre-finish")
        server.kill()

        hooks.replies[:] = [Reply()]
        before = len(hooks.received)
        server = start(*flags, upload_dir=server.upload_dir)
        assert server.offset(url.replace(url, f"/files/{url.rpartition('/')[2]}")) == 5
        eventually(lambda: hooks.bodies[-1]["Type"] == "post-finish")
    assert [body["Type"] for body in hooks.bodies[before:]] == ["pre-finish", "post-finish"]


def _ignoring_the_end(ask: Callable[[], Answer]) -> None:
    with suppress(OSError):  # the server is killed
        ask()


# --- at the end ---


@pytest.mark.parametrize("kind", ["http", "programs", "python"])
def test_a_hook_that_never_answers_does_not_keep_the_server_from_stopping(
    start: ServerStarter, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "never.py").write_text(
        "import time\ndef ever(document):\n    print('asked', flush=True); time.sleep(600)\n"
    )
    program = tmp_path / "hooks" / "post-finish"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho $$ > pid\nexec sleep 600\n")
    program.chmod(0o755)
    with receiver(Reply(delay=600)) as hooks:
        flags = {
            "http": ("-hooks-http", hooks.url),
            "programs": ("-hooks-dir", str(program.parent), "-hooks-timeout", "0"),
            "python": ("-hooks-python", "never:ever", "-hooks-timeout", "0"),
        }[kind]
        server = start(*flags, *AFTER, "-shutdown-timeout", "1s", environment={"PYTHONPATH": str(tmp_path)})
        server.patch(server.create(5), 0, b"hello")
        pid = program.parent / "pid"
        asked: dict[str, Callable[[], object]] = {
            "http": lambda: hooks.received,
            "programs": lambda: pid.exists() and pid.read_text().strip(),
            "python": lambda: "asked" in server.output(),
        }
        eventually(asked[kind])
        assert server.terminate() == 0
    if kind == "programs":
        eventually(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())
    assert list((server.upload_dir / ".tusd-py/hooks").rglob("*.json"))  # it is told again by the next server


# --- programs ---


def test_what_is_in_the_directory_of_programs_is_run_only_if_it_is_a_program(
    start: ServerStarter, tmp_path: Path
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-create").symlink_to(tmp_path / "nowhere")
    os.mkfifo(hooks / "post-create")
    (hooks / "post-finish").mkdir()
    (hooks / "pre-finish").write_bytes(b"\x7fELF garbage")
    (hooks / "pre-finish").chmod(0o755)
    events = ("-hooks-enabled-events", "pre-create,post-create,pre-finish,post-finish")
    server = start("-hooks-dir", str(hooks), *events)
    url = server.create(5)  # a link to nothing is no hook
    answer = server.patch(url, 0, b"hello")
    assert answer.status == 500
    assert b"hook program pre-finish cannot be run" in answer.body
    (hooks / "pre-finish").unlink()
    assert server.offset(url) == 5
    eventually(lambda: "event=HookInvocationError type=post-create" in server.output())
    (hooks / "post-create").unlink()
    eventually(lambda: "event=HookInvocationError type=post-finish" in server.output())


def test_programs_that_are_asked_at_once_share_no_descriptor_with_uploads(start: ServerStarter, tmp_path: Path) -> None:
    """Many uploads are written while programs come and go; each is whole at the end."""
    for event in ("pre-create", "post-create", "post-finish"):
        program = tmp_path / event
        program.write_text("#!/bin/sh\ncat >/dev/null\necho '{}'\n")
        program.chmod(0o755)
    server = start("-hooks-dir", str(tmp_path))
    contents = [bytes([number]) * (200_000 + number) for number in range(24)]
    urls: list[str] = [""] * len(contents)

    def send(number: int) -> None:
        content = contents[number]
        url = server.create(len(content))
        for begin in range(0, len(content), 50_000):
            assert server.patch(url, begin, content[begin : begin + 50_000]).status == 204
        urls[number] = url

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * DEADLINE)
    for url, content in zip(urls, contents, strict=True):
        assert server.request("GET", url).body == content
