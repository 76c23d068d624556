"""Serving one application on one socket until a signal says stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from tusd_py.server.heads import ConnectionLimits
from tusd_py.server.reading import connection_maker
from tusd_py.server.tls import Certificates
from tusd_py.server.turns import TurnTaking
from tusd_py.server.worker import LATE, READY, Supervision

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: `network` for a request's head, an idle connection and each read; `shutdown` for requests at the end."""

    network: float
    shutdown: float


def serve(
    app: Any,
    listener: socket.socket,
    *,
    certificates: Certificates | None,
    timeouts: Timeouts,
    header_bytes: int,
    announce: Callable[[], None],
    drain: Callable[[], None],
    watch_connections: Callable[[Callable[[], float]], None],
    say: Callable[[str], None],
    supervision: Supervision | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; then let requests end within the shutdown time-out, as tusd does.

    With `certificates` it is served over TLS, and SIGHUP has them read again; without, SIGHUP ends the process as ever.
    `announce` is called when requests are taken, `drain` (in a signal handler) when the stop is asked for, and `say`
    with what the operator should read. A worker has its orders from its supervisor instead.
    """
    config = uvicorn.Config(
        app,
        http=connection_maker(ConnectionLimits(header_bytes, timeouts.network)),  # type: ignore[arg-type] # as it calls it
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_context_factory=(lambda _config, _default: certificates.context) if certificates else None,
        timeout_keep_alive=max(1, int(timeouts.network)),
        # Of no time at all nothing is made, not even the look whether there is something to wait for.
        timeout_graceful_shutdown=max(0.001, timeouts.shutdown),  # type: ignore[arg-type] # a float is as good
    )
    server = _Server(config, certificates, announce, drain, say, supervision)
    watch_connections(lambda: len(server.server_state.connections))
    server.run(sockets=[listener])
    if supervision is None:
        say_goodbye(is_in_time=not server.has_timed_out, say=say)
    elif server.has_timed_out:
        supervision.say(LATE)


def say_goodbye(*, is_in_time: bool, say: Callable[[str], None]) -> None:
    if is_in_time:
        say("Shutdown completed. Goodbye!")
    else:
        with contextlib.suppress(OSError):
            print("Shutdown timeout exceeded. Exiting immediately!", file=sys.stderr, flush=True)


def raise_descriptor_limit() -> None:
    """Allow as many open files as the system lets us: each connection and each upload needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _calm_collector() -> None:
    """Look for cycles of garbage seldom, and not in what lives as long as the server.

    With a thousand connections a full collection stops everything for more than 100 ms; almost nothing of ours is in
    cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class _Server(uvicorn.Server):
    """uvicorn's server with tusd's signals: the first drains, the second exits at once with status 1."""

    def __init__(
        self,
        config: uvicorn.Config,
        certificates: Certificates | None,
        announce: Callable[[], None],
        drain: Callable[[], None],
        say: Callable[[str], None],
        supervision: Supervision | None,
    ) -> None:
        super().__init__(config)
        self._certificates = certificates
        self._announce = announce
        self._drain = drain
        self._say = say
        self._supervision = supervision
        self.has_timed_out = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets if self._supervision is None else [])
        if self.started and sockets and self._supervision is not None:
            self.servers.append(self._taking_turns(sockets[0], self._supervision))  # type: ignore[arg-type]
        if self.started:
            if self._supervision is not None:
                self._supervision.listen(self._step_back, self._reload)
            elif self._certificates is not None:
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
            _calm_collector()
            self._announce()
            if self._supervision is not None:
                self._supervision.say(READY)

    def _taking_turns(self, listener: socket.socket, supervision: Supervision) -> TurnTaking:
        config, state = self.config, self.server_state
        protocol: Any = config.http_protocol_class
        loop = asyncio.get_running_loop()
        make_protocol = partial(protocol, config=config, server_state=state, app_state=self.lifespan.state, _loop=loop)
        return TurnTaking(loop, listener, supervision.board, make_protocol, config.ssl)

    async def on_tick(self, counter: int) -> bool:
        if self._supervision is not None:
            self._supervision.report_connections(len(self.server_state.connections))
        return await super().on_tick(counter)

    async def _wait_tasks_to_complete(self) -> None:
        """Cancelled when the time-out is over, and that only; soon after, the tasks are cancelled, too."""
        try:
            await super()._wait_tasks_to_complete()
        except asyncio.CancelledError:
            self.has_timed_out = True
            raise

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn raises the signal again at the end, which would make it the exit status."""
        previous = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- of uvicorn's shape
        if self._supervision is not None:
            self._step_back()  # that the supervisor has been told, too, is no reason for haste
            return
        if self.should_exit:
            try:
                self._say("Received second interrupt signal. Exiting immediately!")
            finally:
                os._exit(1)
        self._stop()
        self._say("Received interrupt signal. Shutting down tusd...")

    def _stop(self) -> None:
        self.should_exit = True
        self._drain()

    def _step_back(self) -> None:
        """Stop, but leave new connections to the other workers from now on."""
        for server in getattr(self, "servers", ()):
            server.close()
        self._stop()

    def _reload(self) -> None:
        if self._certificates is not None:
            self._certificates.reload()
