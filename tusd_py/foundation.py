"""The part of the composition that the others stand on: directories, the state, threads, and what is counted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tusd_py.service.draining import Draining
from tusd_py.service.metrics import Metrics
from tusd_py.service.threads import Threads
from tusd_py.service.unfinished import Unfinished
from tusd_py.state import State
from tusd_py.state.board import Board
from tusd_py.state.configured import configured_state
from tusd_py.store.directories import prepare_directories
from tusd_py.store.durability import Durability
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.mounts import is_in_memory, is_local
from tusd_py.store.sessions import SessionStore

FILE_THREADS = 8
BODY_THREADS = 16
COPY_THREADS = 2


@dataclass(frozen=True, slots=True)
class Foundation:
    """What the components of one server have in common.

    Bodies and downloads have threads of their own, and so have concatenations: what takes long keeps no HEAD waiting.
    `durable` is what has to survive the loss of power at all; files are made with `file_mode`.
    """

    state_directory: Path
    store: FilesystemStore
    session_store: SessionStore
    state: State
    metrics: Metrics
    unfinished: Unfinished
    draining: Draining
    file_threads: Threads
    body_threads: Threads
    copy_threads: Threads
    durable: bool
    file_mode: int

    @property
    def threads(self) -> tuple[Threads, Threads, Threads]:
        return self.file_threads, self.body_threads, self.copy_threads


def lay_foundation(
    upload_dir: str | os.PathLike[str],
    state_dir: str | os.PathLike[str] | None,
    *,
    redis_url: str,
    redis_prefix: str,
    durability: Durability,
    dir_perms: int,
    file_perms: int,
    min_free_space: int,
    max_unfinished: int,
    board: Board | None,
) -> Foundation:
    """The directories are made where they are missing. Raises `UnusableDirectory`, and ValueError about the Redis."""
    directory = Path(upload_dir).absolute()
    state_directory = Path(state_dir).absolute() if state_dir else directory / ".tusd-py"
    durable = durability != "none"
    prepare_directories(directory, state_directory, dir_perms, durable=durable)
    metrics = Metrics(board)
    near = [[place for place in (directory, state_directory) if has(place)] for has in (is_local, is_in_memory)]
    file_threads = Threads("file", FILE_THREADS, *near)
    state = configured_state(
        redis_url, redis_prefix, state_directory / "run", file_threads.near, metrics.count_state_event
    )
    metrics.watch_state(lambda: not state.trouble())
    return Foundation(
        state_directory=state_directory,
        store=FilesystemStore(
            directory,
            state_directory,
            file_mode=file_perms,
            directory_mode=dir_perms,
            durability=durability,
            min_free_space=min_free_space,
        ),
        session_store=SessionStore(state_directory, file_mode=file_perms, each_durable=durability == "each"),
        state=state,
        metrics=metrics,
        unfinished=Unfinished(max_unfinished, board),
        draining=Draining(),
        file_threads=file_threads,
        body_threads=Threads("body", BODY_THREADS, *near),
        copy_threads=Threads("copy", COPY_THREADS),
        durable=durable,
        file_mode=file_perms,
    )
