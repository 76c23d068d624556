"""What every endpoint is given alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tusd_py.service.metrics import Metrics
from tusd_py.web.cors import Cors


@dataclass(frozen=True, slots=True)
class Context:
    """How requests are met, whatever they ask for.

    `on_request` is awaited before each; `network_timeout` is in seconds; a proxy's headers count if it is
    `behind_proxy`.
    """

    cors: Cors
    metrics: Metrics
    behind_proxy: bool
    network_timeout: float
    on_request: Callable[[], Awaitable[None]]
    is_draining: Callable[[], bool]
