"""The back ends that the flags ask for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypedDict

from tusd_py.core.hook_events import DEFAULT_EVENTS, FILE_EVENTS, Event
from tusd_py.hooks import Backend
from tusd_py.hooks.programs import ProgramsBackend
from tusd_py.hooks.python import PythonBackend

DEFAULT_NAMES = ",".join(DEFAULT_EVENTS)


class HookKeywords(TypedDict, total=False):
    """The flags about hooks and webhooks, as keywords; times in seconds, lists with commas as tusd has them.

    `hooks_python` is `module:object` or the object itself.
    """

    hooks_enabled_events: str
    progress_hooks_interval: float
    hooks_dir: str
    hooks_timeout: float
    hooks_python: Any
    hooks_http: str
    hooks_http_forward_headers: str
    hooks_http_retry: int
    hooks_http_backoff: float
    hooks_http_timeout: float
    hooks_http_size_limit: int
    hooks_http_skip_verify: bool
    hooks_http_secret_file: str
    hooks_grpc: str
    hooks_grpc_retry: int
    hooks_grpc_backoff: float
    hooks_grpc_secure: bool
    hooks_grpc_server_tls_certificate: str
    hooks_grpc_client_tls_certificate: str
    hooks_grpc_client_tls_key: str
    hooks_grpc_forward_headers: str
    hooks_forget_headers: str
    webhook_url: str
    webhook_secret_file: str
    webhook_public_only: bool


def enabled_events(hooks: HookKeywords) -> frozenset[Event]:
    """The events to call hooks for; an empty list means all of tusd's. Raises ValueError for a name of none."""
    names = hooks.get("hooks_enabled_events", DEFAULT_NAMES)
    if not names:
        return frozenset(Event) - FILE_EVENTS - {Event.PRE_ACCESS}
    return frozenset(Event(name) for name in names.split(","))


def forgotten_headers(hooks: HookKeywords) -> list[str]:
    """The headers that events are kept on disk without, besides those that always are."""
    return [name.strip() for name in hooks.get("hooks_forget_headers", "").split(",") if name.strip()]


def configured_backends(hooks: HookKeywords, *, http_secret: bytes | None = None) -> list[Backend]:
    """Every back end that is named. Raises ValueError for one that cannot be used as it is described.

    `http_secret` signs what is sent by HTTP.
    """
    backends: list[Backend] = []
    if directory := hooks.get("hooks_dir"):
        backends.append(ProgramsBackend(directory, timeout=hooks.get("hooks_timeout", 60.0)))
    if endpoint := hooks.get("hooks_http"):
        from tusd_py.hooks.http import HttpBackend  # noqa: PLC0415 -- its library takes long to load

        with _about("hooks_http"):
            backend = HttpBackend(
                endpoint,
                forward_headers=_names(hooks.get("hooks_http_forward_headers", "")),
                retry=hooks.get("hooks_http_retry", 3),
                backoff=hooks.get("hooks_http_backoff", 1.0),
                timeout=hooks.get("hooks_http_timeout", 15.0),
                size_limit=hooks.get("hooks_http_size_limit", 5120),
                skip_verify=hooks.get("hooks_http_skip_verify", False),
                secret=http_secret,
            )
        backends.append(backend)
    if target := hooks.get("hooks_grpc"):
        with _about("hooks_grpc"):
            backends.append(_grpc_backend(target, hooks))
    if (python := hooks.get("hooks_python")) not in (None, ""):
        with _about("hooks_python"):
            backends.append(PythonBackend(python, timeout=hooks.get("hooks_timeout", 60.0)))
    return backends


def configured_webhook(hooks: HookKeywords, *, secret: bytes | None = None) -> list[Backend]:
    """The webhook, if there is to be one. Raises ValueError."""
    if not (url := hooks.get("webhook_url")):
        return []
    from tusd_py.hooks.webhook import WebhookBackend  # noqa: PLC0415 -- its library takes long to load

    with _about("webhook_url"):
        return [WebhookBackend(url, secret=secret, public_only=hooks.get("webhook_public_only", False))]


def _grpc_backend(target: str, hooks: HookKeywords) -> Backend:
    try:
        from tusd_py.hooks.grpc import GrpcBackend  # noqa: PLC0415 -- an extra that few install
    except ImportError as error:
        raise ValueError("hooks by gRPC need the extra: pip install 'tusd-py[grpc]'") from error
    return GrpcBackend(
        target,
        retry=hooks.get("hooks_grpc_retry", 3),
        backoff=hooks.get("hooks_grpc_backoff", 1.0),
        secure=hooks.get("hooks_grpc_secure", False),
        server_certificate=hooks.get("hooks_grpc_server_tls_certificate") or None,
        client_certificate=hooks.get("hooks_grpc_client_tls_certificate") or None,
        client_key=hooks.get("hooks_grpc_client_tls_key") or None,
        forward_headers=_names(hooks.get("hooks_grpc_forward_headers", "")),
    )


def _names(text: str) -> list[str]:
    """Not trimmed, as with tusd: `A, B` means `A`, and a header that nobody can send."""
    return [name for name in text.split(",") if name]


@contextmanager
def _about(keyword: str) -> Iterator[None]:
    """What cannot be used is said with the keyword that it stands in; what stands there may hold a password."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{keyword}: {error}") from error
