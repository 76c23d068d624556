"""The README's compose.yaml: what it starts, with the commands and configurations that stand in it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.edge import README, readme_block
from tests.edge.nginx import configured_nginx
from tests.redis_server import RedisServer
from tests.running import TUS, Server, ServerStarter
from tusd_py.cli.flags import parse_flags

DOCKERFILE = (README.parent / "Dockerfile").read_text().replace("\\\n", " ")


def dockerfile(instruction: str) -> str:
    """What stands behind the only one of these instructions."""
    [found] = re.findall(rf"^{instruction} (.*)$", DOCKERFILE, re.MULTILINE)
    return str(found)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(readme_block("# compose.yaml")))


@pytest.fixture(scope="module")
def flags(compose: dict[str, Any]) -> dict[str, Any]:
    """The flags of the server, from its command, its environment and that of the image."""
    server = compose["services"]["server"]
    image = dict([dockerfile("ENV").split("=", 1)])
    assert json.loads(dockerfile("ENTRYPOINT")) == ["tusd-py"]
    return dict(parse_flags(server["command"], image | server["environment"]).values)


def test_it_is_servers_of_this_checkout_behind_a_proxy_with_one_redis(compose: dict[str, Any]) -> None:
    assert compose["services"].keys() == {"redis", "server", "proxy"}
    assert compose["services"]["server"]["build"] == "."
    assert all(service["restart"] == "unless-stopped" for service in compose["services"].values())


def test_all_servers_share_one_volume_and_have_their_uploads_in_it(
    compose: dict[str, Any], flags: dict[str, Any]
) -> None:
    [mount] = compose["services"]["server"]["volumes"]
    volume, _, target = mount.partition(":")
    assert list(compose["volumes"]) == [volume]
    assert target == dockerfile("VOLUME")
    assert PurePosixPath(flags["upload-dir"]).is_relative_to(target)
    assert not flags["state-dir"], "it is in the upload directory, too"


def test_the_servers_find_redis_and_the_proxy_finds_the_servers(compose: dict[str, Any], flags: dict[str, Any]) -> None:
    services = compose["services"]
    redis = urlsplit(flags["redis-url"])
    assert redis.hostname in services
    assert redis.port == 6379
    assert list(services["server"]["depends_on"]) == [redis.hostname]
    [upstream] = re.findall(r"proxy_pass (\S+);", compose["configs"]["proxy"]["content"])
    assert urlsplit(upstream).hostname == "server"
    assert str(urlsplit(upstream).port) == flags["port"] == dockerfile("EXPOSE")
    # nginx looks names up once, when it starts.
    assert services["proxy"]["depends_on"] == {"server": {"condition": "service_healthy"}}
    [config] = services["proxy"]["configs"]
    assert config["source"] in compose["configs"]
    assert config["target"].startswith("/etc/nginx/conf.d/")
    assert services["proxy"]["ports"] == ["8080:80"]


@pytest.fixture(scope="module")
def redis(compose: dict[str, Any]) -> Iterator[RedisServer]:
    """With the options of its command, at a socket of its own."""
    command = shlex.split(compose["services"]["redis"]["command"])
    assert command[0] == "redis-server"
    with TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder))
        server.start_with(*command[1:], "--port", "0")
        server.use("tusd-py")
        try:
            yield server
        finally:
            server.client.close()
            server.kill()


def test_redis_runs_as_is_recommended(compose: dict[str, Any], redis: RedisServer) -> None:
    name, _, version = compose["services"]["redis"]["image"].partition(":")
    assert (name, int(version) >= 7) == ("redis", True)
    settings = redis.client.config_get("save", "appendonly", "maxmemory", "maxmemory-policy")
    assert settings.pop("maxmemory") == str(64 * 1024 * 1024)
    assert settings == {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}
    assert "`maxmemory-policy noeviction`" in README.read_text()


@pytest.fixture
def server(compose: dict[str, Any], redis: RedisServer, start: ServerStarter) -> Server:
    service = compose["services"]["server"]
    return start(*service["command"], environment=service["environment"] | {"TUSD_PY_REDIS_URL": redis.url})


def test_an_upload_goes_through_the_proxy_to_a_server_that_is_healthy(compose: dict[str, Any], server: Server) -> None:
    options, _, command = dockerfile("HEALTHCHECK").partition(" CMD ")
    assert "--interval=" in options
    program, *arguments = json.loads(command)
    assert program == "python"
    port = {"TUSD_PY_PORT": str(server.port)}
    subprocess.run([sys.executable, *arguments], env=os.environ | port, check=True, timeout=60)

    # A dollar is written twice there.
    configuration = compose["configs"]["proxy"]["content"].replace("$$", "$")
    with configured_nginx(configuration, {"http://server:8080": f"http://127.0.0.1:{server.port}"}) as proxy:
        fields = TUS | {"Upload-Length": "0", "Host": "uploads.example.org:8080"}
        created = proxy.request("POST", "/files/", fields)
        assert created.status == 201, created
        assert created.headers["location"].startswith("http://uploads.example.org:8080/files/")
        assert proxy.request("HEAD", urlsplit(created.headers["location"]).path, TUS).status == 200
        assert proxy.request("GET", "/health").status == 200
