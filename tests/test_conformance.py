"""The conformance suite against our server, in several settings, as an application in servers that lend no sockets, and
against two tus servers of other people.

The latter have lists of known failures, and each of those must fail: so the suite is seen to be able to.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.redis_server import RedisServer
from tests.running import ServerStarter

ROOT = Path(__file__).parent.parent
OURS = "{python} -m tusd_py -host 127.0.0.1 -port {{port}} -upload-dir {{dir}}"
ELSEWHERE = "env UPLOADS={{dir}} {python} -m %s --port {{port}} tests.served:app"
BODIES = ["-k", "not CAT"]
"""A concatenation has no body, and so nothing that another server could do in another way."""

PEERS = "conformance/peers"

SERVERS = {
    "ours with limits": (
        "http://127.0.0.1:{port}/files/",
        OURS + " -max-size 50000000 -expire-after 10s -network-timeout 6s",
        ["--expiry", "10", "--idle-timeout", "6"],
    ),
    "ours": ("http://127.0.0.1:{port}/files/", OURS, []),
    "ours in uvicorn with h11": ("http://127.0.0.1:{port}/files/", ELSEWHERE % "uvicorn --http h11", BODIES),
    "ours in granian": ("http://127.0.0.1:{port}/files/", ELSEWHERE % "granian --interface asgi", BODIES),
    "@tus/server": (
        "http://127.0.0.1:{port}/files/",
        f"node {PEERS}/tus-node-server/server.mjs {{{{port}}}} {{{{dir}}}} 10",
        ["--expiry", "10", "--known-failures", f"{PEERS}/tus-node-server/known-failures.toml"],
    ),
    "SeaweedFS": (
        "http://127.0.0.1:{port}/.tus/example",
        f"{{python}} {PEERS}/seaweedfs/seaweedfs.py {{{{port}}}} {{{{dir}}}}",
        ["--known-failures", f"{PEERS}/seaweedfs/known-failures.toml"],
    ),
}


WORKERS = {"files": (), "redis": ("-redis-url", "{redis}", "-redis-prefix", "conformance")}


@pytest.mark.parametrize("name", SERVERS)
def test_the_conformance_suite_passes(name: str, tmp_path: Path) -> None:
    url, command, options = SERVERS[name]
    run_suite(name, tmp_path, "--base-url", url, "--server-command", command.format(python=sys.executable), *options)


@pytest.mark.parametrize("state", WORKERS)
def test_the_conformance_suite_passes_with_four_workers(
    start: ServerStarter, redis: RedisServer, state: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """The long form has the tests as well that kill the server, which takes a start of all workers each."""
    redis.use("conformance")
    flags = ["-workers", "4", *(flag.format(redis=redis.url) for flag in WORKERS[state])]
    if pytestconfig.getoption("long"):
        command = " ".join([OURS.format(python=sys.executable), *flags])
        server = ["--base-url", "http://127.0.0.1:{port}/files/", "--server-command", command]
    else:
        server = ["--base-url", start(*flags).url]
    run_suite(f"ours with four workers {state}", tmp_path, *server)


def run_suite(name: str, tmp_path: Path, *arguments: str) -> None:
    reports = Path(os.environ.get("TUSD_PY_REPORTS", tmp_path))
    report = reports / f"{re.sub('[^a-z]+', '-', name.lower()).strip('-')}.md"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "conformance", "-q", "-p", "no:cacheprovider", "--report", report, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-6000:]
    summary = result.stdout.splitlines()[-1]
    assert re.search(r"\d{3} passed", summary), summary
    assert ("xfailed" in summary) == ("--known-failures" in arguments), summary
    assert "CORE-07" in report.read_text()
