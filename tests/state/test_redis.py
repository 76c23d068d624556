"""What is particular to the state in Redis: leases that end, a memory that goes, and a server that is away."""

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.calling import in_loop, until
from tests.redis_server import RedisServer, running_redis
from tests.running import DEADLINE, free_port
from tests.server.certificates import files_in
from tests.state.places import WORKING, Place, obedient_holder, refusal
from tusd_py.core import errors
from tusd_py.state import FORGOTTEN
from tusd_py.state.redis_connection import LEASE

PREFIX = "mine"
KEYS = {"leases-from", "run", "lease:abc", "lease:abc#3", "wanted:abc", "work", "work-waiting", "expired:abc"}

A_WHILE = DEADLINE / 2
"""Seconds in which everything here happens; what is promised in one has that much of slack on a busy machine."""


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A Redis that may be harmed."""
    with running_redis() as server:
        server.use(PREFIX)
        yield server


@pytest.fixture
def place(own: RedisServer, tmp_path: Path) -> Place:
    return Place(tmp_path, own.url, PREFIX, after_death=DEADLINE)


# --- keys and leases ---


def test_all_keys_have_the_prefix_as_their_hash_tag(own: RedisServer, place: Place) -> None:
    async def test() -> None:
        async with place.state() as state:
            data = str(place.data)
            async with state.hold("abc", data, timeout=0), state.hold("abc", data, slot=3, timeout=0):
                await refusal(state, place.data, timeout=0.1)
                await state.bury("abc")
                state.queue.put("f_1")
                await until(lambda: own.client.exists(f"{{{PREFIX}}}:work"))
                assert set(own.client.keys()) == {f"{{{PREFIX}}}:{name}" for name in KEYS}
            assert await state.queue.take() == "f_1"
            state.queue.done("f_1")
            await until(lambda: not own.client.xlen(f"{{{PREFIX}}}:work"))
            left = {"leases-from", "run", "work", "expired:abc"}
            assert set(own.client.keys()) == {f"{{{PREFIX}}}:{name}" for name in left}

    in_loop(test)


def test_a_hold_outlives_its_lease_many_times(own: RedisServer, place: Place) -> None:
    """The lease is renewed, so at any time it has some of its life left, and at some more than it had before."""

    async def test() -> None:
        async with place.state() as state, state.hold("abc", str(place.data), timeout=0):

            def rest() -> int:
                return int(own.client.pttl(f"{{{PREFIX}}}:lease:abc"))

            for _ in range(2):
                await until(lambda: rest() < 1000 * LEASE - 500)
                await until(lambda: rest() > 1000 * LEASE - 500)

    in_loop(test)


def test_who_cannot_renew_a_lease_has_to_stop_before_others_may_have_it(own: RedisServer, place: Place) -> None:
    async def test() -> None:
        lost = asyncio.Event()
        counted: list[str] = []
        async with place.state(counted.append) as state, place.state() as another:
            async with state.hold("abc", str(place.data), timeout=0, on_lost=lost.set):
                own.pause()
                began = time.monotonic()
                await lost.wait()
                assert time.monotonic() - began < LEASE + A_WHILE
            assert "lease_lost" in counted
            own.go_on()
            async with another.hold("abc", str(place.data), timeout=DEADLINE):
                pass

    in_loop(test)


def test_who_lost_a_lease_and_goes_on_is_asked_and_kept_from_harm_by_the_kernel(own: RedisServer, place: Place) -> None:
    async def test() -> None:
        async with place.state() as state, place.state() as another, obedient_holder(state, place.data):
            own.client.delete(f"{{{PREFIX}}}:lease:abc")  # as if it had been frozen for longer than that lives
            async with another.hold("abc", str(place.data), timeout=DEADLINE):
                pass

    in_loop(test)


# --- a memory that goes ---


def test_a_flush_takes_no_hold_away_and_gives_none_before_all_older_ones_would_be_over(
    own: RedisServer, place: Place
) -> None:
    async def test() -> None:
        lost: list[int] = []
        async with place.state() as state, place.state() as another:
            async with state.hold("abc", str(place.data), timeout=0, on_lost=lambda: lost.append(1)):
                own.flush()
                began = time.monotonic()
                other = place.directory / "other"
                other.touch()
                async with another.hold("other", str(other), timeout=DEADLINE):
                    assert time.monotonic() - began > LEASE - 0.1
                assert own.client.exists(f"{{{PREFIX}}}:lease:abc")
                assert (await refusal(another, place.data)).problem is errors.UPLOAD_LOCKED
            assert lost == []

    in_loop(test)


@pytest.mark.parametrize("remembers", [False, True])
def test_after_a_restart_none_is_given_before_all_older_ones_are_over(
    own: RedisServer, place: Place, remembers: bool
) -> None:
    """Also by one that has read an older memory from its disk, since that knows nothing of the newest leases."""

    async def test() -> None:
        async with place.state() as state:
            if remembers:
                own.client.save()
            own.kill()
            own.start()
            assert bool(own.client.keys()) == remembers
            began = time.monotonic()
            async with state.hold("abc", str(place.data), timeout=DEADLINE):
                # It counts from when somebody first spoke to the new server, which may have been before this.
                started = LEASE - own.client.info("server")["uptime_in_seconds"] - 1
                assert time.monotonic() - began > started - 0.1

    in_loop(test)


def test_what_was_in_line_is_looked_for_on_disk_when_redis_forgets_it(own: RedisServer, place: Place) -> None:
    async def test() -> None:
        counted: list[str] = []
        async with place.state(counted.append) as state, place.state() as another:
            forgotten = [asyncio.Event(), asyncio.Event()]
            state.listen(FORGOTTEN, lambda _: forgotten[0].set())
            another.listen(FORGOTTEN, lambda _: forgotten[1].set())
            own.flush()
            for event in forgotten:
                await event.wait()
                event.clear()
            own.kill()
            for event in forgotten:
                await event.wait()
            assert "down" in counted

    in_loop(test)


# --- a Redis that is away or full ---


@pytest.mark.parametrize("trouble", ["killed", "paused"])
def test_a_redis_that_is_away_is_said_at_once_and_used_again_when_it_is_back(
    own: RedisServer, place: Place, trouble: str
) -> None:
    async def test() -> None:
        counted: list[str] = []
        async with place.state(counted.append) as state:
            own.kill() if trouble == "killed" else own.pause()
            for _ in range(3):
                began = time.monotonic()
                assert (await refusal(state, place.data, timeout=DEADLINE)).problem is errors.STATE_UNAVAILABLE
                assert time.monotonic() - began < 1 + A_WHILE
            assert state.trouble()
            with pytest.raises(Exception, match="ERR_STATE_UNAVAILABLE"):
                await state.check()
            assert not await state.is_buried("abc")
            own.start() if trouble == "killed" else own.go_on()
            await until(lambda: not state.trouble())
            await state.check()
            async with state.hold("abc", str(place.data), timeout=DEADLINE):
                pass
            assert "recovered" in counted

    in_loop(test)


@pytest.mark.parametrize("trouble", ["killed", "paused", "full"])
def test_work_that_cannot_be_put_in_line_is_done_by_who_has_it(own: RedisServer, place: Place, trouble: str) -> None:
    async def test() -> None:
        async with place.state() as state:
            {"killed": own.kill, "paused": own.pause, "full": own.fill}[trouble]()
            state.queue.put("f_1")
            assert await state.queue.take() == "f_1"
            state.queue.done("f_1")
            await until(state.trouble)

    in_loop(test)


def test_a_full_redis_still_gives_leases_and_keeps_them(own: RedisServer, place: Place) -> None:
    async def test() -> None:
        lost: list[int] = []
        async with place.state() as state, place.state() as another:
            own.fill()
            async with state.hold("abc", str(place.data), timeout=0, on_lost=lambda: lost.append(1)):
                assert (await refusal(another, place.data, timeout=0.1)).problem is errors.UPLOAD_LOCKED
                lease = f"{{{PREFIX}}}:lease:abc"
                ends = own.client.zscore(lease, str(own.client.zrange(lease, 0, 0)[0]))
                await until(lambda: own.client.zcount(lease, f"({ends}", "+inf"))
            async with obedient_holder(state, place.data), another.hold("abc", str(place.data), timeout=DEADLINE):
                pass
            assert lost == []
            await state.check()

    in_loop(test)


# --- work ---


def test_what_a_killed_process_had_in_its_hands_is_done_by_another(own: RedisServer, place: Place) -> None:
    async def test() -> None:
        async with place.state() as state:
            with place.running(WORKING) as other:
                assert await other.line() == "ready"
                state.queue.put("f_1")
                assert await other.line() == "f_1"
                other.kill()
            assert await state.queue.take() == "f_1"

    in_loop(test)


def test_what_a_process_works_on_is_its_own_for_as_long_as_it_lives(own: RedisServer, place: Place) -> None:
    """Its entry is never left alone for as long as it takes to be somebody else's."""

    async def test() -> None:
        async with place.state() as state:
            state.queue.put("f_1")
            assert await state.queue.take() == "f_1"

            def idle() -> int:
                (entry,) = own.client.xpending_range(f"{{{PREFIX}}}:work", "servers", "-", "+", 1)
                return int(entry["time_since_delivered"])

            for _ in range(2):
                await until(lambda: idle() > 300)
                await until(lambda: idle() < 300)

    in_loop(test)


def test_work_that_redis_does_not_let_us_take_is_done_by_who_has_it(own: RedisServer, place: Place) -> None:
    """As with one that is older than what takes over the work of the dead (6.2)."""
    redis: Any = own.client
    redis.execute_command("ACL", "SETUSER", "default", "-xautoclaim")

    async def test() -> None:
        async with place.state() as state:
            own.client.xgroup_create(f"{{{PREFIX}}}:work", "servers", mkstream=True)
            taking = asyncio.create_task(state.queue.take())
            while not taking.done():  # its first look must have failed
                state.queue.put("f_1")
                await asyncio.sleep(0.1)
            assert taking.result() == "f_1"

    in_loop(test)


def test_work_is_found_in_a_line_whose_group_is_gone(own: RedisServer, place: Place) -> None:
    async def test() -> None:
        async with place.state() as state:
            own.client.xadd(f"{{{PREFIX}}}:work", {"item": "f_1"})
            state.queue.put("f_2")
            assert {await state.queue.take(), await state.queue.take()} == {"f_1", "f_2"}

    in_loop(test)


# --- addresses ---


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://:secret@localhost",
        "redis://",
        "redis://:sec/ret@localhost:6379",
        "redis://:secret@localhost:port",
        "redis+sentinel://:secret@localhost",
        "redis+sentinel://:secret@localhost:port/master",
        "redis+sentinel://:secret@/master",
        "redis+sentinel://:secret@localhost/master?what=else",
    ],
)
def test_an_address_that_makes_no_sense_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="redis_url must be like") as caught:
        Place(tmp_path, url, PREFIX, 0).unstarted_with_no_threads()
    assert "sec" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("prefix", ["", "a{b", "a}b", "a\nb"])
def test_a_prefix_that_is_no_hash_tag_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="redis_prefix"):
        Place(tmp_path, "redis://localhost", prefix, 0).unstarted_with_no_threads()


def test_a_password_that_is_wrong_is_trouble_and_reaches_no_log(
    own: RedisServer, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    own.client.config_set("requirepass", "right")
    wrong = Place(place.directory, f"unix://:wr0ng@{own.socket}", PREFIX, 0)

    async def test() -> None:
        wrong.prepare()
        async with wrong.state(wait=False) as state:
            assert (await refusal(state, place.data)).problem is errors.STATE_UNAVAILABLE
        right = Place(place.directory, f"unix://:right@{own.socket}", PREFIX, 0)
        async with right.state() as state, state.hold("abc", str(place.data), timeout=DEADLINE):
            pass

    in_loop(test)
    assert "wr0ng" not in caplog.text
    assert "StateError" in caplog.text


def test_a_user_with_the_rights_that_the_readme_names_has_enough(own: RedisServer, place: Place) -> None:
    (rights,) = re.findall(r"ACL SETUSER tusd on >password (.*?)`", Path("README.md").read_text())
    rights = rights.replace("{tusd-py}", f"{{{PREFIX}}}")
    redis: Any = own.client
    redis.execute_command("ACL", "SETUSER", "tusd", "on", ">password", *rights.split())
    limited = Place(place.directory, f"unix://tusd:password@{own.socket}", PREFIX, 0)

    async def test() -> None:
        async with limited.state() as state, limited.state() as another:
            async with obedient_holder(state, place.data), another.hold("abc", str(place.data), timeout=DEADLINE):
                pass
            state.queue.put("f_1")
            assert await another.queue.take() == "f_1"
            another.queue.done("f_1")
            await state.bury("abc")
            assert await another.is_buried("abc")
            own.flush()
            async with state.hold("abc", str(place.data), timeout=DEADLINE):
                pass
            await until(lambda: not own.client.xlen(f"{{{PREFIX}}}:work"))
            assert state.trouble() == ""

    in_loop(test)


def test_a_server_with_tls_is_spoken_to(own: RedisServer, tmp_path: Path) -> None:
    files = files_in(tmp_path)
    files.hold("localhost")
    port = free_port()
    own.kill()
    own.start(
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)),
    )
    own.use(PREFIX)
    place = Place(tmp_path, f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none", PREFIX, 0)
    strict = Place(tmp_path, f"rediss://127.0.0.1:{port}/0", PREFIX, 0)

    async def test() -> None:
        async with place.state() as state, state.hold("abc", str(place.data), timeout=DEADLINE):
            pass
        async with strict.state(wait=False) as state:
            assert (await refusal(state, place.data)).problem is errors.STATE_UNAVAILABLE

    in_loop(test)


def test_sentinels_lead_to_the_master_also_to_the_next_one(tmp_path: Path) -> None:
    with running_redis() as master, running_redis() as replica, running_redis() as sentinel:
        ports = [free_port() for _ in range(3)]
        for server, port in ((master, ports[0]), (replica, ports[1])):
            server.kill()
            server.start("--port", str(port), "--bind", "127.0.0.1")
        replica.client.replicaof("127.0.0.1", ports[0])
        sentinel.kill()
        configuration = sentinel.folder / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor main 127.0.0.1 {ports[0]} 1\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
        )
        sentinel.start_with(str(configuration), "--sentinel", "--port", str(ports[2]), "--bind", "127.0.0.1")
        place = Place(tmp_path, f"redis+sentinel://127.0.0.1:{ports[2]}/main/0", PREFIX, 0)

        async def test() -> None:
            async with place.state() as state:
                async with state.hold("abc", str(place.data), timeout=DEADLINE):
                    assert master.client.exists(f"{{{PREFIX}}}:lease:abc")
                await until(lambda: replica.replication().get("master_link_status") == "up")
                master.kill()
                await until(lambda: replica.replication().get("role") == "master")
                await until(lambda: not state.trouble())
                async with state.hold("abc", str(place.data), timeout=DEADLINE):
                    assert replica.client.exists(f"{{{PREFIX}}}:lease:abc")

        in_loop(test)
