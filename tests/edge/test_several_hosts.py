"""The README's load balancers in front of two servers with one directory and one Redis, one of which dies."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.edge import readme_block
from tests.edge.haproxy import configured_haproxy
from tests.edge.nginx import configured_nginx
from tests.redis_server import RedisServer
from tests.running import (
    CHUNK,
    DEADLINE,
    TUS,
    Answer,
    Server,
    ServerStarter,
    eventually,
    has_size,
    read_all,
    request_head,
    reserved_port,
)

HOSTS = ("host-a:8080", "host-b:8080")
PIECE = 512 * 1024
PIECES = 6


@contextmanager
def nginx(addresses: Mapping[str, str]) -> Iterator[int]:
    """What stands under "Several hosts", and what stands under "Behind a proxy", to which it is added."""
    location = readme_block("location /files/ {")
    assert "proxy_pass http://127.0.0.1:8080;" in location
    location = location.replace("proxy_pass http://127.0.0.1:8080;", "proxy_pass http://tusd_py;")
    configuration = f"{readme_block('upstream tusd_py {')}\nserver {{\nlisten 80;\n{location}}}\n"
    with configured_nginx(configuration, addresses) as running:
        yield running.port


def haproxy(addresses: Mapping[str, str]) -> AbstractContextManager[int]:
    return configured_haproxy(readme_block("frontend uploads"), addresses)


@contextmanager
def two_hosts(start: ServerStarter, redis: RedisServer, prefix: str) -> Iterator[list[Server]]:
    redis.use(prefix)
    flags = ("-behind-proxy", "-redis-url", redis.url, "-redis-prefix", prefix)
    with reserved_port() as first, reserved_port() as second, ThreadPoolExecutor() as pool:
        yield list(pool.map(lambda port: start(*flags, port=port), (first, second)))


@pytest.mark.parametrize("balancer", [nginx, haproxy])
def test_an_upload_whose_server_dies_in_the_middle_goes_on_at_the_other(
    start: ServerStarter, redis: RedisServer, balancer: Callable[[Mapping[str, str]], AbstractContextManager[int]]
) -> None:
    data = os.urandom(PIECES * PIECE)
    with two_hosts(start, redis, f"behind-{balancer.__name__}") as servers:
        addresses = {host: f"127.0.0.1:{server.port}" for host, server in zip(HOSTS, servers, strict=True)}
        with balancer(addresses) as port:
            created = ask(port, "POST", "/files/", TUS | {"Upload-Length": str(len(data))})
            assert created.status == 201, created
            # The address that clients see, which the servers know only from what the balancer tells them.
            base = f"http://127.0.0.1:{port}"
            assert created.headers["location"].startswith(f"{base}/files/")
            path = created.headers["location"].removeprefix(base)
            offset = 2 * PIECE
            send(port, path, data[:offset])
            assert all(path.removeprefix("/files/") in server.output() for server in servers), "one server has it all"

            writes = [begun_writes(server) for server in servers]
            fields = CHUNK | {"Upload-Offset": str(offset), "Content-Length": str(PIECE)}
            with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connection:
                connection.sendall(request_head("PATCH", path, fields) + data[offset : offset + PIECE // 2])
                stored = servers[0].path_of(path)
                eventually(has_size(stored, offset + PIECE // 2))
                pairs = zip(servers, writes, strict=True)
                [receiving] = [server for server, before in pairs if begun_writes(server) > before]
                receiving.kill()
                assert not read_all(connection).startswith(b"HTTP/1.1 2")

            assert offset_of(port, path) == offset + PIECE // 2
            send(port, path, data)
            assert ask(port, "GET", path).body == data
            assert stored.read_bytes() == data


@pytest.mark.parametrize("balancer", [nginx, haproxy])
def test_while_no_server_answers_clients_are_told_to_come_back_and_do_not_begin_again(
    balancer: Callable[[Mapping[str, str]], AbstractContextManager[int]],
) -> None:
    with reserved_port() as first, reserved_port() as second:
        addresses = {host: f"127.0.0.1:{port}" for host, port in zip(HOSTS, (first, second), strict=True)}
        with balancer(addresses) as port:
            head = eventually(lambda: answered(ask(port, "HEAD", "/files/x", TUS), 423))
            assert "retry-after" in head.headers
            for method in ("POST", "PATCH", "DELETE", "GET"):
                assert ask(port, method, "/files/x", TUS).status in (502, 503)


def answered(answer: Answer, status: int) -> Answer | None:
    return answer if answer.status == status else None


def begun_writes(server: Server) -> int:
    return server.output().count("ChunkWriteStart")


def ask(
    port: int, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def send(port: int, path: str, data: bytes) -> None:
    """Go on with an upload until it has this beginning of the file; what refuses must say when to come back."""
    end = time.monotonic() + DEADLINE
    while (offset := offset_of(port, path)) < len(data):
        assert time.monotonic() < end, offset
        piece = data[offset : offset + PIECE]
        answer = ask(port, "PATCH", path, CHUNK | {"Upload-Offset": str(offset)}, piece)
        assert answer.status == 204 or "retry-after" in answer.headers, answer


def offset_of(port: int, path: str) -> int:
    """As clients ask for it: 423 tells them to come back, and after another refusal some begin again."""
    end = time.monotonic() + DEADLINE
    while (answer := ask(port, "HEAD", path, TUS)).status == 423:
        assert time.monotonic() < end, answer
    assert answer.status == 200, answer
    return int(answer.headers["upload-offset"])
