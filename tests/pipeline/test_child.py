import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pipeline.processes import child_pids, has_ended, wait_until
from tusd_py.pipeline import TryLater
from tusd_py.pipeline.child import Child, ChildFailed, Limits
from tusd_py.service.threads import Threads

MIB = 1024 * 1024
LIMITS = Limits(memory=256 * MIB, cpu_seconds=5, seconds=60.0, answer=MIB)

ChildMaker = Callable[..., Child]


@pytest.fixture
def child(threads: Threads, runner: asyncio.Runner, tmp_path: Path) -> Iterator[ChildMaker]:
    """Makes children that do what the lines of a function `job(descriptor, **arguments)` say."""
    children: list[Child] = []

    def maker(*lines: str, limits: Limits = LIMITS, **arguments: object) -> Child:
        path = tmp_path / f"job{len(children)}.py"
        path.write_text("import os, resource, signal, sys, time\ndef job(descriptor, **arguments):\n    ")
        with path.open("a") as file:
            file.write("\n    ".join(lines) + "\n")
        children.append(Child(path, arguments, limits, threads))
        return children[-1]

    yield maker
    for each in children:
        runner.run(each.end())
    assert not child_pids()


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_a_child_answers_about_one_file_after_the_other(
    child: ChildMaker, runner: asyncio.Runner, descriptor: int
) -> None:
    asked = child("return {'pid': os.getpid(), 'got': arguments}, os.pread(descriptor, 9, 0) * 50_000", a=[1])
    answers = [runner.run(asked.ask(descriptor)) for _ in range(3)]
    assert answers[0] == ({"pid": answers[0][0]["pid"], "got": {"a": [1]}}, b"content" * 50_000)
    assert answers[1:] == answers[:1] * 2
    assert child_pids() == [answers[0][0]["pid"]]


def test_a_child_is_niced_and_has_nothing_of_ours(
    child: ChildMaker, runner: asyncio.Runner, descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_SECRET", "secret")
    target = tmp_path / "written"
    asked = child(
        "descriptors = os.listdir('/proc/self/fd')",
        "answer = {'nice': os.nice(0), 'descriptors': len(descriptors) - 1, 'modules': 'tusd_py' in sys.modules}",
        "answer['secret'] = 'OUR_SECRET' in os.environ",
        "answer['core'] = resource.getrlimit(resource.RLIMIT_CORE)",
        "answer['files'] = resource.getrlimit(resource.RLIMIT_NOFILE)[1]",
        "answer['group'] = os.getpgid(0) == os.getpid()",
        "try:",
        f"    open({str(target)!r}, 'wb', buffering=0).write(b'x')",
        "except OSError as error:",
        "    answer['write'] = error.errno",
        "return answer, b''",
    )
    answer, _ = runner.run(asked.ask(descriptor))
    assert answer == {
        "nice": 19,
        "descriptors": 4,
        "modules": False,
        "secret": False,
        "core": [0, 0],
        "files": 16,
        "group": True,
        "write": 27,
    }
    assert target.read_bytes() == b""


@pytest.mark.parametrize(
    ("lines", "reason", "may_pass"),
    [
        (("bytearray(2 ** 30)",), "it needs too much memory", False),
        (("raise ValueError('bad\\nfile')",), "ValueError: bad\nfile", False),
        (("os.abort()",), "the process ended with SIGABRT", False),
        (("os.kill(os.getpid(), signal.SIGSEGV)",), "the process ended with SIGSEGV", False),
        (("os.kill(os.getpid(), signal.SIGKILL)",), "the process ended with SIGKILL", True),
        (("os._exit(3)",), "the process ended with status 3", True),
        (("[i for i in range(200)]", "return {}, bytes(2 ** 21)"), "the answer is too long", False),
        (("os.write(0, b'\\0\\0\\0\\1\\0\\0\\0\\0x')", "time.sleep(60)"), "the answer makes no sense", False),
        (("return 7, b''",), "the answer makes no sense", False),
    ],
    ids=["memory", "error", "abort", "crash", "kill", "exit", "long", "nonsense", "number"],
)
def test_a_child_that_fails_says_why_and_the_next_file_is_looked_at(
    child: ChildMaker, runner: asyncio.Runner, descriptor: int, lines: tuple[str, ...], reason: str, may_pass: bool
) -> None:
    asked = child(*lines)
    for _ in range(2):
        with pytest.raises(ChildFailed) as raised:
            runner.run(asked.ask(descriptor))
        assert (str(raised.value), raised.value.may_pass) == (reason, may_pass)


def test_a_child_that_works_without_end_is_ended_by_its_clock(
    child: ChildMaker, runner: asyncio.Runner, descriptor: int
) -> None:
    asked = child("while True: pass", limits=Limits(256 * MIB, 0, 60.0, MIB))
    with pytest.raises(ChildFailed, match="it took more than 0 s of processor time") as raised:
        runner.run(asked.ask(descriptor))
    assert not raised.value.may_pass
    assert not child_pids()


def test_a_child_that_hangs_is_killed(child: ChildMaker, runner: asyncio.Runner, descriptor: int) -> None:
    asked = child("time.sleep(600)", limits=Limits(256 * MIB, 5, 0.3, MIB))
    with pytest.raises(ChildFailed, match=r"it was not done after 0\.3 s") as raised:
        runner.run(asked.ask(descriptor))
    assert raised.value.may_pass
    assert not child_pids()


def test_a_child_that_cannot_begin_is_a_failure(runner: asyncio.Runner, threads: Threads, descriptor: int) -> None:
    asked = Child(Path("/nowhere/job.py"), {}, LIMITS, threads)
    with pytest.raises(ChildFailed, match="the process ended with status 1") as raised:
        runner.run(asked.ask(descriptor))
    assert raised.value.may_pass


def test_where_there_is_no_room_for_a_process_the_file_waits(
    child: ChildMaker, runner: asyncio.Runner, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(TryLater, match="no child process") as raised:
        runner.run(child("return {}, b''").ask(descriptor))
    assert raised.value.delay


def test_a_child_that_died_in_between_is_replaced(child: ChildMaker, runner: asyncio.Runner, descriptor: int) -> None:
    asked = child("return {'pid': os.getpid()}, b''")
    first, _ = runner.run(asked.ask(descriptor))
    os.kill(first["pid"], signal.SIGKILL)
    wait_until(lambda: has_ended(first["pid"]))
    second, _ = runner.run(asked.ask(descriptor))
    assert second["pid"] != first["pid"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_everybody_does_not_end_a_child_that_works(
    child: ChildMaker, runner: asyncio.Runner, descriptor: int, number: signal.Signals
) -> None:
    asked = child(f"os.kill(os.getpid(), {int(number)})", "return {'done': True}, b''")
    assert runner.run(asked.ask(descriptor)) == ({"done": True}, b"")


@pytest.mark.parametrize("delay", [0.0, 0.02, 1.0], ids=["at once", "while it starts", "while it works"])
def test_nothing_is_left_of_a_child_that_is_not_waited_for(
    child: ChildMaker, runner: asyncio.Runner, descriptor: int, delay: float
) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(asked.ask(descriptor))
        await asyncio.sleep(delay)
        task.cancel()
        await task

    asked = child("time.sleep(600)")
    with pytest.raises(asyncio.CancelledError):
        runner.run(cancel())
    assert not child_pids()


PARENT = """
import asyncio, os, sys
from pathlib import Path
from tusd_py.pipeline.child import Child, Limits
from tusd_py.service.threads import Threads
async def main():
    limits = Limits(2**28, 5, float(sys.argv[3]), 99)
    child = Child(Path(sys.argv[1]), {"seconds": float(sys.argv[2])}, limits, Threads("x", 1))
    task = asyncio.create_task(child.ask(os.open(sys.argv[1], os.O_RDONLY)))
    while child._process is None: await asyncio.sleep(0.01)
    print(child._process.pid, flush=True)
    if not float(sys.argv[2]): await task
    print("ready", flush=True)
    import time; time.sleep(600)
asyncio.run(main())
"""


@pytest.mark.parametrize(("seconds", "limit"), [(0, 60.0), (600, 1.0)], ids=["idle", "busy"])
def test_a_child_does_not_outlive_a_server_that_is_killed(tmp_path: Path, seconds: int, limit: float) -> None:
    """One that works ends when its time is over."""
    job = tmp_path / "job.py"
    job.write_text("import time\ndef job(descriptor, seconds):\n    time.sleep(seconds)\n    return {}, b''\n")
    command = [sys.executable, "-c", PARENT, str(job), str(seconds), str(limit)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
