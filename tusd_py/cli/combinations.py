"""Values of flags that do not go with each other, or with what is served here; names are with underscores."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tusd_py.cli.table import FLAGS
from tusd_py.core.hook_events import FILE_EVENTS, Event
from tusd_py.core.sensible import refused_values
from tusd_py.server.tls import MODES

Flags = Mapping[str, Any]

HOOK_EVENTS = tuple(event.value for event in Event)
TUSD_EVENTS = tuple(event.value for event in Event if event not in FILE_EVENTS | {Event.PRE_ACCESS})
"""What an empty list of events stands for."""

_DEFAULT_EVENTS = FLAGS["hooks-enabled-events"].default


def has_tls(flags: Flags) -> bool:
    """Both files, or plain HTTP (as tusd)."""
    return bool(flags["tls_certificate"] and flags["tls_key"])


def hook_events(flags: Flags) -> tuple[str, ...]:
    names = flags["hooks_enabled_events"]
    return tuple(names.split(",")) if names else TUSD_EVENTS


def _has_receiver(flags: Flags) -> bool:
    return any(flags[name] for name in ("hooks_dir", "hooks_http", "hooks_grpc", "hooks_python"))


def _is_wanted(event: Event, flags: Flags) -> bool:
    return _has_receiver(flags) and event in hook_events(flags)


def _has_program(flags: Flags) -> bool:
    return any(Path(flags["hooks_dir"], name).exists() for name in hook_events(flags))


def _judges_files(flags: Flags) -> bool:
    """Whether there is anything for which files are quarantined."""
    return bool(flags["clamd"] or flags["allowed_types"] or flags["api_path"])


def _unknown_events(flags: Flags) -> str:
    return ", ".join(name for name in hook_events(flags) if name not in HOOK_EVENTS)


_FATAL: tuple[tuple[Callable[[Flags], object], str], ...] = (
    (lambda flags: flags["enable_h2c"] and has_tls(flags), "-enable-h2c is for plain HTTP: leave it away with TLS"),
    (
        lambda flags: has_tls(flags) and flags["tls_mode"] not in MODES,
        f"-tls-mode must be one of {', '.join(MODES)}",
    ),
    (_unknown_events, f"-hooks-enabled-events must be names out of {','.join(HOOK_EVENTS)}, without blanks"),
    (
        lambda flags: (
            flags["hooks_grpc"] and flags["hooks_grpc_secure"] and not flags["hooks_grpc_server_tls_certificate"]
        ),
        "-hooks-grpc-secure needs -hooks-grpc-server-tls-certificate",
    ),
    (lambda flags: not flags["base_path"].startswith("/"), "-base-path must start with a slash"),
    (lambda flags: not flags["metrics_path"].startswith("/"), "-metrics-path must start with a slash"),
)
_DOUBTFUL: tuple[tuple[Callable[[Flags], object], str], ...] = (
    (
        lambda flags: flags["enable_h2c"],
        "-enable-h2c has no effect: HTTP/1.1 is served, put a proxy in front to have HTTP/2",
    ),
    (
        lambda flags: bool(flags["tls_certificate"]) != bool(flags["tls_key"]),
        "plain HTTP is served: TLS needs both -tls-certificate and -tls-key",
    ),
    (
        lambda flags: flags["tls_mode"] != FLAGS["tls-mode"].default and not has_tls(flags),
        "-tls-mode has no effect without -tls-certificate and -tls-key",
    ),
    (lambda flags: flags["log_format"] not in ("text", "json"), "-log-format is json or text: text is written"),
    (
        lambda flags: flags["hooks_enabled_events"] != _DEFAULT_EVENTS and not _has_receiver(flags),
        "-hooks-enabled-events has no effect without -hooks-dir, -hooks-http, -hooks-grpc or -hooks-python",
    ),
    (
        lambda flags: flags["hooks_dir"] and not _has_program(flags),
        "in -hooks-dir there is no program with the name of an enabled event: none is run",
    ),
    (
        lambda flags: flags["disable_termination"] and _is_wanted(Event.PRE_TERMINATE, flags),
        "pre-terminate never comes with -disable-termination",
    ),
    (
        lambda flags: not _judges_files(flags) and _is_wanted(Event.FILE_QUARANTINED, flags),
        "file-quarantined never comes without -clamd, -allowed-types or the API",
    ),
)
_NEEDED = {
    "api-key-file": "api-path",
    "hooks-http-secret-file": "hooks-http",
    "scan-trust-limits": "clamd",
    "webhook-public-only": "webhook-url",
    "webhook-secret-file": "webhook-url",
}
"""Flags that mean nothing without another one."""

_KEYWORD = re.compile(r"^[a-z]+\b|\b[a-z]+(?:_[a-z]+)+\b")


def refusals(flags: Flags) -> Iterator[str]:
    """Why the server cannot be started with these flags, each in one sentence that says what to do."""
    for flag in FLAGS.values():
        if flag.instead and flags[flag.name.replace("-", "_")] != flag.default:
            yield f"-{flag.name} is not offered: {flag.instead}"
    yield from (text for applies, text in _FATAL if applies(flags))
    yield from map(in_flags, refused_values(flags))


def warnings(flags: Flags) -> Iterator[str]:
    """What can be served but hardly be meant, each in one sentence."""
    yield from (text for applies, text in _DOUBTFUL if applies(flags))
    for name, needed in _NEEDED.items():
        if flags[name.replace("-", "_")] and not flags[needed.replace("-", "_")]:
            yield f"-{name} has no effect without -{needed}"


def in_flags(text: str) -> str:
    """What the application says of its keywords, with the flags that they are here."""

    def flag(match: re.Match[str]) -> str:
        name = match[0].replace("_", "-")
        return f"-{name}" if name in FLAGS else match[0]

    return _KEYWORD.sub(flag, text)
