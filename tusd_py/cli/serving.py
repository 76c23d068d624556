"""`tusd-py` as a server: the checks before it takes uploads, and the processes that do."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from tusd_py.app import create_app
from tusd_py.cli import configuration
from tusd_py.cli.combinations import has_tls, in_flags, refusals, warnings
from tusd_py.cli.logs import configure_logging
from tusd_py.cli.operator import Operator
from tusd_py.finished_files import MoreKeywords
from tusd_py.pipeline.scan import UnsafeScanner
from tusd_py.server.listening import CannotListen, address_of, listen_on_path, listen_on_port, take_inherited_socket
from tusd_py.server.serving import Timeouts, raise_descriptor_limit, serve
from tusd_py.server.tls import Certificates, UnusableCertificate
from tusd_py.server.worker import Assignment, Supervision, take_over
from tusd_py.server.workers import Supervisor
from tusd_py.state.board import Board, shared_directory
from tusd_py.store.directories import UnusableDirectory
from tusd_py.store.keys import UnusableKeys

HEALTH_PATH = "/health"

_KEYWORDS = signature(create_app).parameters.keys() | MoreKeywords.__optional_keys__
"""What the application takes: a flag of the same name is meant for it."""


class Fatal(Exception):
    """The server cannot start; the text says why."""


def run_server(flags: Mapping[str, Any], operator: Operator, command: Sequence[str]) -> int:
    """Serve until a signal says stop: in this process or, with workers, in others that run `command`.

    The exit status. Raises `Fatal` for what is in the way, before any request is taken.
    """
    for text in refusals(flags):
        raise Fatal(text)
    for text in warnings(flags):
        operator.warn(text)
    configure_logging(is_json=flags["log_format"] == "json", is_verbose=flags["verbose"])
    raise_descriptor_limit()
    certificates = _certificates(flags)
    app = build_app(flags)
    try:
        asyncio.run(app.state.prove())
    except UnsafeScanner as error:
        raise Fatal(str(error)) from error
    for line in configuration.storage_and_hooks(flags, app.state.extensions):
        operator.announce(line)
    with _listening(flags) as (listener, place):
        is_path = listener.family == socket.AF_UNIX
        operator.announce(f"Using {place} as {'socket' if is_path else 'address'} to listen.")
        for line in configuration.paths(flags):
            operator.announce(line)

        def announce() -> None:
            if not is_path:
                url = f"{'https' if certificates else 'http'}://{address_of(listener)}{flags['base_path']}"
                operator.announce(f"You can now upload files to: {url}")

        if (count := number_of_workers(flags)) > 1:
            return _supervise(count, command, listener, flags, announce=announce, say=operator.say)
        _serve(app, listener, certificates, flags, announce=announce, say=operator.say)
        return 0


def run_worker(flags: Mapping[str, Any], assignment: Assignment) -> int:
    """Serve as one of several processes; the supervisor has made the checks, and says what is to be said.

    The exit status. Raises `Fatal` where it cannot.
    """
    configure_logging(is_json=flags["log_format"] == "json", is_verbose=flags["verbose"])
    supervision = Supervision(assignment)
    app, listener = build_app(flags, supervision.board), take_over(assignment.listener)
    with listener:
        _serve(app, listener, _certificates(flags), flags, supervision=supervision)
    supervision.end()
    return 0


def number_of_workers(flags: Mapping[str, Any]) -> int:
    """As many as there are cores for us, if that is wanted."""
    return flags["workers"] or len(os.sched_getaffinity(0))


def _serve(
    app: Starlette,
    listener: socket.socket,
    certificates: Certificates | None,
    flags: Mapping[str, Any],
    *,
    announce: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda _: None,
    supervision: Supervision | None = None,
) -> None:
    serve(
        app,
        listener,
        certificates=certificates,
        timeouts=_timeouts(flags),
        header_bytes=flags["max_header_bytes"],
        announce=announce,
        drain=app.state.tusd_py.drain,
        watch_connections=app.state.metrics.watch_connections,
        say=say,
        supervision=supervision,
    )


def _supervise(
    count: int,
    command: Sequence[str],
    listener: socket.socket,
    flags: Mapping[str, Any],
    *,
    announce: Callable[[], None],
    say: Callable[[str], None],
) -> int:
    with shared_directory() as directory:
        supervisor = Supervisor(
            count,
            command,
            listener,
            Board.make(directory, rows=2 * count),
            shutdown_timeout=_timeouts(flags).shutdown,
            reloads=has_tls(flags),
            announce=announce,
            say=say,
        )
        return supervisor.run()


def _timeouts(flags: Mapping[str, Any]) -> Timeouts:
    return Timeouts(flags["network_timeout"], shutdown=max(0.0, flags["shutdown_timeout"]))


def _certificates(flags: Mapping[str, Any]) -> Certificates | None:
    if not has_tls(flags):
        return None
    try:
        return Certificates(flags["tls_certificate"], flags["tls_key"], flags["tls_mode"])
    except UnusableCertificate as error:
        raise Fatal(str(error)) from error


@contextmanager
def _listening(flags: Mapping[str, Any]) -> Iterator[tuple[socket.socket, str]]:
    """The socket to serve on and its name: systemd's, else a UNIX socket or a port, as the flags name it."""
    path = ""
    try:
        listener = take_inherited_socket(os.environ)
        if listener is not None:
            place = address_of(listener)
        elif path := flags["unix_sock"]:
            listener, place = listen_on_path(path), path
        else:
            listener, place = listen_on_port(flags["host"], flags["port"]), f"{flags['host']}:{flags['port']}"
    except CannotListen as error:
        raise Fatal(str(error)) from error
    try:
        with listener:
            yield listener, place
    finally:
        if path:  # a UNIX socket goes with its server, as in Go
            Path(path).unlink(missing_ok=True)


def build_app(flags: Mapping[str, Any], board: Board | None = None) -> Starlette:
    """The application that the flags ask for. Raises `Fatal` for what is not possible."""
    types = flags["allowed_types"]
    keywords = {name: value for name, value in flags.items() if name in _KEYWORDS} | {
        "allowed_types": None if types is None else _listed(types),
        "trusted_proxies": _listed(flags["trusted_proxies"]),
        "metrics_path": flags["metrics_path"] if flags["expose_metrics"] else None,
        "health_path": HEALTH_PATH,
        "board": board,
    }
    if board is not None:  # each worker has its part
        keywords["pipeline_concurrency"] = -(-flags["pipeline_concurrency"] // number_of_workers(flags))
    if flags["hooks_python"]:
        sys.path.insert(0, os.getcwd())  # where a module is looked for by `python -m`, and not by a command
    try:
        return create_app(**keywords)
    except (UnusableDirectory, UnusableKeys) as error:
        raise Fatal(str(error)) from error
    except ValueError as error:
        raise Fatal(in_flags(str(error))) from error
    except re.error as error:
        raise Fatal(f"-cors-allow-origin is not a regular expression: {error}") from error


def _listed(text: str) -> list[str]:
    """What stands between commas; nothing between two of them is judged as any other word."""
    return [word.strip() for word in text.split(",")] if text else []
