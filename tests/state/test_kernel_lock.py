import os
import threading
from pathlib import Path

import pytest

from tusd_py.state.kernel_lock import KernelLock

GIB = 1024**3


@pytest.mark.parametrize(("size", "is_removed", "is_here"), [(GIB, True, False), (1, True, True), (GIB, False, True)])
def test_the_space_of_a_large_removed_file_is_freed_in_a_thread_and_others_are_closed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, size: int, is_removed: bool, is_here: bool
) -> None:
    path = tmp_path / "data"
    path.touch()
    os.truncate(path, size)
    lock = KernelLock(str(path))
    assert lock.take()
    if is_removed:
        path.unlink()
    closed: dict[int, str] = {}
    close = os.close

    def noted(descriptor: int) -> None:
        close(descriptor)
        closed[descriptor] = threading.current_thread().name

    monkeypatch.setattr(os, "close", noted)
    descriptor = lock.descriptor
    lock.release()
    for thread in threading.enumerate():
        if thread.name == "freeing":
            thread.join()
    assert (closed[descriptor] == threading.current_thread().name) is is_here
