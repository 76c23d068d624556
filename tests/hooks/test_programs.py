"""Hook programs, as their authors see them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.hooks.calls import call_about
from tests.running import DEADLINE, eventually
from tusd_py.core.hook_events import Event, HookAnswer, HookCall, HookFailure
from tusd_py.core.hook_json import encode_call
from tusd_py.hooks.programs import ProgramsBackend

Run = Callable[[Coroutine[Any, Any, HookAnswer]], HookAnswer]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Both loops, since they start programs and read pipes in ways of their own."""
    loop: Run = request.param
    return loop


def program(directory: Path, event: Event, script: str, interpreter: str = "/bin/sh") -> Path:
    path = directory / event.value
    path.write_text(f"#!{interpreter}\n{script}\n")
    path.chmod(0o755)
    return path


def ask(directory: Path, call: HookCall | None = None, *, timeout: float = 10, **options: Any) -> HookAnswer:
    return asyncio.run(ProgramsBackend(directory, timeout=timeout, **options).call(call or call_about()))


def failure_of(directory: Path, script: str, **options: Any) -> HookFailure:
    program(directory, Event.POST_FINISH, script)
    with pytest.raises(HookFailure) as caught:
        ask(directory, **options)
    return caught.value


def test_a_program_reads_the_event_and_prints_its_answer(tmp_path: Path, run: Run) -> None:
    program(tmp_path, Event.POST_FINISH, """cat > input; echo '{"RejectUpload":true}'""")
    call = call_about(metadata={"text": "ü" * 300_000})
    assert run(ProgramsBackend(tmp_path, timeout=10).call(call)) == HookAnswer(reject_upload=True)
    assert (tmp_path / "input").read_bytes() == encode_call(call)


def test_every_event_has_its_program(tmp_path: Path) -> None:
    for event in Event:
        program(tmp_path, event, f"""echo '{{"ChangeFileInfo":{{"ID":"{event.value}"}}}}'""")
        assert ask(tmp_path, call_about(event=event)).change_id == event.value


def test_a_program_knows_the_upload_from_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_SERVER", "inherited")
    program(
        tmp_path, Event.POST_FINISH, 'echo "$TUS_ID $TUS_SIZE $TUS_OFFSET $OF_THE_SERVER $# $0" > seen; pwd >> seen'
    )
    ask(tmp_path, call_about("a/b", size=2**40, offset=7))
    first, cwd = (tmp_path / "seen").read_text().splitlines()
    assert first == f"a/b {2**40} 7 inherited 0 {tmp_path}/post-finish"
    assert cwd == str(tmp_path)


def test_a_program_does_not_inherit_our_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUSD_PY_API_KEY_FILE", "/srv/keys")
    program(tmp_path, Event.POST_FINISH, "env > seen")
    ask(tmp_path)
    assert "TUSD_PY_" not in (tmp_path / "seen").read_text()


def test_before_a_creation_the_id_is_empty_and_a_deferred_size_0(tmp_path: Path) -> None:
    program(tmp_path, Event.PRE_CREATE, 'echo "[$TUS_ID] [$TUS_SIZE] [$TUS_OFFSET]" > seen')
    ask(tmp_path, call_about("", Event.PRE_CREATE, size=None, offset=0))
    assert (tmp_path / "seen").read_text() == "[] [0] [0]\n"


@pytest.mark.parametrize("script", ["true", "exec < /dev/null; sleep 0.1", "exec >&-"])
def test_the_input_need_not_be_read_nor_anything_be_printed(tmp_path: Path, script: str, run: Run) -> None:
    program(tmp_path, Event.POST_FINISH, script)
    call = call_about(metadata={"text": "x" * 300_000})
    assert run(ProgramsBackend(tmp_path, timeout=10).call(call)) == HookAnswer()


def test_what_it_says_of_errors_goes_to_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program(tmp_path, Event.POST_FINISH, "echo trouble >&2")
    ask(tmp_path)
    assert capfd.readouterr().err == "trouble\n"


# --- programs that are not there ---


def test_no_program_is_no_hook(tmp_path: Path, run: Run) -> None:
    assert run(ProgramsBackend(tmp_path, timeout=10).call(call_about())) == HookAnswer()
    assert run(ProgramsBackend(tmp_path / "nowhere", timeout=10).call(call_about())) == HookAnswer()


def test_a_missing_interpreter_is_no_hook(tmp_path: Path) -> None:
    program(tmp_path, Event.POST_FINISH, "", "/nowhere/interpreter")
    assert ask(tmp_path) == HookAnswer()


@pytest.mark.parametrize("text", ["echo '{}'", "#!/bin/sh\necho '{}'"])
def test_what_cannot_be_run_is_a_failure(tmp_path: Path, text: str) -> None:
    path = tmp_path / "post-finish"
    path.write_text(text)
    path.chmod(0o755 if text.startswith("echo") else 0o644)
    with pytest.raises(HookFailure, match=r"^hook program post-finish cannot be run: "):
        ask(tmp_path)


# --- failures ---


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo no; exit 3", "unexpected return code 3 from hook endpoint: no\n"),
        ("""echo '{"RejectUpload":true}'; exit 1""", "unexpected return code 1 from hook endpoint: {"),
        ("kill -TERM $$", "unexpected return code -1 from hook endpoint: "),
        ("kill -KILL $$", "unexpected return code -1 from hook endpoint: "),
    ],
)
def test_only_the_exit_code_0_is_success(tmp_path: Path, script: str, text: str) -> None:
    error = failure_of(tmp_path, script)
    assert str(error).startswith(text)
    assert not error.was_received


@pytest.mark.parametrize("output", ["hello", "[]", '{"RejectUpload":1}', " "])
def test_what_it_prints_must_be_an_answer(tmp_path: Path, output: str) -> None:
    error = failure_of(tmp_path, f"printf '%s' '{output}'")
    assert str(error).startswith("failed to parse hook response: ")
    assert str(error).endswith(f", response was: {output}")
    assert error.was_received


def test_endless_output_ends_the_program(tmp_path: Path) -> None:
    error = failure_of(tmp_path, "echo $$ > pid; yes", size_limit=1000)
    assert str(error) == "hook response exceeded maximum size of 1000 bytes"
    eventually(lambda: is_gone(tmp_path / "pid"))


# --- time ---


def test_a_program_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path, run: Run) -> None:
    program(tmp_path, Event.POST_FINISH, "sleep 600 & echo $! > child; trap '' TERM; echo $$ > pid; sleep 600")
    with pytest.raises(HookFailure, match=r"^hook program post-finish did not end within 500ms$"):
        run(ProgramsBackend(tmp_path, timeout=0.5).call(call_about()))
    eventually(lambda: is_gone(tmp_path / "pid") and is_gone(tmp_path / "child"))


def test_a_program_may_have_all_the_time_that_it_needs(tmp_path: Path) -> None:
    program(tmp_path, Event.POST_FINISH, "sleep 0.2; echo '{}'")
    assert ask(tmp_path, timeout=0) == HookAnswer()


def test_who_is_cancelled_leaves_no_program_and_no_zombie(tmp_path: Path, run: Run) -> None:
    program(tmp_path, Event.POST_FINISH, "echo $$ > pid; sleep 60")

    async def cancel() -> HookAnswer:
        task = asyncio.create_task(ProgramsBackend(tmp_path, timeout=0).call(call_about()))
        await asyncio.to_thread(eventually, lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(eventually, lambda: is_gone(tmp_path / "pid"))
        return HookAnswer()

    run(cancel())


def test_what_a_program_leaves_running_runs_on(tmp_path: Path, run: Run) -> None:
    waiting = "until [ -e go ]; do sleep 0.05; done; echo done > late"
    program(tmp_path, Event.POST_FINISH, f"echo '{{}}'; ({waiting}) &")
    assert run(ProgramsBackend(tmp_path, timeout=0).call(call_about())) == HookAnswer()
    (tmp_path / "go").touch()
    eventually((tmp_path / "late").exists)


# --- descriptors ---


def test_a_program_has_no_descriptor_of_ours(tmp_path: Path, run: Run) -> None:
    program(tmp_path, Event.POST_FINISH, "exec /bin/ls -l /proc/self/fd > fds")

    async def with_open_things() -> HookAnswer:
        server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        inheritable = os.dup(0)
        os.set_inheritable(inheritable, True)
        try:
            return await ProgramsBackend(tmp_path, timeout=10).call(call_about())
        finally:
            os.close(inheritable)
            server.close()

    run(with_open_things())
    targets = [line.split(" -> ")[1] for line in (tmp_path / "fds").read_text().splitlines() if " -> " in line]
    assert len(targets) == 4, targets  # input, output, errors, and the directory that is listed
    assert targets[0].startswith("pipe:")
    assert targets[1] == str(tmp_path / "fds")


def test_calls_leave_no_descriptor_open(tmp_path: Path, run: Run) -> None:
    program(tmp_path, Event.POST_FINISH, "echo '{}'")
    program(tmp_path, Event.PRE_FINISH, "yes")
    program(tmp_path, Event.PRE_CREATE, "exec < /dev/null; sleep 60")

    async def call_often() -> HookAnswer:
        backend = ProgramsBackend(tmp_path, timeout=0, size_limit=100)
        hasty = ProgramsBackend(tmp_path, timeout=0.3)
        counts = []
        for _ in range(3):
            await backend.call(call_about())
            for asked, event in ((backend, Event.PRE_FINISH), (hasty, Event.PRE_CREATE)):
                with pytest.raises(HookFailure):
                    await asked.call(call_about(event=event, metadata={"text": "x" * 300_000}))
            counts.append(len(os.listdir("/proc/self/fd")))
        assert counts[0] == counts[-1]
        return HookAnswer()

    run(call_often())


CALLS = """
import sys, uvloop
from pathlib import Path
from tests.hooks.calls import call_about
from tusd_py.core.hook_events import HookFailure
from tusd_py.hooks.programs import ProgramsBackend
async def run():
    for text in "small", "x" * 300_000:
        for _ in range(3):
            try:
                await ProgramsBackend(sys.argv[1], timeout=10, size_limit=100).call(call_about(metadata={"text": text}))
            except HookFailure as error:
                print(error, flush=True)
uvloop.run(run())
"""


@pytest.mark.parametrize("script", ["echo '{}'", "cat > /dev/null; echo '{}'", "exec < /dev/null; yes"])
def test_no_descriptor_is_closed_twice(tmp_path: Path, script: str) -> None:
    """By the second time it may be another file's that a thread has opened in between."""
    program(tmp_path, Event.POST_FINISH, script)
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-Z", "-e", "trace=close", "-e", "signal=none", "-o", str(trace)]
    subprocess.run([*command, sys.executable, "-c", CALLS, str(tmp_path)], check=True, timeout=6 * DEADLINE)
    assert "EBADF" not in trace.read_text()


def is_gone(pid_file: Path) -> bool:
    """Whether the process has ended and been reaped; a child of a killed one becomes init's, which may not reap."""
    try:
        status = Path(f"/proc/{int(pid_file.read_text())}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    state, parent = status.rpartition(")")[2].split()[:2]
    return state == "Z" and int(parent) != os.getpid()
