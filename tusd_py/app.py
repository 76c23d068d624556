"""The composition root: plain values in, a Starlette application out."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, get_args

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from tusd_py.service.appending import Limits
from tusd_py.service.expiry import Sweeper
from tusd_py.service.metrics import Metrics
from tusd_py.service.threads import Threads
from tusd_py.service.uploads import Uploads
from tusd_py.state.files import FilesState
from tusd_py.store.directories import prepare_directories
from tusd_py.store.filesystem import Durability, FilesystemStore
from tusd_py.version import __version__
from tusd_py.web.cors import Cors
from tusd_py.web.download import Downloads
from tusd_py.web.envelope import Handler, TusEndpoint
from tusd_py.web.pages import Greeting, health_page, metrics_page
from tusd_py.web.route import TusRoute
from tusd_py.web.tus import TusHandlers, TusOptions

Compatibility = Literal["spec", "tusd"]

FILE_THREADS = 8
BODY_THREADS = 16
COPY_THREADS = 2
"""Bodies and downloads have threads of their own, and so have concatenations: what takes long keeps no HEAD waiting."""

log = logging.getLogger("tusd_py")


def create_app(
    upload_dir: str | os.PathLike[str] = "./data",
    *,
    base_path: str = "/files/",
    state_dir: str | os.PathLike[str] | None = None,
    max_size: int = 0,
    expire_after: float = 0.0,
    durability: Durability = "finish",
    compat: Compatibility = "spec",
    disable_download: bool = False,
    disable_termination: bool = False,
    disable_concatenation: bool = False,
    min_free_space: int = 0,
    max_unfinished: int = 0,
    dir_perms: int = 0o775,
    file_perms: int = 0o664,
    behind_proxy: bool = False,
    disable_cors: bool = False,
    cors_allow_origin: str = ".*",
    cors_allow_credentials: bool = False,
    cors_allow_methods: str = "",
    cors_allow_headers: str = "",
    cors_max_age: str = "86400",
    cors_expose_headers: str = "",
    network_timeout: float = 60.0,
    acquire_lock_timeout: float = 20.0,
    metrics_path: str | None = None,
    health_path: str | None = None,
    show_greeting: bool | None = None,
) -> Starlette:
    """Make the application that serves uploads at `base_path`.

    Each keyword is the command-line flag of its name; sizes are in bytes, times in seconds, and 0 means no limit. The
    last three belong to a server of its own and are off by default: leave them off in an application that is mounted
    in another, and join `tusd_py.lifespan` to the lifespan of the outer one, else background work starts with the
    first request.

    Raises `UnusableDirectory` where the upload directory cannot be used, `ValueError` for a value that makes no sense,
    and `re.error` for a bad origin pattern.
    """
    if durability not in get_args(Durability):
        raise ValueError(f"durability must be one of {', '.join(get_args(Durability))}")
    if compat not in get_args(Compatibility):
        raise ValueError(f"compat must be one of {', '.join(get_args(Compatibility))}")
    if not base_path.startswith("/"):
        raise ValueError("base_path must start with a slash")
    directory = Path(upload_dir).absolute()
    state_directory = Path(state_dir).absolute() if state_dir else directory / ".tusd-py"
    prepare_directories(directory, state_directory, dir_perms)

    base_path = "/" + "/".join(filter(None, base_path.split("/"))) + "/"
    base_path = "/" if base_path == "//" else base_path
    metrics = Metrics()
    file_threads = Threads("file", FILE_THREADS)
    body_threads = Threads("body", BODY_THREADS)
    copy_threads = Threads("copy", COPY_THREADS)
    store = FilesystemStore(
        directory,
        state_directory,
        file_mode=file_perms,
        directory_mode=dir_perms,
        durability=durability,
        min_free_space=min_free_space,
    )
    state = FilesState(state_directory / "run", file_threads)
    limits = Limits(
        max_size=max(max_size, 0),
        expire_after=max(expire_after, 0.0),
        lock_timeout=acquire_lock_timeout if acquire_lock_timeout > 0 else 20.0,
        min_free_space=min_free_space,
        max_unfinished=max_unfinished,
        strict=compat == "spec",
    )
    uploads = Uploads(store, state, metrics, limits, file_threads, body_threads, copy_threads)
    sweeper = Sweeper(
        store,
        uploads,
        body_threads,
        expire_after=limits.expire_after,
        look_at_uploads=bool(limits.expire_after or limits.max_unfinished),
    )
    work = BackgroundWork(store, state, uploads, sweeper, (file_threads, body_threads, copy_threads))

    handlers = TusHandlers(
        uploads,
        TusOptions(
            max_size=limits.max_size,
            strict=limits.strict,
            termination=not disable_termination,
            concatenation=not disable_concatenation,
            expiration=bool(limits.expire_after),
        ),
        base_path,
    )
    upload_handlers: dict[str, Handler] = {"HEAD": handlers.head, "PATCH": handlers.patch}
    if not disable_termination:
        upload_handlers["DELETE"] = handlers.terminate
    if not disable_download:
        upload_handlers["GET"] = Downloads(uploads, body_threads).get
    endpoint = TusEndpoint(
        handlers,
        {"POST": handlers.create},
        upload_handlers,
        base_path=base_path,
        cors=Cors(
            allow_origin=re.compile(cors_allow_origin),
            allow_credentials=cors_allow_credentials,
            allow_methods=cors_allow_methods,
            allow_headers=cors_allow_headers,
            max_age=cors_max_age,
            expose_headers=cors_expose_headers,
            is_enabled=not disable_cors,
        ),
        metrics=metrics,
        behind_proxy=behind_proxy,
        network_timeout=network_timeout,
        on_request=work.start,
        is_draining=lambda: uploads.is_draining,
    )

    routes: list[BaseRoute] = []
    if metrics_path:
        routes.append(Route(metrics_path, metrics_page(metrics), methods=["GET"]))
    if health_path:

        async def check() -> None:
            await file_threads(store.check_space)

        routes.append(Route(health_path, health_page(check), methods=["GET"]))
    routes.append(TusRoute(base_path, endpoint))
    if show_greeting is not None:
        routes.append(Route("/{path:path}", Greeting(__version__, base_path, metrics_path, is_shown=show_greeting)))

    app = Starlette(routes=routes, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.tusd_py = work
    app.state.metrics = metrics
    app.state.extensions = handlers.discover(can_deliver_trailers=True)["tus-extension"]
    return app


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, object]]:
    """Start and end the background work of an application made by `create_app`; for the lifespan of an outer one."""
    work: BackgroundWork = app.state.tusd_py
    await work.start()
    try:
        yield {}
    finally:
        await work.close()


class BackgroundWork:
    """What runs beside the requests: messages between processes, and the sweep."""

    def __init__(
        self,
        store: FilesystemStore,
        state: FilesState,
        uploads: Uploads,
        sweeper: Sweeper,
        threads: tuple[Threads, ...],
    ) -> None:
        self._store = store
        self._state = state
        self._uploads = uploads
        self._sweeper = sweeper
        self._threads = threads
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Start once; further calls do nothing."""
        if self._task is None:
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.create_task(self._run())
            await self._state.start()

    def drain(self) -> None:
        """Take no new uploads, and end the bodies that are being received with 503; their bytes are kept.

        To be called when a stop is asked for, from any thread or signal handler.
        """
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._uploads.drain)

    async def close(self) -> None:
        self._uploads.drain()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            await self._state.close()
        for threads in self._threads:
            threads.close()

    async def _run(self) -> None:
        await self._sweeper.start()
        await self._sweeper.run()
