"""What a state promises, by both kinds: exclusion, taking over, work in line, and nothing left behind."""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.calling import in_loop
from tests.running import DEADLINE
from tests.state.places import COUNTING, SOON, Place, descriptors_of, obedient_holder, refusal
from tusd_py.core import errors
from tusd_py.service.threads import Threads
from tusd_py.state import SETTLED, State

# --- within a process ---


def test_a_hold_gives_the_file_open_for_writing(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state, state.hold("abc", str(place.data), timeout=0) as hold:
            assert hold.key == "abc"
            os.pwrite(hold.descriptor, b"hello", 0)

    in_loop(test)
    assert place.data.read_bytes() == b"hello"


def test_an_upload_is_held_by_one_at_a_time(place: Place) -> None:
    inside: list[int] = []

    async def test() -> None:
        async with place.state() as state, place.state() as another:

            async def work(state: State, number: int) -> None:
                for _ in range(5):
                    async with state.hold("abc", str(place.data), timeout=DEADLINE):
                        inside.append(number)
                        await asyncio.sleep(0)
                        assert inside == [number]
                        inside.remove(number)

            await asyncio.gather(*(work(state if number % 2 else another, number) for number in range(6)))

    in_loop(test)


def test_different_uploads_are_held_side_by_side(place: Place) -> None:
    async def test() -> None:
        (place.directory / "second").touch()
        async with (
            place.state() as state,
            state.hold("abc", str(place.data), timeout=0) as first,
            state.hold("second", str(place.directory / "second"), timeout=0) as second,
        ):
            assert os.path.samestat(os.fstat(first.descriptor), place.data.stat())
            assert os.path.samestat(os.fstat(second.descriptor), (place.directory / "second").stat())

    in_loop(test)


def test_with_no_time_to_wait_the_answer_comes_at_once_and_nobody_is_asked(place: Place) -> None:
    async def test() -> None:
        asked: list[int] = []
        async with place.state() as state, place.state() as another:
            data = place.data
            async with state.hold("abc", str(data), timeout=0, on_wanted=lambda: asked.append(1)):
                before = time.monotonic()
                for newcomer in (state, another):
                    assert (await refusal(newcomer, data)).problem is errors.UPLOAD_LOCKED
                assert time.monotonic() - before < SOON
                await asyncio.sleep(0)
            assert asked == []

    in_loop(test)


def test_a_holder_that_does_not_let_go_is_asked_and_then_the_newcomer_gives_up(place: Place) -> None:
    async def test() -> None:
        asked: list[int] = []
        async with place.state() as state:
            async with state.hold("abc", str(place.data), timeout=0, on_wanted=lambda: asked.append(1)):
                before = time.monotonic()
                error = await refusal(state, place.data, timeout=0.3)
                assert 0.25 < time.monotonic() - before < 0.3 + SOON
            assert error.problem is errors.UPLOAD_LOCKED
            assert asked
            async with state.hold("abc", str(place.data), timeout=0):
                pass

    in_loop(test)


def test_a_holder_that_lets_go_is_replaced_soon(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state, place.state() as another:
            for newcomer in (state, another):
                async with obedient_holder(state, place.data):
                    before = time.monotonic()
                    async with newcomer.hold("abc", str(place.data), timeout=DEADLINE):
                        assert time.monotonic() - before < SOON

    in_loop(test)


def test_a_hold_ends_with_an_error_in_its_block(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state:
            with pytest.raises(ValueError, match="failed"):
                async with state.hold("abc", str(place.data), timeout=0):
                    raise ValueError("failed")
            async with state.hold("abc", str(place.data), timeout=0):
                pass

    in_loop(test)


def test_shared_holds_go_together_and_keep_out_one_that_is_alone(place: Place) -> None:
    async def test() -> None:
        data = place.data
        first, second = asyncio.Event(), asyncio.Event()
        async with place.state() as state, AsyncExitStack() as holds:
            for asked in (first, second):
                hold = state.hold("abc", str(data), shared=True, timeout=0, on_wanted=asked.set)
                await holds.enter_async_context(hold)
            assert (await refusal(state, data)).problem is errors.UPLOAD_LOCKED
            assert (await refusal(state, data, timeout=0.05)).problem is errors.UPLOAD_LOCKED
            assert first.is_set()
            assert second.is_set()
            await holds.aclose()
            async with state.hold("abc", str(data), timeout=0):
                assert (await refusal(state, data, shared=True)).problem is errors.UPLOAD_LOCKED

    in_loop(test)


def test_an_upload_stays_held_until_the_last_shared_hold_has_ended(place: Place) -> None:
    async def test() -> None:
        data = str(place.data)
        async with place.state() as state, state.hold("abc", data, shared=True, timeout=0):
            async with state.hold("abc", data, shared=True, timeout=0):
                pass
            assert (await refusal(state, place.data)).problem is errors.UPLOAD_LOCKED

    in_loop(test)


# --- slots ---


def test_a_slot_is_held_by_one_at_a_time_and_others_beside_it(place: Place) -> None:
    async def test() -> None:
        data = place.data
        async with place.state() as state, place.state() as another:
            async with state.hold("abc", str(data), slot=3, timeout=0):
                for newcomer in (state, another):
                    assert (await refusal(newcomer, data, slot=3)).problem is errors.UPLOAD_LOCKED
                    for slot in (0, 2, 4, 10**9):
                        async with newcomer.hold("abc", str(data), slot=slot, timeout=0):
                            pass
            async with another.hold("abc", str(data), slot=3, timeout=0):
                assert (await refusal(state, data, slot=3)).problem is errors.UPLOAD_LOCKED

    in_loop(test)


def test_no_two_are_ever_in_a_slot_at_once(place: Place) -> None:
    inside: set[int] = set()

    async def test() -> None:
        async with place.state() as state, place.state() as another:

            async def work(state: State, slot: int) -> None:
                for _ in range(5):
                    async with state.hold("abc", str(place.data), slot=slot, timeout=DEADLINE):
                        assert slot not in inside
                        inside.add(slot)
                        await asyncio.sleep(0)
                        inside.remove(slot)

            await asyncio.gather(*(work(state if number % 2 else another, number % 3) for number in range(9)))

    in_loop(test)


def test_chunks_come_side_by_side_and_who_ends_the_upload_is_alone(place: Place) -> None:
    """A chunk is a shared hold on the data and a slot in the marks; who wants all of it asks for the end of both."""

    async def test() -> None:
        data, marks = place.data, place.directory / "marks"
        marks.touch()
        asked = [asyncio.Event(), asyncio.Event()]
        async with place.state() as state, place.state() as another, AsyncExitStack() as chunks:
            for number, holder in enumerate((state, another)):
                whole = holder.hold("abc", str(data), shared=True, timeout=0, on_wanted=asked[number].set)
                await chunks.enter_async_context(whole)
                slot = holder.hold("abc", str(marks), slot=number, timeout=0)
                await chunks.enter_async_context(slot)
            assert (await refusal(state, data, timeout=0.05)).problem is errors.UPLOAD_LOCKED
            for event in asked:
                await event.wait()
            await chunks.aclose()
            async with state.hold("abc", str(data), timeout=0):
                assert (await refusal(another, data, shared=True)).problem is errors.UPLOAD_LOCKED

    in_loop(test)


def test_a_slot_says_nothing_about_the_whole(place: Place) -> None:
    async def test() -> None:
        data = place.data
        async with (
            place.state() as state,
            state.hold("abc", str(data), slot=0, timeout=0),
            state.hold("abc", str(data), timeout=0),
        ):
            assert (await refusal(state, data, slot=0)).problem is errors.UPLOAD_LOCKED

    in_loop(test)


def test_a_slot_is_kept_while_others_open_and_close_the_file(place: Place) -> None:
    """The older kind of lock on a part of a file is lost when the process closes any descriptor of that."""

    async def test() -> None:
        data = place.data
        async with (
            place.state() as state,
            place.state() as another,
            state.hold("abc", str(data), slot=0, timeout=0) as hold,
        ):
            with data.open("r+b"):
                pass
            async with state.hold("abc", str(data), slot=1, timeout=0):
                pass
            assert (await refusal(another, data, slot=0)).problem is errors.UPLOAD_LOCKED
            os.pwrite(hold.descriptor, b"hello", 0)

    in_loop(test)
    assert place.data.read_bytes() == b"hello"


def test_the_holder_of_a_slot_is_asked_and_replaced_soon_and_no_other_is(place: Place) -> None:
    async def test() -> None:
        data = str(place.data)
        others: list[int] = []
        async with (
            place.state() as state,
            place.state() as another,
            state.hold("abc", data, slot=4, timeout=0, on_wanted=lambda: others.append(4)),
            state.hold("abc", data, shared=True, timeout=0, on_wanted=lambda: others.append(0)),
        ):
            for newcomer in (state, another):
                async with obedient_holder(state, place.data, slot=3):
                    before = time.monotonic()
                    async with newcomer.hold("abc", data, slot=3, timeout=DEADLINE):
                        assert time.monotonic() - before < SOON
            assert others == []

    in_loop(test)


# --- files that go away or are replaced ---


def test_an_upload_that_is_not_there_cannot_be_held(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state:
            assert (await refusal(state, place.directory / "missing")).problem is errors.UPLOAD_NOT_FOUND

    in_loop(test)


def test_who_waits_for_an_upload_that_is_removed_is_told(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state:
            async with state.hold("abc", str(place.data), timeout=0):
                newcomer = asyncio.create_task(refusal(state, place.data, timeout=DEADLINE))
                await asyncio.sleep(0)
                place.data.unlink()
            assert (await newcomer).problem is errors.UPLOAD_NOT_FOUND

    in_loop(test)


def test_a_file_that_was_replaced_is_held_in_its_new_form(place: Place) -> None:
    """Each holder puts another file in the place of the data, so a lock on what was there before is worth nothing."""

    async def test() -> None:
        async with place.state() as state, place.state() as another:
            data = place.data

            async def work(state: State, number: int) -> None:
                for _ in range(20):
                    async with state.hold("abc", str(data), timeout=DEADLINE) as hold:
                        await asyncio.sleep(0)
                        assert os.path.samestat(os.fstat(hold.descriptor), data.stat())
                        (place.directory / f"new-{number}").touch()
                        (place.directory / f"new-{number}").replace(data)

            await asyncio.gather(*(work(state if number % 2 else another, number) for number in range(4)))

    in_loop(test)


def test_what_cannot_be_opened_is_trouble_of_the_store(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state:
            (place.directory / "folder").mkdir()
            assert (await refusal(state, place.directory / "folder")).problem is errors.STORE_UNAVAILABLE

    in_loop(test)


# --- between two processes ---

of_each_part = pytest.mark.parametrize("slot", [None, 3], ids=["whole", "slot"])


@of_each_part
def test_a_hold_of_another_process_keeps_us_out_of_what_it_is_of(place: Place, slot: int | None) -> None:
    async def test() -> None:
        data = str(place.data)
        async with place.state() as state:
            with place.other_process(slot=slot, end="when told") as other:
                await other.has_begun_to_hold()
                assert (await refusal(state, place.data, slot=slot)).problem is errors.UPLOAD_LOCKED
                for free in {None, 2, 3} - {slot}:
                    async with state.hold("abc", data, slot=free, timeout=0):
                        pass
                other.tell()
                assert await other.line() == "released"
                async with state.hold("abc", data, slot=slot, timeout=0):
                    pass

    in_loop(test)


@of_each_part
def test_a_holder_in_another_process_is_asked_and_replaced_soon(place: Place, slot: int | None) -> None:
    async def test() -> None:
        async with place.state() as state:
            with place.other_process(slot=slot) as other:
                await other.has_begun_to_hold()
                before = time.monotonic()
                async with state.hold("abc", str(place.data), slot=slot, timeout=DEADLINE):
                    assert time.monotonic() - before < SOON
                assert await other.line() == "released"

    in_loop(test)


@of_each_part
def test_another_process_asks_us_and_replaces_us_soon(place: Place, slot: int | None) -> None:
    async def test() -> None:
        async with place.state() as state:
            wanted = asyncio.Event()
            with place.other_process(slot=slot) as other:
                async with state.hold("abc", str(place.data), slot=slot, timeout=0, on_wanted=wanted.set):
                    assert await other.line() == "waiting"
                    began = time.monotonic()
                    await wanted.wait()
                    assert time.monotonic() - began < SOON
                released = time.monotonic()
                assert await other.line() == "held"
                assert time.monotonic() - released < SOON

    in_loop(test)


@of_each_part
def test_a_killed_process_loses_its_hold(place: Place, slot: int | None) -> None:
    async def test() -> None:
        async with place.state() as state:
            with place.other_process(slot=slot, end="when told") as other:
                await other.has_begun_to_hold()
                other.kill()
                async with state.hold("abc", str(place.data), slot=slot, timeout=place.after_death):
                    pass

    in_loop(test)


def test_shared_holds_go_together_across_processes(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state:
            with place.other_process(shared=True, end="when told") as other:
                await other.has_begun_to_hold()
                async with state.hold("abc", str(place.data), shared=True, timeout=0):
                    pass
                assert (await refusal(state, place.data)).problem is errors.UPLOAD_LOCKED

    in_loop(test)


def test_two_processes_never_hold_an_upload_at_once(place: Place) -> None:
    """Both count up in the file, in two steps: a number would be lost if they met."""
    with place.running(COUNTING, str(place.data)) as one, place.running(COUNTING, str(place.data)) as two:
        others = (one, two)
        assert [other.read_line() for other in others] == ["ready", "ready"]
        for other in others:
            other.tell()
        assert [other.process.wait(2 * DEADLINE) for other in others] == [0, 0]
    assert place.data.read_bytes() == b"30"


# --- nothing is left behind ---


def test_a_cancelled_newcomer_leaves_no_descriptor_and_no_lock(place: Place) -> None:
    """Cancelled after so many turns of the loop, so that it is met in each of its waits."""

    async def test() -> None:
        async with place.state() as state:
            data = place.data
            await refusal(state, place.directory / "missing")
            before = descriptors_of(place.data)
            for free in (False, True):
                for turns in range(30):
                    async with AsyncExitStack() as stack:
                        if not free:
                            await stack.enter_async_context(state.hold("abc", str(data), timeout=0))
                        newcomer = asyncio.create_task(hold_for_ever(state, data))
                        for _ in range(turns):
                            await asyncio.sleep(0)
                        newcomer.cancel()
                        with pytest.raises(asyncio.CancelledError):
                            await newcomer
                    async with state.hold("abc", str(data), timeout=DEADLINE):
                        pass
            assert descriptors_of(place.data) == before

    async def hold_for_ever(state: State, path: Path) -> None:
        async with state.hold("abc", str(path), timeout=DEADLINE):
            await asyncio.Event().wait()

    in_loop(test)


def test_a_newcomer_that_gave_up_leaves_no_descriptor(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state, state.hold("abc", str(place.data), timeout=0):
            await refusal(state, place.data)
            before = descriptors_of(place.data)
            for timeout in (0, 0.001, 0.02):
                await refusal(state, place.data, timeout=timeout)
            await refusal(state, place.directory / "missing")
            assert descriptors_of(place.data) == before

    in_loop(test)


def test_a_state_that_was_never_started_holds_and_closes_all_the_same(place: Place) -> None:
    async def test() -> None:
        place.prepare()
        threads = Threads("state", 1)
        state = place.unstarted(threads)
        async with state.hold("abc", str(place.data), timeout=0):
            assert (await refusal(state, place.data, timeout=0.01)).problem is errors.UPLOAD_LOCKED
        await state.close()
        threads.close()
        assert list(place.run.iterdir()) == []

    in_loop(test)


# --- what processes let each other know ---


def test_what_one_announces_the_others_hear_and_only_they(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state, place.state() as another:
            at_home: list[str] = []
            elsewhere: asyncio.Queue[str] = asyncio.Queue()
            for event in (SETTLED, "other"):
                state.listen(event, at_home.append)
            another.listen(SETTLED, elsewhere.put_nowait)
            for event in ("other", SETTLED):
                state.announce(event, f"of {event}")
            assert await elsewhere.get() == f"of {SETTLED}"
            assert elsewhere.empty()
            assert at_home == []

    in_loop(test)


def test_an_upload_that_expired_in_one_process_has_expired_in_all(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state, place.state() as another:
            assert not await another.is_buried("abc")
            await state.bury("abc")
            assert await state.is_buried("abc")
            assert await another.is_buried("abc")
            assert not await another.is_buried("abcd")

    in_loop(test)


def test_nothing_is_in_the_way_of_uploads(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state:
            await state.check()
            assert state.trouble() == ""

    in_loop(test)


# --- work in line ---


def test_work_that_one_puts_in_line_is_done_by_whoever_comes_to_it(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state, place.state() as another:
            for item in ("first", "second"):
                state.queue.put(item)
                assert await another.queue.take() == item
                another.queue.done(item)

    in_loop(test)


def test_work_is_taken_in_its_order_and_once_however_often_it_is_named(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state:
            for item in ("a", "b", "a", "c"):
                state.queue.put(item)
            state.queue.refill(["a", "b", "c", "d"])
            taken = []
            for _ in range(4):
                taken.append(await state.queue.take())
                state.queue.done(taken[-1])
            assert taken == ["a", "b", "c", "d"]
            state.queue.put("a")  # it may be done again
            assert await state.queue.take() == "a"

    in_loop(test)


def test_several_who_wait_for_work_all_get_some(place: Place) -> None:
    async def test() -> None:
        async with place.state() as state:
            waiting = [asyncio.create_task(state.queue.take()) for _ in range(3)]
            await asyncio.sleep(0)
            state.queue.refill(["a", "b", "c"])
            assert sorted(await asyncio.gather(*waiting)) == ["a", "b", "c"]

    in_loop(test)
