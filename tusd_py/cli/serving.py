"""`tusd-py` as a server: the checks before it takes uploads, and the processes that do."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from tusd_py.app import create_app
from tusd_py.cli import configuration
from tusd_py.cli.combinations import has_tls, refusals, warnings
from tusd_py.cli.logs import configure_logging
from tusd_py.cli.operator import Operator
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

_APP_FLAGS = (
    *("upload_dir", "base_path", "state_dir", "max_size", "expire_after", "durability", "compat"),
    *("disable_download", "disable_termination", "disable_concatenation", "min_free_space", "max_unfinished"),
    *("dir_perms", "file_perms", "behind_proxy", "relative_location"),
    *("disable_cors", "cors_allow_origin", "cors_allow_credentials"),
    *("cors_allow_methods", "cors_allow_headers", "cors_max_age", "cors_expose_headers"),
    *("network_timeout", "acquire_lock_timeout", "show_greeting"),
    *("api_path", "api_key_file", "chunk_size", "chunk_max_size", "chunk_expire_after", "downloads"),
    *("redis_url", "redis_prefix"),
    *("signing_key_file", "signed_url_ttl", "signed_url_max_ttl", "accel_redirect", "pipeline_concurrency"),
)
"""The flags that are keywords of `create_app`."""

_PIPELINE_FLAGS = (
    *("detect", "clamd", "scan_max_size", "scan_trust_limits", "scan_unscannable", "infected"),
    *("post_finish_after_scan", "thumbnails", "webhook_url", "webhook_secret_file"),
    *("webhook_public_only", "public_url"),
)

_HOOK_FLAGS = (
    *("hooks_enabled_events", "progress_hooks_interval", "hooks_dir", "hooks_timeout", "hooks_python"),
    *("hooks_http", "hooks_http_forward_headers", "hooks_http_retry", "hooks_http_backoff", "hooks_http_timeout"),
    *("hooks_http_size_limit", "hooks_http_skip_verify", "hooks_http_secret_file", "hooks_forget_headers"),
    *("hooks_grpc", "hooks_grpc_retry", "hooks_grpc_backoff", "hooks_grpc_secure", "hooks_grpc_forward_headers"),
    *("hooks_grpc_server_tls_certificate", "hooks_grpc_client_tls_certificate", "hooks_grpc_client_tls_key"),
)


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
    app = _build(flags)
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
    app, listener = _build(flags, supervision.board), take_over(assignment.listener)
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


def _build(flags: Mapping[str, Any], board: Board | None = None) -> Starlette:
    keywords = {name: flags[name] for name in (*_APP_FLAGS, *_PIPELINE_FLAGS, *_HOOK_FLAGS)}
    if board is not None:  # each worker has its part
        keywords["pipeline_concurrency"] = -(-flags["pipeline_concurrency"] // number_of_workers(flags))
    types = flags["allowed_types"]
    if flags["hooks_python"]:
        sys.path.insert(0, os.getcwd())  # where a module is looked for by `python -m`, and not by a command
    try:
        return create_app(
            **keywords,
            allowed_types=None if types is None else types.split(","),
            trusted_proxies=[network.strip() for network in flags["trusted_proxies"].split(",") if network.strip()],
            metrics_path=flags["metrics_path"] if flags["expose_metrics"] else None,
            health_path=HEALTH_PATH,
            board=board,
        )
    except (UnusableDirectory, UnusableKeys) as error:
        raise Fatal(str(error)) from error
    except ValueError as error:
        raise Fatal(f"a flag has a value that makes no sense: {error}") from error
    except re.error as error:
        raise Fatal(f"-cors-allow-origin is not a regular expression: {error}") from error
