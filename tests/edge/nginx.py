"""A real nginx with a configuration from the README, over a state directory that was made by hand."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.edge import STATE_DIRECTORY
from tests.running import DEADLINE, Answer, eventually, read_all

MODULES = Path("/usr/lib/nginx/modules")
README_LOG = "/var/log/nginx/tusd-py.log"

_CONFIGURATION = """\
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/temporary;
    proxy_temp_path {folder}/temporary;
    fastcgi_temp_path {folder}/temporary;
    uwsgi_temp_path {folder}/temporary;
    scgi_temp_path {folder}/temporary;
    include {folder}/tusd-py.conf;
}}
"""


class Nginx:
    """A running nginx; what it logs is in `folder`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        self.process = process
        self.port = port
        self._folder = folder

    def request(self, method: str, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request(method, target, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def raw(self, target: bytes) -> bytes:
        """The answer to a GET for what a client library would not send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as connection:
            connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
            return read_all(connection)

    def reload(self) -> None:
        """Read the configuration again, as `nginx -s reload` has it done."""
        self.process.send_signal(signal.SIGHUP)

    def workers(self) -> list[int]:
        """The processes that serve, which are children of the one that was started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in eventually(lambda: children.read_text().split())]

    def logged(self) -> str:
        return "".join(path.read_text() for path in self._folder.glob("*.log"))


@contextmanager
def state_directory() -> Iterator[Path]:
    """An empty state directory that processes of every user can walk through, which they cannot with pytest's."""
    with tempfile.TemporaryDirectory(prefix="tusd-py-edge-") as folder:
        state = Path(folder, "state")
        for path, mode in ((Path(folder), 0o711), (state, 0o711), (state / "public", 0o755)):
            path.mkdir(exist_ok=True)
            path.chmod(mode)
        yield state


def publish(state: Path, file_id: str, data: bytes, about: Mapping[str, str]) -> None:
    """As the server does it: first what to say about the bytes, then the bytes."""
    public = state / "public"
    for name, content in ((f"{file_id}.json", json.dumps(about).encode()), (file_id, data)):
        (public / name).write_bytes(content)
        (public / name).chmod(0o644)


@contextmanager
def nginx(configuration: str, state: Path) -> Iterator[Nginx]:
    """Start nginx with what stands in its `http` block; the README's state directory, log and port are replaced."""
    with configured_nginx(configuration, {STATE_DIRECTORY: str(state), README_LOG: "{folder}/access.log"}) as running:
        yield running


@contextmanager
def configured_nginx(configuration: str, replaced: Mapping[str, str]) -> Iterator[Nginx]:
    """Start nginx with the port and these texts of its configuration replaced; `{folder}` is a directory of its own."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    assert program, "these tests need nginx (apt-get install nginx libnginx-mod-http-lua lua-cjson)"
    with tempfile.TemporaryDirectory(prefix="tusd-py-nginx-") as name, socket.socket() as free:
        folder = Path(name)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        for text, replacement in replaced.items():
            assert text in configuration
            configuration = configuration.replace(text, replacement.replace("{folder}", str(folder)))
        configuration, count = re.subn(r"listen (80|443)\b", f"listen 127.0.0.1:{port}", configuration)
        assert count == 1
        (folder / "tusd-py.conf").write_text(configuration)
        # Root starts it as on a real machine, where its workers are somebody else.
        user = "user nobody nogroup;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_CONFIGURATION.format(user=user, folder=folder, modules=MODULES))
        command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
        with (folder / "output.log").open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        running = Nginx(process, port, folder)
        try:
            eventually(lambda: _answers(running))
            yield running
        finally:
            process.terminate()
            process.wait(DEADLINE)


def _answers(running: Nginx) -> bool:
    assert running.process.poll() is None, running.logged()
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", running.port)) == 0
