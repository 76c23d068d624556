"""The composition root: plain values in, a Starlette application out."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, Unpack, get_args

from starlette.applications import Starlette
from starlette.routing import Route

from tusd_py.chunked_uploads import compose_chunked_uploads
from tusd_py.core.chunks import CHUNK_UNIT, DEFAULT_TYPES
from tusd_py.core.disposition import media_types
from tusd_py.core.links import LinkSigner
from tusd_py.core.sensible import LINK_TTL, refused_values
from tusd_py.finished_files import MoreKeywords, compose_finished_files
from tusd_py.foundation import lay_foundation
from tusd_py.pipeline.configured import CONCURRENCY
from tusd_py.service.appending import Limits
from tusd_py.service.background import BackgroundWork, on_duty
from tusd_py.service.chunks import ChunkLimits
from tusd_py.service.expiry import Sweeper
from tusd_py.service.files import LinkTimes
from tusd_py.service.uploads import Uploads
from tusd_py.state.board import Board
from tusd_py.state.duty import Duties
from tusd_py.store.durability import Durability
from tusd_py.store.keys import load_or_create_signing_keys, read_keys
from tusd_py.version import __version__
from tusd_py.web.api import Api, ApiOptions
from tusd_py.web.api_endpoint import ApiEndpoint
from tusd_py.web.application import Application
from tusd_py.web.context import Context
from tusd_py.web.cors import Cors
from tusd_py.web.download import DownloadOptions, Downloads
from tusd_py.web.lifespan import lifespan
from tusd_py.web.pages import Greeting, own_pages
from tusd_py.web.places import check_places, path_of_tree
from tusd_py.web.proxies import Proxies
from tusd_py.web.route import TreeRoute
from tusd_py.web.tus import TusHandlers, TusOptions
from tusd_py.web.tus_endpoint import Handler, TusEndpoint

Compatibility = Literal["spec", "tusd"]
DownloadMode = Literal["open", "signed", "off"]


def create_app(  # noqa: PLR0915 -- a list of what is made of what
    upload_dir: str | os.PathLike[str] = "./data",
    *,
    base_path: str = "/files/",
    state_dir: str | os.PathLike[str] | None = None,
    redis_url: str = "",
    redis_prefix: str = "tusd-py",
    max_size: int = 0,
    expire_after: float = 0.0,
    durability: Durability = "finish",
    compat: Compatibility = "spec",
    downloads: DownloadMode = "open",
    disable_download: bool = False,
    signing_key_file: str | os.PathLike[str] | None = None,
    signed_url_ttl: float = LINK_TTL,
    signed_url_max_ttl: float = 24 * 3600.0,
    accel_redirect: str = "",
    api_path: str = "/api",
    api_key_file: str | os.PathLike[str] | None = None,
    allowed_types: Sequence[str] | None = None,
    chunk_size: int = 5 * 1024 * 1024,
    chunk_max_size: int = 5 * 1024**3,
    chunk_expire_after: float = 24 * 3600.0,
    pipeline_concurrency: int = CONCURRENCY,
    disable_termination: bool = False,
    disable_concatenation: bool = False,
    min_free_space: int = 0,
    max_unfinished: int = 0,
    dir_perms: int = 0o775,
    file_perms: int = 0o664,
    behind_proxy: bool = False,
    trusted_proxies: Sequence[str] = (),
    relative_location: bool = False,
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
    board: Board | None = None,
    **more: Unpack[MoreKeywords],
) -> Starlette:
    """Make the application that serves uploads at `base_path`.

    Each keyword is the command-line flag of its name; sizes are in bytes, times in seconds, and 0 means no limit.
    `HookKeywords` and `PipelineKeywords` are those about hooks and webhooks, and about what happens to finished files.

    `metrics_path`, `health_path` and `show_greeting` belong to a server of its own: leave them off in an application
    that is mounted in another, and join `tusd_py.lifespan` to the lifespan of the outer one, else background work
    starts with the first request. `board` is what the processes of one server share.

    With a `redis_url`, hosts that share the directories coordinate through that Redis, by keys that have `redis_prefix`
    as their hash tag.

    An empty `api_path` switches the JSON API off. `allowed_types` are media types; without them chunk uploads are held
    to a list of their own, and tus uploads to none. `trusted_proxies` are networks such as `10.0.0.0/8`.

    Raises `UnusableDirectory` where the upload directory cannot be used, `UnusableKeys` for a key file that must not be
    used, `ValueError` for a value that makes no sense, and `re.error` for a bad origin pattern.
    """
    for text in refused_values({**locals(), **more}):  # nothing else is local yet
        raise ValueError(text)
    for name in more.keys() - MoreKeywords.__optional_keys__:
        raise TypeError(f"create_app() got an unexpected keyword argument {name!r}")
    for name, value, choices in (
        ("durability", durability, Durability),
        ("compat", compat, Compatibility),
        ("downloads", downloads, DownloadMode),
    ):
        if value not in get_args(choices):
            raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}")
    if chunk_size <= 0 or chunk_size % CHUNK_UNIT:
        raise ValueError(f"chunk_size must be a multiple of {CHUNK_UNIT}, not {chunk_size}")
    if not base_path.startswith("/"):
        raise ValueError("base_path must start with a slash")

    base_path = path_of_tree(base_path)
    api_path = path_of_tree(api_path) if api_path else ""
    check_places(base_path, api_path, metrics_path, health_path)
    api_path = api_path.rstrip("/")
    has_downloads = downloads != "off" and not disable_download
    chunk_max_size = min(filter(None, (chunk_max_size, max(max_size, 0))), default=0)
    tus_types = media_types(allowed_types or ())
    chunk_types = media_types(DEFAULT_TYPES if allowed_types is None else allowed_types)

    ground = lay_foundation(
        upload_dir,
        state_dir,
        redis_url=redis_url,
        redis_prefix=redis_prefix,
        durability=durability,
        dir_perms=dir_perms,
        file_perms=file_perms,
        min_free_space=min_free_space,
        max_unfinished=max_unfinished,
        board=board,
    )
    store, state, metrics, draining = ground.store, ground.state, ground.metrics, ground.draining
    signing_keys = (
        read_keys(Path(signing_key_file)) if signing_key_file else load_or_create_signing_keys(ground.state_directory)
    )
    api_keys = read_keys(Path(api_key_file)) if api_key_file else ()
    limits = Limits(
        max_size=max(max_size, 0),
        expire_after=expire_after,
        lock_timeout=acquire_lock_timeout if acquire_lock_timeout > 0 else 20.0,
        min_free_space=min_free_space,
        strict=compat == "spec",
    )

    finished = compose_finished_files(
        more,
        ground,
        signer=LinkSigner(signing_keys),
        link_times=LinkTimes(signed_url_ttl, signed_url_max_ttl),
        base_path=base_path,
        tus_types=tus_types,
        chunk_types=chunk_types,
        has_chunks=bool(api_path),
        only_links=downloads == "signed",
        concurrency=pipeline_concurrency,
    )
    files, finishing, hooks, pipeline = finished.files, finished.finishing, finished.hooks, finished.pipeline
    uploads = Uploads(
        store,
        ground.session_store,
        state,
        metrics,
        limits,
        ground.unfinished,
        finishing,
        hooks,
        draining,
        *ground.threads,
    )
    chunked = compose_chunked_uploads(
        ground,
        uploads,
        finished,
        limits=ChunkLimits(chunk_size, limits.lock_timeout, min_free_space),
        expire_after=chunk_expire_after,
    )

    duties = Duties(ground.state_directory / "run", ground.body_threads)
    look_at_uploads = bool(expire_after or max_unfinished)
    sweeper = Sweeper(
        store,
        uploads,
        chunked.discarding,
        ground.unfinished,
        ground.body_threads,
        partial(duties.is_ours, "expiry" if look_at_uploads else "traces"),
        expire_after=min(filter(None, (expire_after, chunk_expire_after)), default=0.0),
        look_at_uploads=look_at_uploads,
    )
    sweeps = [on_duty(partial(duties.is_ours, name), sweep) for name, sweep in finished.sweeps.items()]
    tasks, closers = [sweeper.run, *sweeps, *finished.tasks], [*finished.closers, duties.close]
    work = BackgroundWork(state, draining, tasks, closers, (*ground.threads, *finished.threads))

    context = Context(
        cors=Cors(
            allow_origin=re.compile(cors_allow_origin),
            allow_credentials=cors_allow_credentials,
            allow_methods=cors_allow_methods,
            allow_headers=cors_allow_headers,
            max_age=cors_max_age,
            expose_headers=cors_expose_headers,
            is_enabled=not disable_cors,
        ),
        hooks=hooks,
        metrics=metrics,
        proxies=Proxies(behind_proxy=behind_proxy, trusted=trusted_proxies),
        relative_location=relative_location,
        network_timeout=network_timeout if network_timeout > 0 else 60.0,
        on_request=work.start,
        is_draining=lambda: draining.has_begun,
    )

    handlers = TusHandlers(
        uploads,
        TusOptions(
            max_size=limits.max_size,
            strict=limits.strict,
            termination=not disable_termination,
            concatenation=not disable_concatenation,
            expiration=bool(expire_after),
            allowed_types=tus_types,
            api_path=api_path,
        ),
        base_path,
    )
    upload_handlers: dict[str, Handler] = {"HEAD": handlers.head, "PATCH": handlers.patch}
    file_handlers: dict[str, Handler] = {}
    if not disable_termination:
        upload_handlers["DELETE"] = handlers.terminate
    if has_downloads:
        options = DownloadOptions(
            only_links=downloads == "signed", only_ready=finished.only_ready, accel_redirect=accel_redirect
        )
        sending = Downloads(uploads, files, options, ground.body_threads)
        upload_handlers["GET"] = sending.get
        file_handlers = {"GET": sending.get_file, "HEAD": sending.get_file}
    api = Api(
        chunked.chunks,
        chunked.completing,
        chunked.discarding,
        chunked.reporting,
        files,
        finishing.wait,
        ApiOptions(
            api_path=api_path,
            base_path=base_path,
            max_size=chunk_max_size,
            allowed_types=chunk_types,
            detection_problem=pipeline.detection_problem,
            has_downloads=has_downloads,
            has_termination=not disable_termination,
            needs_key_to_mint=downloads == "signed",
        ),
    )

    def troubles() -> dict[str, str]:
        return pipeline.troubles() | ({"state": trouble} if (trouble := state.trouble()) else {})

    checks: Mapping[str, Callable[[], Awaitable[None]]] = {
        "store": partial(ground.file_threads, store.check_space),
        "state": state.check,
    }
    routes = own_pages(partial(ground.file_threads, metrics.exposition), metrics_path, checks, troubles, health_path)
    if api_path:
        api_context = replace(context, cors=context.cors.for_api())
        routes.append(TreeRoute(api_path + "/", ApiEndpoint(api.routes, api_keys=api_keys, context=api_context)))
    endpoint = TusEndpoint(
        handlers, {"POST": handlers.create}, upload_handlers, file_handlers, base_path=base_path, context=context
    )
    routes.append(TreeRoute(base_path, endpoint))
    if show_greeting is not None:
        routes.append(Route("/{path:path}", Greeting(__version__, base_path, metrics_path, is_shown=show_greeting)))

    app = Application(routes=routes, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.tusd_py = work
    app.state.metrics = metrics
    app.state.prove = pipeline.prove
    app.state.extensions = handlers.discover(can_deliver_trailers=True)["tus-extension"]
    return app
