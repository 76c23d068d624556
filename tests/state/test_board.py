"""The memory that workers share: numbers of each, and nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path

from tusd_py.state.board import Board, Column, shared_directory


def test_every_worker_sees_what_the_others_have_written(tmp_path: Path) -> None:
    supervisor = Board.make(tmp_path, rows=3)
    first, third = Board(tmp_path, 1), Board(tmp_path, 3)
    for board, number in ((first, 5), (third, -2)):
        board.set(Column.PID, 100 + board.row)
        board.set(Column.UNFINISHED, number)
    assert supervisor.workers == first.workers == [1, 3]
    assert third.of(1, Column.UNFINISHED) == 5
    assert first.total(Column.UNFINISHED) == 3
    supervisor.clear(1)
    assert third.workers == [3]
    assert third.total(Column.UNFINISHED) == 3


def test_what_killed_servers_have_left_goes_and_what_others_use_stays() -> None:
    with shared_directory() as used:
        board = Board.make(used, rows=1)
        left = used.with_name(used.name + "-left")
        left.mkdir()
        try:
            for directory in (used, left):
                os.utime(directory, (0, 0))
            with shared_directory() as own:
                assert own.is_dir()
            assert used.is_dir()
            assert not left.exists()
        finally:
            if left.exists():
                left.rmdir()
        assert board.row == 0
    assert not used.exists()
