"""The application inside other people's servers and applications."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

import tusd_py
from tests.patching import chunked, patch_head
from tests.running import TUS, Server, eventually, read_all


class Elsewhere(Server):
    """A server that was not started by the command, looked at through its socket like any other."""

    def __init__(self, port: int, path: str, upload_dir: Path) -> None:
        self.url = f"http://127.0.0.1:{port}{path}"
        self.upload_dir = upload_dir
        self._path = path

    def path_of(self, url: str) -> Path:
        return self.upload_dir / url.rpartition("/")[2]


@contextmanager
def served(folder: Path, source: str, server: str, *flags: str, path: str = "/files/") -> Iterator[Elsewhere]:
    """A module with this source, served by `python -m <server>` from a process of its own; uploads go to `uploads`."""
    (folder / "served.py").write_text(source)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", server, *flags, "--port", str(port), "served:app"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        running = Elsewhere(port, path, folder / "uploads")
        eventually(lambda: _answers(running))
        yield running
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def in_thread(app: Any, upload_dir: Path, path: str = "/files/") -> Iterator[Elsewhere]:
    """A plain uvicorn in this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    eventually(lambda: server.started)
    try:
        yield Elsewhere(listener.getsockname()[1], path, upload_dir)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def use(server: Server, unread: int = 1_000_000) -> None:
    """What a client does: create, append in two ways, resume after an early end, download, terminate.

    Of a body that is not wanted, `unread` bytes are sent before the answer is read.
    """
    url = server.create(3_000_011)
    assert url.startswith(server.url)
    assert server.patch(url, 0, b"hello").status == 204
    assert chunked(server, url, 5, [b" ", b"world"]).status == 204
    with server.connection() as connection:
        connection.sendall(patch_head(url, 11, 3_000_000) + b"x" * 1_000_000)
        eventually(lambda: server.path_of(url).stat().st_size >= 500_000)
    offset = server.offset(url)
    assert 500_000 <= offset <= 1_000_011
    assert server.patch(url, offset, b"x" * (3_000_011 - offset)).status == 204
    assert server.request("GET", url).body == b"hello world" + b"x" * 3_000_000
    early = server.patch(url, 7, b"x" * unread)
    assert (early.status, early.headers["upload-offset"]) == (409, "3000011")
    assert server.request("DELETE", url, TUS).status == 204
    assert server.request("HEAD", url, TUS).status == 404


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_it_runs_under_in_thread(tmp_path: Path, http: str) -> None:
    source = "import tusd_py\napp = tusd_py.create_app('uploads')\n"
    with served(tmp_path, source, "uvicorn", "--http", http) as server:
        use(server)
        assert "checksum-trailer" not in server.request("OPTIONS").headers["tus-extension"]
        url = server.create(5)
        answer = chunked(server, url, 0, [b"hello"], Trailer="Upload-Checksum")
        assert (answer.status, answer.code) == (400, "ERR_INVALID_CHECKSUM")


def test_it_runs_under_another_asgi_server(tmp_path: Path) -> None:
    """granian: another HTTP implementation, and no extension of ours; it closes where a body was not read."""
    source = "import tusd_py\napp = tusd_py.create_app('uploads')\n"
    with served(tmp_path, source, "granian", "--interface", "asgi") as server:
        use(server, unread=1000)


@pytest.mark.parametrize(("prefix", "base_path"), [("/deep/er", "/uploads/"), ("/files", "/")])
def test_it_mounts_in_a_parent_that_forwards_no_lifespan(tmp_path: Path, prefix: str, base_path: str) -> None:
    source = f"""
import tusd_py
from starlette.applications import Starlette
from starlette.routing import Mount

app = Starlette(routes=[Mount("{prefix}", tusd_py.create_app("uploads", base_path="{base_path}"))])
"""
    with served(tmp_path, source, "uvicorn", path=prefix + base_path) as server:
        use(server)
        one = server.create(0, Upload_Concat="partial")
        path = one.removeprefix(f"http://127.0.0.1:{server.port}")
        for reference in (one, path):
            answer = server.request("POST", headers=TUS | {"Upload-Concat": f"final;{reference}"})
            assert answer.status == 201
        for page in ("/metrics", f"{prefix}/metrics", "/health", "/"):
            assert server.request("GET", f"http://127.0.0.1:{server.port}{page}").status in (404, 405)


def test_a_keyword_that_is_none_is_refused(tmp_path: Path) -> None:
    keywords: dict[str, Any] = {"max_sise": 3}
    with pytest.raises(TypeError, match="max_sise"):
        tusd_py.create_app(tmp_path, **keywords)


def test_its_lifespan_can_be_joined_to_the_parents(tmp_path: Path) -> None:
    inner = tusd_py.create_app(tmp_path)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with tusd_py.lifespan(inner):
            yield

    parent = Starlette(routes=[Mount("/a", inner)], lifespan=lifespan)
    with in_thread(parent, tmp_path, path="/a/files/") as server:
        assert len(listening(tmp_path)) == 1
        use(server)
    assert listening(tmp_path) == []


def listening(upload_dir: Path) -> list[Path]:
    """The sockets at which processes hear of one another."""
    return [path for path in (upload_dir / ".tusd-py" / "run").iterdir() if path.is_socket()]


def test_a_draining_application_takes_nothing_new_and_keeps_the_clients(tmp_path: Path) -> None:
    """tus-js-client starts again from zero after any failed HEAD but a 423."""
    app = tusd_py.create_app(tmp_path)
    with in_thread(app, tmp_path) as server:
        url = server.create(1_000_000)
        with server.connection() as connection:
            connection.sendall(patch_head(url, 0, 1_000_000) + b"hello")
            eventually(lambda: server.path_of(url).stat().st_size == 5)
            app.state.tusd_py.drain()
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)
        for answer, status in (
            (server.request("HEAD", url, TUS), 423),
            (server.patch(url, 5, b"x"), 503),
            (server.request("POST", headers=TUS | {"Upload-Length": "5"}), 503),
        ):
            assert answer.status == status
            assert "retry-after" in answer.headers


def _answers(server: Server) -> bool:
    try:
        return server.request("OPTIONS").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("keywords", [{"durability": "always"}, {"compat": "go"}, {"base_path": "https://a/files/"}])
def test_values_that_make_no_sense_are_refused(tmp_path: Path, keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        tusd_py.create_app(tmp_path, **keywords)


def test_unknown_requests_do_not_need_an_event_loop_of_ours(tmp_path: Path) -> None:
    """Called as plain ASGI, without a server at all."""
    app = tusd_py.create_app(tmp_path)
    sent: list[Any] = []

    async def call() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "OPTIONS", "path": "/files/", "headers": [], "query_string": b""}
        await app(scope, receive, send)
        await app.state.tusd_py.close()

    asyncio.run(call())
    assert sent[0]["status"] == 200
