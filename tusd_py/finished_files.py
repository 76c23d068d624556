"""The part of the composition that is about finished files: hooks, the steps that files go through, and who is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from tusd_py.core.hook_events import HookAnswer, HookCall
from tusd_py.core.links import LinkSigner
from tusd_py.core.records import FileRecord
from tusd_py.foundation import Foundation
from tusd_py.hooks import Backend
from tusd_py.hooks.configured import (
    HookKeywords,
    configured_backends,
    configured_webhook,
    enabled_events,
    forgotten_headers,
)
from tusd_py.hooks.delivery import Delivery
from tusd_py.hooks.signing import webhook_key
from tusd_py.pipeline.configured import Pipeline, PipelineKeywords, configured_pipeline
from tusd_py.service.background import Task
from tusd_py.service.catching_up import CatchingUp
from tusd_py.service.files import Files, LinkTimes
from tusd_py.service.finishing import Finishing
from tusd_py.service.hooks import HookOptions, Hooks
from tusd_py.service.settling import Settling, Steps
from tusd_py.service.telling import Telling
from tusd_py.service.threads import Threads
from tusd_py.store.keys import read_private
from tusd_py.store.quarantine import Quarantine
from tusd_py.store.records import RecordStore

DELIVERY_THREADS = 2


class MoreKeywords(HookKeywords, PipelineKeywords, total=False):
    """What `create_app` takes beside its own keywords."""


@dataclass(frozen=True, slots=True)
class FinishedFiles:
    """The components that finished files need; with `only_ready`, no other bytes are served.

    `sweeps` are tasks that one process does for all that have them, by name.
    """

    hooks: Hooks
    pipeline: Pipeline
    files: Files
    finishing: Finishing
    only_ready: bool
    tasks: Sequence[Task]
    sweeps: Mapping[str, Task]
    closers: Sequence[Callable[[], Awaitable[None]]]
    threads: Sequence[Threads]


def compose_finished_files(
    keywords: MoreKeywords,
    ground: Foundation,
    *,
    signer: LinkSigner,
    link_times: LinkTimes,
    base_path: str,
    tus_types: Collection[str],
    chunk_types: Collection[str],
    has_chunks: bool,
    only_links: bool,
    concurrency: int,
) -> FinishedFiles:
    """Raises ValueError for a keyword that makes no sense, `UnusableKeys` for a secret's file that must not be used."""
    public_url = keywords.get("public_url", "")
    store, metrics, file_threads = ground.store, ground.metrics, ground.file_threads
    state_directory, durable = ground.state_directory, ground.durable
    scan_threads = Threads("scan", concurrency + 1)  # one more, so that the scanner can be asked how it is
    work_threads = Threads("work", concurrency + 1)  # flushes of what happens beside the requests keep none of them
    delivery_threads = Threads("delivery", DELIVERY_THREADS)
    pipeline = configured_pipeline(
        keywords,
        state_directory / "thumbnails",
        work_threads,
        scan_threads,
        tus_types=tus_types,
        chunk_types=chunk_types,
        has_chunks=has_chunks,
        durable=durable,
    )
    backends = configured_backends(keywords, http_secret=_secret(keywords, "hooks_http_secret_file"))
    hook_options = HookOptions(
        enabled_events(keywords),
        keywords.get("progress_hooks_interval", 1.0),
        finish_when_ready=pipeline.scan is not None and keywords.get("post_finish_after_scan", True),
        forget_headers=forgotten_headers(keywords),
    )
    webhook = configured_webhook(keywords, secret=_secret(keywords, "webhook_secret_file"))
    delivering = partial(Delivery, in_thread=delivery_threads, durable=durable, count=metrics.count_delivery)
    delivery = delivering(state_directory / "hooks", backends, forget_headers=hook_options.forget_headers)
    webhooks = delivering(state_directory / "hooks" / "webhook", webhook)
    records = RecordStore(state_directory, durable=durable)
    metrics.watch_files(records.backlog)
    metrics.watch_deliveries("hooks", delivery.count_queued)
    metrics.watch_deliveries("webhook", webhooks.count_queued)
    hooks = Hooks(
        *(backends, hook_options, delivery.add, store.info_path, store.is_place, metrics, file_threads, work_threads)
    )
    quarantine = Quarantine(
        state_directory / "quarantine",
        keep=keywords.get("infected", "keep") == "keep",
        durable=durable,
        file_mode=ground.file_mode,
    )

    async def scan(record: FileRecord) -> None:
        await finishing.add_again(record)

    files = Files(
        store,
        records,
        signer,
        link_times,
        file_threads,
        pipeline.thumbnails,
        scan=scan if pipeline.scan is not None else None,
    )
    telling = Telling(
        store,
        files,
        hooks,
        webhooks.add if webhook else None,
        work_threads,
        public_url=public_url,
        base_path=base_path,
    )
    settling = Settling(
        store,
        records,
        quarantine,
        metrics,
        work_threads,
        steps=Steps(pipeline.tus_steps, pipeline.chunk_steps),
        tell=telling,
    )
    finishing = Finishing(
        store,
        records,
        quarantine,
        settling,
        ground.state,
        file_threads,
        thumbnails=pipeline.thumbnails,
        request_to_keep=hooks.request_to_keep,
        keeps_records=only_links or bool(pipeline.tus_steps) or bool(webhook) or hooks.wants_files,
        concurrency=concurrency,
    )
    catching_up = {"unscanned": CatchingUp(records, finishing, work_threads).run} if pipeline.scan is not None else {}

    async def deliver(backend: Backend, call: HookCall) -> HookAnswer:
        return await hooks.invoke(backend, telling.with_links(call))

    async def send(backend: Backend, call: HookCall) -> HookAnswer:
        return await backend.call(telling.with_links(call))

    return FinishedFiles(
        hooks,
        pipeline,
        files,
        finishing,
        only_ready=bool(tus_types) or pipeline.scan is not None,
        tasks=[finishing.run, partial(delivery.run, deliver), partial(webhooks.run, send)],
        sweeps={"gone": files.run, **catching_up},
        closers=[hooks.close, pipeline.close, *(each.close for each in webhook)],
        threads=(scan_threads, work_threads, delivery_threads),
    )


def _secret(keywords: MoreKeywords, name: Literal["hooks_http_secret_file", "webhook_secret_file"]) -> bytes | None:
    """What signs messages, from a file that is for its owner alone, as those of keys are."""
    if not (path := keywords.get(name)):
        return None
    secret = read_private(Path(path)).strip()
    try:
        webhook_key(secret)
    except ValueError as error:
        raise ValueError(f"{name} '{path}': {error}") from error
    return secret
