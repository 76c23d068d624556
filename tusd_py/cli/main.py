"""`tusd-py`: read the flags, build the application, serve it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from tusd_py.app import create_app
from tusd_py.cli.flags import FlagError, HelpWanted, parse_flags, usage
from tusd_py.cli.logs import configure_logging
from tusd_py.server.listening import CannotListen, address_of, listen_on_path, listen_on_port
from tusd_py.server.serving import Timeouts, raise_descriptor_limit, serve
from tusd_py.store.directories import UnusableDirectory
from tusd_py.store.keys import UnusableKeys
from tusd_py.version import __version__

HEALTH_PATH = "/health"

_APP_FLAGS = (
    *("upload_dir", "base_path", "state_dir", "max_size", "expire_after", "durability", "compat"),
    *("disable_download", "disable_termination", "disable_concatenation", "min_free_space", "max_unfinished"),
    *("dir_perms", "file_perms", "behind_proxy", "disable_cors", "cors_allow_origin", "cors_allow_credentials"),
    *("cors_allow_methods", "cors_allow_headers", "cors_max_age", "cors_expose_headers"),
    *("network_timeout", "acquire_lock_timeout", "show_greeting"),
    *("api_path", "api_key_file", "chunk_size", "chunk_max_size", "chunk_expire_after", "downloads"),
    *("signing_key_file", "signed_url_ttl", "signed_url_max_ttl", "accel_redirect", "pipeline_concurrency"),
)
"""The flags that are keywords of `create_app`."""


class Fatal(Exception):
    """The server cannot start; the text says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; the exit status is tusd's: 0 after a stop, 1 if it cannot run, 2 for a bad command line."""
    try:
        command_line = parse_flags(sys.argv[1:] if arguments is None else arguments, os.environ)
    except HelpWanted:
        print(usage("tusd-py"), file=sys.stderr)
        return 0
    except FlagError as error:
        print(f"{error}\n{usage('tusd-py')}", file=sys.stderr)
        return 2
    if command_line.ignored:
        print(f"ignored: {' '.join(command_line.ignored)}", file=sys.stderr)
    flags = {name.replace("-", "_"): value for name, value in command_line.values.items()}
    if flags["version"]:
        print(f"Version: {__version__}\nCommit: n/a\nDate: n/a")
        return 0
    operator = _Operator(is_json=flags["log_format"] == "json", is_shown=flags["show_startup_logs"])
    try:
        _serve(flags, operator)
    except Fatal as error:
        operator.complain(str(error))
        return 1
    return 0


def _serve(flags: Mapping[str, Any], operator: _Operator) -> None:
    for name in ("base_path", "metrics_path"):
        if not flags[name].startswith("/"):
            raise Fatal(f"-{name.replace('_', '-')} '{flags[name]}' must start with a slash")
    configure_logging(is_json=flags["log_format"] == "json", is_verbose=flags["verbose"])
    raise_descriptor_limit()
    metrics_path = flags["metrics_path"] if flags["expose_metrics"] else None
    app = _build(flags, metrics_path)
    for line in _configuration(flags, app):
        operator.announce(line)
    try:
        if flags["unix_sock"]:
            listener = listen_on_path(flags["unix_sock"])
            operator.announce(f"Using {flags['unix_sock']} as socket to listen.")
        else:
            listener = listen_on_port(flags["host"], flags["port"])
            operator.announce(f"Using {flags['host']}:{flags['port']} as address to listen.")
    except CannotListen as error:
        raise Fatal(str(error)) from error
    operator.announce(f"Using {flags['base_path']} as the base path.")
    if metrics_path:
        operator.announce(f"Using {metrics_path} as the metrics path.")

    def announce() -> None:
        if not flags["unix_sock"]:
            operator.announce(f"You can now upload files to: http://{address_of(listener)}{flags['base_path']}")

    with listener, _socket_file(flags["unix_sock"]):
        serve(
            app,
            listener,
            timeouts=Timeouts(network=flags["network_timeout"], shutdown=max(0.0, flags["shutdown_timeout"])),
            header_bytes=flags["max_header_bytes"],
            announce=announce,
            drain=app.state.tusd_py.drain,
            watch_connections=app.state.metrics.connections_open.set_function,
            say=operator.say,
        )


@contextmanager
def _socket_file(path: str) -> Iterator[None]:
    """A UNIX socket goes with its server, as in Go."""
    try:
        yield
    finally:
        if path:
            Path(path).unlink(missing_ok=True)


def _build(flags: Mapping[str, Any], metrics_path: str | None) -> Starlette:
    keywords = {name: flags[name] for name in _APP_FLAGS}
    types = flags["allowed_types"]
    try:
        return create_app(
            **keywords,
            allowed_types=None if types is None else types.split(","),
            metrics_path=metrics_path,
            health_path=HEALTH_PATH,
        )
    except (UnusableDirectory, UnusableKeys) as error:
        raise Fatal(str(error)) from error
    except ValueError as error:
        raise Fatal(f"a flag has a value that makes no sense: {error}") from error
    except re.error as error:
        raise Fatal(f"-cors-allow-origin is not a regular expression: {error}") from error


def _configuration(flags: Mapping[str, Any], app: Starlette) -> list[str]:
    return [
        f"Using '{os.path.abspath(flags['upload_dir'])}' as directory storage.",
        f"Using {flags['max_size'] / 1024 / 1024:.2f}MB as maximum size.",
        f"Supported tus extensions: {app.state.extensions}",
    ]


class _Operator:
    """Who reads the terminal: configuration lines can be switched off, and become JSON with the log."""

    def __init__(self, *, is_json: bool, is_shown: bool) -> None:
        self._is_json = is_json
        self._is_shown = is_shown

    def announce(self, line: str) -> None:
        if self._is_shown:
            self.say(line)

    def say(self, line: str) -> None:
        try:
            print(self._written(line), flush=True)
        except BrokenPipeError:
            os._exit(1)  # nobody reads what we say; a Go program ends here, too
        except OSError:
            pass  # a full disk under the log is no reason to stop, or not to

    def complain(self, line: str) -> None:
        print(self._written(line), file=sys.stdout if self._is_json else sys.stderr, flush=True)

    def _written(self, line: str) -> str:
        now = datetime.now().astimezone()
        if self._is_json:
            return json.dumps({"time": now.isoformat(), "level": "INFO", "msg": line}, ensure_ascii=False)
        return f"{now:%Y/%m/%d %H:%M:%S.%f} {line}"
