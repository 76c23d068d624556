"""What every endpoint is given alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from tusd_py.service.hooks import Hooks
from tusd_py.service.metrics import Metrics
from tusd_py.web.cors import Cors
from tusd_py.web.location import origin_of
from tusd_py.web.proxies import Proxies


@dataclass(frozen=True, slots=True)
class Context:
    """How requests are met, whatever they ask for.

    `on_request` is awaited before each; `network_timeout` is in seconds; with `relative_location` the addresses of
    uploads are paths.
    """

    cors: Cors
    hooks: Hooks
    metrics: Metrics
    proxies: Proxies
    relative_location: bool
    network_timeout: float
    on_request: Callable[[], Awaitable[None]]
    is_draining: Callable[[], bool]

    def origin(self, scope: Scope, headers: Headers) -> str:
        """`scheme://host` of this server as the client knows it."""
        return origin_of(scope, headers, from_proxy=self.proxies.trusts_peer_of(scope))
