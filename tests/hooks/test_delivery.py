"""Delivery of what has happened: to a real receiver, through failures, kills, and other processes."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.hooks.calls import call_about
from tests.hooks.receivers import Receiver, Reply, receiver
from tests.running import DEADLINE, eventually
from tusd_py.core.hook_events import FILE_EVENTS, Event, HookAnswer, HookCall, HookFailure
from tusd_py.hooks import Backend
from tusd_py.hooks.delivery import Delivery, Invoke
from tusd_py.hooks.http import HttpBackend
from tusd_py.hooks.python import PythonBackend
from tusd_py.service.threads import Threads

THREADS = Threads("hook-files", 4)


class Counted(Delivery):
    """A delivery that counts what has become of its attempts."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._outcomes: Counter[str] = Counter()
        super().__init__(*arguments, **options, count=lambda _backend, outcome: self._outcomes.update([outcome]))

    @property
    def delivered(self) -> int:
        return self._outcomes["delivered"]

    @property
    def failed_attempts(self) -> int:
        return self._outcomes["failed"]

    @property
    def dead_letters(self) -> int:
        return self._outcomes["dead"]


def delivery_in(directory: Path, backends: Sequence[Backend], **options: Any) -> Counted:
    return Counted(directory / "hooks", backends, THREADS, durable=False, **{"first_pause": 0.05, **options})


@asynccontextmanager
async def running(
    directory: Path, backends: Sequence[Backend], invoke: Invoke | None = None, **options: Any
) -> AsyncIterator[Counted]:
    delivery = delivery_in(directory, backends, **options)
    task = asyncio.create_task(delivery.run(invoke))
    try:
        yield delivery
    finally:
        task.cancel()
        await asyncio.wait([task])
        for each in backends:
            await each.close()


async def until(look: Callable[[], object]) -> None:
    await asyncio.to_thread(eventually, look)


def backend(url: str, **options: Any) -> HttpBackend:
    return HttpBackend(url, **{"retry": 1, **options})


def files(directory: Path) -> list[Path]:
    return [path for path in (directory / "hooks").rglob("*") if path.is_file()]


def deliver(directory: Path, backends: Sequence[Backend], *calls: HookCall, **options: Any) -> Counted:
    """Add the calls and run until nothing is left of them."""

    async def run() -> Counted:
        async with running(directory, backends, **options) as delivery:
            for call in calls:
                await asyncio.to_thread(delivery.add, call)
            await until(lambda: not delivery.count_queued())
        return delivery

    return asyncio.run(run())


class Recording:
    """A back end that fails as often as it is told to, and knows how many calls it had at once.

    It answers when it has `at_once` of them, and not before `seconds`.
    """

    def __init__(self, name: str = "recording", *, failures: int = 0, seconds: float = 0.0, at_once: int = 1) -> None:
        self.name = name
        self.calls: list[HookCall] = []
        self.most_at_once = 0
        self._failures = failures
        self._seconds = seconds
        self._at_once = 0
        self._barrier = asyncio.Barrier(at_once)

    async def call(self, call: HookCall) -> HookAnswer:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self._barrier.wait()
            await asyncio.sleep(self._seconds)
            self.calls.append(call)
            if self._failures:
                self._failures -= 1
                raise HookFailure("down")
            return HookAnswer()
        finally:
            self._at_once -= 1

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def ids(self) -> list[str]:
        return [call.id for call in self.calls]


# --- what is delivered ---


@pytest.mark.parametrize("event", [Event.POST_CREATE, Event.POST_FINISH, Event.POST_TERMINATE, *sorted(FILE_EVENTS)])
def test_a_call_is_delivered_and_nothing_is_left_of_it(tmp_path: Path, event: Event) -> None:
    with receiver() as hooks:
        delivery = deliver(tmp_path, [backend(hooks.url)], call_about(event=event))
    assert [body["Type"] for body in hooks.bodies] == [event.value]
    assert files(tmp_path) == []
    assert delivery.count_queued() == 0
    assert (delivery.delivered, delivery.failed_attempts, delivery.dead_letters) == (1, 0, 0)


def test_every_back_end_gets_every_call(tmp_path: Path) -> None:
    first, second = Recording("first"), Recording("second", failures=2)
    deliver(tmp_path, [first, second], call_about(call_id="1"), call_about("other", call_id="2"))
    assert sorted(first.ids) == ["1", "2"]
    assert sorted(set(second.ids)) == ["1", "2"]


def test_back_ends_need_different_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="different names"):
        delivery_in(tmp_path, [Recording(), Recording()])


def test_calls_go_out_by_the_way_that_is_given(tmp_path: Path) -> None:
    recording, seen = Recording(), []

    async def invoke(backend: Backend, call: HookCall) -> HookAnswer:
        seen.append((backend, call.id))
        return await backend.call(call)

    async def run() -> None:
        async with running(tmp_path, [recording], invoke=invoke) as delivery:
            delivery.add(call_about())
            await until(lambda: recording.calls)

    asyncio.run(run())
    assert seen == [(recording, "call-1")]


# --- failures ---


def test_a_receiver_that_was_down_gets_everything_in_order_once_it_is_up(tmp_path: Path) -> None:
    with receiver() as hooks:
        port = int(hooks.url.split(":")[2].split("/")[0])
    events = [Event.POST_CREATE, Event.POST_FINISH, Event.POST_TERMINATE]

    async def run() -> Receiver:
        async with running(tmp_path, [backend(hooks.url)], longest_pause=0.2) as delivery:
            for upload in ("a", "b", "c"):
                for event in events:
                    await asyncio.to_thread(delivery.add, call_about(upload, event))
            await until(lambda: delivery.failed_attempts > 5)
            assert delivery.count_queued() == 9
            with receiver(port=port) as up:
                await until(lambda: not delivery.count_queued())
            assert delivery.delivered == 9
        return up

    up = asyncio.run(run())
    told = [(body["Event"]["Upload"]["ID"], body["Type"]) for body in up.bodies]
    for upload in ("a", "b", "c"):
        assert [event for told_upload, event in told if told_upload == upload] == events


def test_pauses_grow_up_to_the_longest(tmp_path: Path) -> None:
    async def run() -> list[float]:
        async with running(tmp_path, [Recording(failures=100)], longest_pause=0.2) as delivery:
            delivery.add(call_about())
            await until(lambda: delivery.failed_attempts >= 6)
            (path,) = files(tmp_path)
            failures = [json.loads(line) for line in path.read_text().splitlines()[1:6]]
        return [failure["retry"] - failure["failed"] for failure in failures]

    for pause, usual in zip(asyncio.run(run()), [0.05, 0.1, 0.2, 0.2, 0.2], strict=True):
        assert 0.74 * usual < pause < 1.26 * usual


def test_what_was_received_is_not_sent_again_whatever_was_said_to_it(tmp_path: Path) -> None:
    with receiver(Reply(204, b"", {"Content-Length": "0"}), Reply(200, b"thanks", {})) as hooks:
        delivery = deliver(tmp_path, [backend(hooks.url)], call_about("a"), call_about("b"))
    assert len(hooks.received) == 2
    assert delivery.failed_attempts == 0


def test_an_exception_is_a_failure_too(tmp_path: Path) -> None:
    seen: list[Any] = []

    def hook(document: dict[str, Any]) -> None:
        seen.append(document)
        if len(seen) == 1:
            raise RuntimeError("a bug")

    async def broken(backend: Backend, call: HookCall) -> HookAnswer:
        if len(seen) < 2:
            await backend.call(call)
        raise RuntimeError("another bug")

    assert deliver(tmp_path / "a", [PythonBackend(hook)], call_about()).failed_attempts == 1

    async def run() -> None:
        async with running(tmp_path / "b", [Recording()], longest_pause=0.1, invoke=broken) as delivery:
            delivery.add(call_about())
            await until(lambda: delivery.failed_attempts >= 2)

    asyncio.run(run())


def test_what_nobody_wants_for_long_is_put_aside_and_the_next_has_its_turn(tmp_path: Path) -> None:
    recording = Recording(failures=3)
    delivery = deliver(
        *(tmp_path, [recording], call_about(call_id="1"), call_about(call_id="2")),
        give_up_after=0.1,
        longest_pause=0.06,
    )
    assert delivery.dead_letters >= 1
    assert recording.ids[0] == "1"
    assert recording.ids[-1] == "2"
    dead = files(tmp_path)
    assert len(dead) == delivery.dead_letters
    assert {path.parent.name for path in dead} == {"dead"}
    assert b'"CallID":"1"' in b"".join(path.read_bytes() for path in dead)


def test_the_time_that_no_server_ran_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery_in(tmp_path, [Recording()]).add(call_about())
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 100_000)
    recording = Recording(failures=2)
    delivery = deliver(tmp_path, [recording], call_about("other"), give_up_after=500.0)
    assert delivery.dead_letters == 0
    assert sorted(set(recording.ids)) == ["call-1"]
    assert len(recording.ids) == 4


# --- order and concurrency ---


def test_a_slow_upload_holds_nobody_up(tmp_path: Path) -> None:
    recording = Recording(at_once=16)
    calls = [call_about(str(number), call_id=str(number)) for number in range(16)]
    deliver(tmp_path, [recording], *calls, concurrency=16)
    assert recording.most_at_once == 16


def test_no_back_end_is_asked_more_often_at_once_than_it_may(tmp_path: Path) -> None:
    recording = Recording(at_once=3)
    deliver(tmp_path, [recording], *[call_about(str(number)) for number in range(21)], concurrency=3)
    assert recording.most_at_once == 3


def test_calls_about_one_upload_are_never_under_way_together(tmp_path: Path) -> None:
    recording = Recording(seconds=0.01)
    deliver(tmp_path, [recording], *[call_about(call_id=str(number)) for number in range(20)])
    assert recording.most_at_once == 1
    assert recording.ids == [str(number) for number in range(20)]


# --- headers at rest ---

SECRETS = {"Authorization": ["s3cret"], "Cookie": ["s3cret"], "X-Key": ["s3cret"], "Accept": ["*/*"]}


def test_credentials_go_with_a_call_but_not_to_the_disk(tmp_path: Path) -> None:
    async def run() -> None:
        backends = [backend(hooks.url, forward_headers=["Authorization"])]
        async with running(tmp_path, backends, forget_headers=["x-kEY"]) as delivery:
            delivery.add(call_about(header=SECRETS))
            await until(lambda: delivery.failed_attempts)
            (path,) = files(tmp_path)
            assert b"s3cret" not in path.read_bytes()
            assert b'"Accept":["*/*"]' in path.read_bytes()
            await until(lambda: delivery.delivered)

    with receiver(Reply(500), Reply()) as hooks:
        asyncio.run(run())
    for request in hooks.received:
        assert request.header("Authorization") == "s3cret"
        assert request.document["Event"]["HTTPRequest"]["Header"] == SECRETS


# --- processes ---


def start_process(directory: Path, url: str, *uploads: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.hooks.delivering", str(directory / "hooks"), url, *uploads]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "delivering\n"
    return process


def stop(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.kill()
        process.wait(DEADLINE)
        assert process.stdout is not None
        process.stdout.close()


def told(hooks: Receiver) -> list[str]:
    return [f"{body['Event']['Upload']['ID']}-{body['Type']}" for body in hooks.bodies]


def test_a_kill_in_the_middle_of_a_delivery_loses_nothing(tmp_path: Path) -> None:
    with receiver(Reply(delay=60)) as slow:
        first = start_process(tmp_path, slow.url, "abc")
        eventually(lambda: slow.received)
        stop(first)
        assert told(slow) == ["abc-post-create"]
        assert len(files(tmp_path)) == 2
    with receiver() as hooks:
        second = start_process(tmp_path, hooks.url)
        eventually(lambda: not files(tmp_path))
        stop(second)
    assert told(hooks) == ["abc-post-create", "abc-post-finish"]
    assert hooks.bodies[0] == slow.bodies[0]


def test_processes_with_one_directory_deliver_no_call_at_the_same_time(tmp_path: Path) -> None:
    uploads = [f"upload{number}" for number in range(8)]
    with receiver(Reply(delay=0.05)) as hooks:
        processes = [
            start_process(tmp_path, hooks.url, *uploads[:4]),
            start_process(tmp_path, hooks.url, *uploads[4:]),
            start_process(tmp_path, hooks.url),
        ]
        eventually(lambda: not files(tmp_path))
        stop(*processes)
    assert Counter(told(hooks)) == {
        f"{upload}-{event}": 1 for upload in uploads for event in ("post-create", "post-finish")
    }
    for upload in uploads:
        assert [text for text in told(hooks) if text.startswith(upload)] == [
            f"{upload}-post-create",
            f"{upload}-post-finish",
        ]


def test_another_process_takes_over_what_a_killed_one_was_about_to_do_again(tmp_path: Path) -> None:
    with receiver(Reply(500), Reply(500), Reply()) as hooks:
        first = start_process(tmp_path, hooks.url, "abc")
        second = start_process(tmp_path, hooks.url)
        eventually(lambda: hooks.received)
        stop(first)
        eventually(lambda: not files(tmp_path))
        stop(second)
    assert told(hooks)[-2:] == ["abc-post-create", "abc-post-finish"]


def test_a_directory_that_cannot_be_read_is_looked_at_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recording = Recording()

    async def run() -> None:
        async with running(tmp_path, [recording], rescan_interval=0.05) as delivery:
            delivery.add(call_about(call_id="1"))
            await until(lambda: recording.ids == ["1"])
            os.rename(tmp_path / "hooks", tmp_path / "elsewhere")
            await until(lambda: caplog.records)
            os.rename(tmp_path / "elsewhere", tmp_path / "hooks")
            delivery.add(call_about(call_id="2"))
            await until(lambda: recording.ids == ["1", "2"])

    asyncio.run(run())


def test_calls_for_a_back_end_that_is_gone_wait_for_it(tmp_path: Path) -> None:
    gone = Recording("gone")
    delivery_in(tmp_path, [gone]).add(call_about())

    async def run() -> None:
        async with running(tmp_path, [Recording()], rescan_interval=0.05) as delivery:
            await until(lambda: delivery.count_queued() == 1)

    asyncio.run(run())
    assert len(files(tmp_path)) == 1
