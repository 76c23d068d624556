"""What is particular to the state for one host: its sockets."""

import asyncio
import socket
import time
from pathlib import Path

from tests.calling import descriptors, in_loop
from tests.running import DEADLINE
from tests.state.places import SOON, Place, obedient_holder, refusal


def place_in(directory: Path) -> Place:
    return Place(directory, "", "unused", after_death=0)


def test_a_closed_state_leaves_no_socket_and_no_descriptor(tmp_path: Path) -> None:
    async def test() -> None:
        async with place_in(tmp_path).state() as state:
            before = descriptors()
            assert len(list((tmp_path / "run").iterdir())) == 1
            async with place_in(tmp_path).state():
                await state.start()
                assert len(list((tmp_path / "run").iterdir())) == 2
            assert descriptors() <= before
        assert list((tmp_path / "run").iterdir()) == []

    in_loop(test)


def test_the_socket_of_a_killed_process_is_removed_by_the_next_who_asks(tmp_path: Path) -> None:
    async def test() -> None:
        async with place_in(tmp_path).state() as state:
            ours = set((tmp_path / "run").iterdir())
            with place_in(tmp_path).other_process(end="when told") as other:
                assert await other.line() == "waiting"
                other.process.kill()
                other.process.wait()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
                stale.bind(str(tmp_path / "run" / "1-stale"))
            assert len(list((tmp_path / "run").iterdir())) == 3
            async with state.hold("abc", str(tmp_path / "data"), timeout=0):
                await refusal(state, tmp_path / "data", timeout=0.05)
            assert set((tmp_path / "run").iterdir()) == ours

    in_loop(test)


def test_junk_on_the_socket_is_passed_over(tmp_path: Path) -> None:
    async def test() -> None:
        calls: list[int] = []
        asked = asyncio.Event()

        def on_wanted() -> None:
            calls.append(1)
            asked.set()

        async with place_in(tmp_path).state() as state:
            (address,) = (tmp_path / "run").iterdir()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                async with state.hold("abc", str(tmp_path / "data"), timeout=0, on_wanted=on_wanted):
                    for junk in (b"", b"\xff", b"x", b"x\0what\0abc", b"../x\0wanted\0abc", b"x\0wanted\0other"):
                        sender.sendto(junk, str(address))
                    sender.sendto(b"x\0wanted\0abc", str(address))
                    await asked.wait()
        assert calls == [1]

    in_loop(test)


def test_a_directory_whose_path_is_too_long_for_a_socket_address_serves_too(tmp_path: Path) -> None:
    async def test() -> None:
        directory = tmp_path / ("d" * 100) / ("e" * 100)
        directory.mkdir(parents=True)
        async with place_in(directory).state() as state, place_in(directory).state() as another:
            assert len(str(directory / "run")) > 108
            async with obedient_holder(another, directory / "data"):
                before = time.monotonic()
                async with state.hold("abc", str(directory / "data"), timeout=DEADLINE):
                    assert time.monotonic() - before < SOON

    in_loop(test)
