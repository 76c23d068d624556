"""The part of the composition that is about uploads in numbered chunks."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.finished_files import FinishedFiles
from tusd_py.foundation import Foundation
from tusd_py.service.assembly import Assembly
from tusd_py.service.chunks import ChunkLimits, Chunks
from tusd_py.service.completing import Completing
from tusd_py.service.discarding import Discarding
from tusd_py.service.reporting import Reporting
from tusd_py.service.sessions import Sessions
from tusd_py.service.uploads import Uploads


@dataclass(frozen=True, slots=True)
class ChunkedUploads:
    """The use cases of the API."""

    chunks: Chunks
    completing: Completing
    discarding: Discarding
    reporting: Reporting


def compose_chunked_uploads(
    ground: Foundation,
    uploads: Uploads,
    finished: FinishedFiles,
    *,
    limits: ChunkLimits,
    expire_after: float,
) -> ChunkedUploads:
    """`expire_after` is in seconds, 0 for never."""
    store, session_store, state, metrics = ground.store, ground.session_store, ground.state, ground.metrics
    file_threads, body_threads, copy_threads = ground.threads
    assembly = Assembly(session_store, copy_threads)
    sessions = Sessions(
        session_store,
        state,
        assembly,
        uploads,
        ground.unfinished,
        file_threads,
        expire_after=expire_after,
        lock_timeout=limits.lock_timeout,
    )
    chunks = Chunks(
        sessions,
        session_store,
        store,
        state,
        assembly,
        finished.hooks,
        ground.draining,
        ground.unfinished,
        metrics,
        limits,
        file_threads,
        body_threads,
    )
    completing = Completing(
        sessions,
        session_store,
        store,
        assembly,
        uploads,
        finished.files,
        finished.finishing,
        finished.hooks,
        ground.draining,
        metrics,
        file_threads,
        copy_threads,
    )
    discarding = Discarding(
        sessions,
        session_store,
        store,
        state,
        uploads,
        finished.finishing,
        finished.hooks,
        metrics,
        file_threads,
    )
    reporting = Reporting(sessions, session_store, uploads, finished.files, completing, file_threads)
    return ChunkedUploads(chunks, completing, discarding, reporting)
