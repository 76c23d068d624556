"""Options of the suite, the server it is pointed at, known failures, and the report."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from .marks import LEVELS
from .process import Process
from .report import Report, requirements_of
from .tus import Server
from .wire import Fields

USAGE = """the suite needs a server to test: pass the URL at which it creates uploads,
    pytest conformance --base-url http://127.0.0.1:8080/files/
or let the suite start it, with {port} and {dir} where the server's port and an empty directory for uploads belong:
    pytest conformance --base-url 'http://127.0.0.1:{port}/files/' --server-command 'my-server -p {port} -d {dir}'
(conformance/README.md says more)"""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tus", "conformance to tus 1.0.0")
    group.addoption("--base-url", metavar="URL", help="where the server creates uploads")
    group.addoption("--header", action="append", default=[], metavar="'NAME: VALUE'", help="sent with every request")
    group.addoption("--report", metavar="FILE.md", help="write the result of every requirement there")
    group.addoption("--known-failures", metavar="FILE.toml", help="requirements that this server is known to fail")
    group.addoption("--expiry", type=float, metavar="SECONDS", help="how long the server keeps unfinished uploads")
    group.addoption(
        "--idle-timeout", type=float, metavar="SECONDS", help="how long the server waits for a silent client"
    )
    group.addoption("--max-size", type=int, metavar="BYTES", help="the server's limit, if OPTIONS does not tell it")
    group.addoption("--server-command", metavar="COMMAND", help="starts the server, on {port} and {dir}")


def pytest_configure(config: pytest.Config) -> None:
    for level, meaning in LEVELS.items():
        config.addinivalue_line("markers", f"{level}: {meaning}")
    config.addinivalue_line("markers", "covers(*identifiers): the requirements of a test that covers several")
    config.addinivalue_line("markers", "needs(*extensions): skipped if OPTIONS does not announce all of them")
    config.pluginmanager.register(Report(config), "tus-report")


def pytest_sessionstart(session: pytest.Session) -> None:
    if not session.config.getoption("base_url", None):
        raise pytest.UsageError(USAGE)
    if "{port}" in session.config.getoption("base_url") and not session.config.getoption("server_command"):
        raise pytest.UsageError("--base-url with {port} needs --server-command")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    known = _known_failures(config)
    matched: set[str] = set()
    for item in items:
        names = {*requirements_of(item), item.name, item.name.partition("[")[0]}
        for key in names & known.keys():
            item.add_marker(pytest.mark.xfail(reason=known[key].reason, strict=known[key].always))
        matched |= names
    if stale := known.keys() - matched:
        everything = not config.getoption("markexpr") and not config.getoption("keyword")
        if everything and all("::" not in argument for argument in config.args):
            raise pytest.UsageError(f"known failures that no test has: {', '.join(sorted(stale))}")


@pytest.fixture(scope="session")
def fields(pytestconfig: pytest.Config) -> Fields:
    """Header fields that the person who runs the suite wants in every request, such as credentials."""
    pairs = [header.partition(":") for header in pytestconfig.getoption("header", [])]
    return {name: value.strip() for name, _, value in pairs}


@pytest.fixture(scope="session")
def started(pytestconfig: pytest.Config, fields: Fields) -> Iterator[Process | None]:
    """The server under test as a process of ours, if the URL has a placeholder for its port."""
    url = pytestconfig.getoption("base_url", None)
    if not url:
        pytest.skip("no --base-url")
    if "{port}" not in url:
        yield None
        return
    process = Process(pytestconfig.getoption("server_command"), url, fields)
    try:
        process.start()
        yield process
    finally:
        process.remove()


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config, started: Process | None, fields: Fields) -> Server:
    """The server, with what its OPTIONS answer announces."""
    base_url = started.url if started else pytestconfig.getoption("base_url")
    options = Server(base_url, fields).options()
    if (report := pytestconfig.pluginmanager.get_plugin("tus-report")) is not None:
        report.options = options
    announced = options.header("Tus-Max-Size") or ""
    max_size = int(announced) if re.fullmatch(r"[0-9]+", announced) else pytestconfig.getoption("max_size", None)
    server = Server(base_url, fields, frozenset(options.items("Tus-Extension")), max_size)
    complete = server.uploaded(b"Is this served?")
    remembers, downloads = server.head(complete).status in {200, 204}, server.get(complete)
    return replace(server, remembers=remembers, downloads=downloads.body == b"Is this served?")


@pytest.fixture(autouse=True)
def announced(request: pytest.FixtureRequest, server: Server) -> None:
    """Skips a test of an extension that the server does not announce."""
    wanted = {name for mark in request.node.iter_markers("needs") for name in mark.args}
    if missing := wanted - server.extensions:
        pytest.skip(f"{', '.join(sorted(missing))} not announced")


@pytest.fixture(autouse=True)
def alive(started: Process | None) -> Iterator[None]:
    """Reports a test that was the death of the server, or made it fall silent, and starts it again for the next one."""
    yield
    if started is None:
        return
    if started.has_ended():
        trouble = "the server died"
    elif not started.answers():
        trouble = "the server answers nobody any more"
    else:
        return
    words = started.last_words()
    started.kill()
    started.start()
    pytest.fail(f"{trouble}; it was started again. It wrote at the end:\n{words}", pytrace=False)


@pytest.fixture
def max_size(server: Server) -> int:
    """The server's largest upload."""
    if server.max_size is None:
        pytest.skip("neither Tus-Max-Size nor --max-size")
    return server.max_size


@pytest.fixture(scope="session")
def expiry(pytestconfig: pytest.Config) -> float:
    """The seconds that the server keeps an unfinished upload."""
    seconds: float | None = pytestconfig.getoption("expiry", None)
    if seconds is None:
        pytest.skip("no --expiry: how long to wait is not known")
    return seconds


@pytest.fixture
def idle_timeout(pytestconfig: pytest.Config) -> float:
    """The seconds after which the server gives up a client that sends nothing."""
    seconds: float | None = pytestconfig.getoption("idle_timeout", None)
    if seconds is None:
        pytest.skip("no --idle-timeout: how long to wait is not known")
    return seconds


@pytest.fixture
def process(pytestconfig: pytest.Config, fields: Fields) -> Iterator[Process]:
    """A running server of the test's own, to be killed and started again."""
    command = pytestconfig.getoption("server_command", None)
    if command is None:
        pytest.skip("no --server-command: the server cannot be killed")
    process = Process(command, pytestconfig.getoption("base_url"), fields)
    try:
        process.start()
        yield process
    finally:
        process.remove()


@dataclass(frozen=True)
class KnownFailure:
    """Why a test fails, and whether it always does."""

    reason: str
    always: bool


def _known_failures(config: pytest.Config) -> dict[str, KnownFailure]:
    path = config.getoption("known_failures", None)
    if path is None:
        return {}
    try:
        known = tomllib.loads(Path(path).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise pytest.UsageError(f"--known-failures: {error}") from error
    sometimes = known.pop("sometimes", {})
    if not all(isinstance(reason, str) and reason for reason in [*known.values(), *sometimes.values()]):
        raise pytest.UsageError(f'{path}: a line is "id" = "the reason"')
    return {key: KnownFailure(reason, always=True) for key, reason in known.items()} | {
        key: KnownFailure(reason, always=False) for key, reason in sometimes.items()
    }
