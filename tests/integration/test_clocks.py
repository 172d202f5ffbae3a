"""Clocks that are wrong: writing goes on, in a sensible order, and nobody is dragged along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.machines import (
    DAY_MS,
    NOW_MS,
    TIMEOUT_S,
    Clocks,
    RelayHouse,
    incarnations,
    linked,
    opened,
    reading,
    relay_house,
)
from tests.stores import all_records, folder, give
from weft_engine.limits import CLOCK_SKEW_MS_MAX
from weft_engine.names import event_id_hlc
from weft_engine.records.clock import hlc_ms
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.storage.ledger import SKEWED
from weft_engine.storage.verify import verify
from weft_engine.sync.driving.link import Link

CHAT = "acme/chat"
HOUR_MS = 3_600_000
FUTURE_MS = NOW_MS + 13 * 365 * DAY_MS
"""In 2036."""


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


async def append_ms(replica: Replica, text: str, context: str = CHAT) -> int:
    """Append; the time of the event."""
    (id_,) = await replica.context(context).append(text)
    return hlc_ms(event_id_hlc(id_))


def highest_ms(store: Path, context: str = CHAT) -> int:
    """The time up to which a context moves clocks."""
    with reading(store) as connection:
        (hlc,) = connection.execute(
            "SELECT hlc FROM contexts WHERE name = ?", (context,)
        ).fetchone()
    return int.from_bytes(hlc, "big") >> 16


def is_sound(store: Path) -> bool:
    return not verify(store, progress=lambda *_: None).findings


@asynccontextmanager
async def greeted(replica: Replica, house: RelayHouse) -> AsyncIterator[Link]:
    """A link over which the hello of the relay has come."""
    async with linked(replica, house) as link:
        await link.synced(timeout=TIMEOUT_S)
        yield link


async def shown(chat: Context) -> tuple[list[str], str]:
    return [said.id async for said in chat.history()], (await chat.view()).fingerprint


async def shows_what_the_file_says(replica: Replica) -> bool:
    async with opened(replica.path, readonly=True) as fresh:
        return await shown(fresh.context(CHAT)) == await shown(replica.context(CHAT))


# ---- a clock that was years ahead -----------------------------------------------------------


async def test_a_device_that_once_ran_in_2036_writes_at_the_right_time_again(place: Path) -> None:
    store = place / "s.db"
    async with opened(store, clocks=Clocks(FUTURE_MS)) as replica:
        for number in range(3):
            assert await append_ms(replica, f"future {number}") >= FUTURE_MS
            await append_ms(replica, f"future {number}", "acme/other")
    clocks = Clocks()
    async with opened(store, clocks=clocks) as replica:
        chat = replica.context(CHAT)
        assert len((await chat.view()).messages) == 3
        for number in range(5):
            assert abs(await append_ms(replica, f"now {number}") - clocks.wall_ms) < 1_000
            assert await shows_what_the_file_says(replica)
        await chat.append({"role": "assistant", "content": "Yes?"}, view=await chat.view())
        assert abs(await append_ms(replica, "now other", "acme/other") - clocks.wall_ms) < 1_000
        await append_ms(replica, "after the answer")
        assert await shows_what_the_file_says(replica)
        texts = [said["content"] for said in (await chat.view()).openai()]
        # Unanswered questions are sorted by their time; what was answered stays in front.
        assert texts[-2:] == ["Yes?", "after the answer"]
        assert set(texts[:3]) == {"now 0", "now 1", "now 2"}
    assert len(set(incarnations(store))) == 2
    assert highest_ms(store) < NOW_MS + DAY_MS
    with reading(store) as connection:
        flagged = connection.execute("SELECT count(*) FROM records WHERE flags <> 0").fetchone()
    assert flagged == (6,)
    assert is_sound(store)
    # And it stays so.
    async with opened(store, clocks=clocks) as replica:
        assert abs(await append_ms(replica, "later") - clocks.wall_ms) < 1_000
    assert len(set(incarnations(store))) == 2


async def test_a_clock_that_is_set_right_while_it_runs(place: Path) -> None:
    store = place / "s.db"
    clocks = Clocks(FUTURE_MS)
    async with opened(store, clocks=clocks, is_monotonic=True) as replica:
        await append_ms(replica, "future")
        clocks.wall_ms = NOW_MS
        for number in range(5):
            assert abs(await append_ms(replica, f"now {number}") - clocks.wall_ms) < 1_000
            assert await shows_what_the_file_says(replica)
    who = incarnations(store)
    assert [who.index(one) for one in who] == [0, 1, 1, 1, 1, 1]
    assert is_sound(store)


async def test_nobody_is_dragged_into_the_future_of_another(place: Path) -> None:
    async with (
        opened(place / "a.db", clocks=Clocks(FUTURE_MS)) as a,
        opened(place / "b.db") as b,
    ):
        await append_ms(a, "future")
        await append_ms(b, "before")
        await give(a, b)
        assert await append_ms(b, "after") < NOW_MS + HOUR_MS
        flags = [stored.flags for stored in await all_records(b)]
        assert flags == [0, SKEWED, 0]
        await give(b, a)
        assert len(set(incarnations(place / "b.db"))) == 2
    assert is_sound(place / "a.db")
    assert is_sound(place / "b.db")


async def test_nothing_that_is_written_is_stamped_again(place: Path) -> None:
    store = place / "s.db"
    async with opened(store, clocks=Clocks(FUTURE_MS)) as replica:
        await append_ms(replica, "future")
        before = (await all_records(replica))[0]
    async with opened(store) as replica:
        await append_ms(replica, "now")
        after = (await all_records(replica))[0]
    assert before.record == after.record
    assert (before.flags, after.flags) == (0, SKEWED)


# ---- a clock that steps back ----------------------------------------------------------------


@pytest.mark.parametrize("is_monotonic", [False, True])
async def test_a_clock_that_steps_back_a_day_runs_the_counter(
    place: Path, is_monotonic: bool
) -> None:
    store = place / "s.db"
    clocks = Clocks()
    ids: list[str] = []
    async with opened(store, clocks=clocks, is_monotonic=is_monotonic) as replica:
        chat = replica.context(CHAT)
        ids += await chat.append("1")
        clocks.wall_ms -= DAY_MS
        for number in range(5):
            ids += await chat.append(f"{number}")
        assert await shows_what_the_file_says(replica)
    async with opened(store, clocks=clocks) as replica:
        chat = replica.context(CHAT)
        ids += await chat.append("last")
        assert [said.id async for said in chat.history()] == ids
    assert sorted(ids) == ids
    # With a monotonic clock the step is seen: once.
    assert len(set(incarnations(store))) == 1 + is_monotonic
    assert is_sound(store)


async def test_a_clock_without_a_battery_starts_in_1970(place: Path) -> None:
    store = place / "s.db"
    async with opened(store) as replica:
        ids = await replica.context(CHAT).append(["1", "2"])
    async with opened(store, clocks=Clocks(0)) as replica:
        ids += await replica.context(CHAT).append("3")
        assert [said.id async for said in replica.context(CHAT).history()] == ids
    assert flags_of(store) == [0, 0]


def flags_of(store: Path) -> list[int]:
    with reading(store) as connection:
        return [row[0] for row in connection.execute("SELECT flags FROM records")]


# ---- what a relay says ----------------------------------------------------------------------


@pytest.mark.parametrize("off_ms", [HOUR_MS, DAY_MS, -HOUR_MS, 5_000, -5_000])
async def test_a_relay_sets_the_clock_right(place: Path, off_ms: int) -> None:
    right = Clocks()
    async with relay_house(place / "r.db", clocks=right) as house:
        async with opened(place / "a.db", clocks=Clocks(NOW_MS + off_ms)) as a:
            assert abs(await append_ms(a, "before") - NOW_MS - off_ms) < 1_000
            async with greeted(a, house):
                for number in range(3):
                    found = await append_ms(a, f"corrected {number}")
                    # Up to a minute ahead it waits for the time to catch up.
                    assert -1_000 < found - right.wall_ms < 6_000
                    assert await shows_what_the_file_says(a)
            # It holds when the link is gone.
            assert abs(await append_ms(a, "offline") - right.wall_ms) < 6_000
    assert len(set(incarnations(place / "a.db"))) == 1 + (off_ms > CLOCK_SKEW_MS_MAX)
    assert is_sound(place / "a.db")
    assert is_sound(place / "r.db")


async def test_a_stream_opened_before_the_clock_was_set_right_is_not_refused(place: Path) -> None:
    right = Clocks()
    async with relay_house(place / "r.db", clocks=right) as house:
        async with opened(place / "a.db", clocks=Clocks(NOW_MS + HOUR_MS)) as a:
            chat = a.context(CHAT)
            async with chat.stream() as growing:
                await growing.write("whole")
                await growing.flush()
                async with greeted(a, house):
                    # Another incarnation writes from here on, whose time is an hour earlier.
                    await append_ms(a, "meanwhile")
                await growing.write(" answer")
            async with greeted(a, house):
                assert abs(await append_ms(a, "after") - right.wall_ms) < 6_000
                assert await shows_what_the_file_says(a)
                before = await shown(chat)
            assert growing.id in before[0]
            texts = [said["content"] for said in (await chat.view()).openai()]
            assert sorted(texts) == ["after", "meanwhile", "whole answer"]
        async with opened(place / "r.db", readonly=True) as relay:
            assert await shown(relay.context(CHAT)) == before
    assert is_sound(place / "a.db")
    assert is_sound(place / "r.db")


async def test_a_difference_below_a_second_corrects_nothing(place: Path) -> None:
    async with relay_house(place / "r.db", clocks=Clocks()) as house:
        clocks = Clocks(NOW_MS - 800)
        async with opened(place / "a.db", clocks=clocks) as a, greeted(a, house):
            assert abs(await append_ms(a, "1") - clocks.wall_ms) < 10


async def test_a_relay_in_1970_corrects_nobody(place: Path) -> None:
    async with relay_house(place / "r.db", clocks=Clocks(0)) as house:
        async with opened(place / "a.db") as a:
            ids = await a.context(CHAT).append("1")
            async with greeted(a, house) as link:
                ids += await a.context(CHAT).append("2")
                ids += await a.context(CHAT).append("3")
                await link.synced(timeout=TIMEOUT_S)
                assert [said.id async for said in a.context(CHAT).history()] == ids
    assert len(set(incarnations(place / "a.db"))) == 1
    # Refused for its time is nothing: the relay has it all, and moves no clock by it.
    assert flags_of(place / "r.db") == [SKEWED] * 3


async def test_clients_of_a_relay_that_is_a_day_behind_agree(place: Path) -> None:
    async with relay_house(place / "r.db", clocks=Clocks(NOW_MS - DAY_MS)) as house:
        async with opened(place / "a.db") as a, opened(place / "b.db") as b:
            await append_ms(a, "before")
            async with greeted(a, house) as link_a, greeted(b, house) as link_b:
                for number in range(4):
                    for one in (a, b):
                        assert await append_ms(one, f"{number}") < NOW_MS - DAY_MS + HOUR_MS
                for link in (link_a, link_b):
                    await link.synced(timeout=TIMEOUT_S)
    # One more for who wrote before, none for who did not.
    assert len(set(incarnations(place / "r.db"))) == 3


async def test_an_end_with_a_region_goes_by_its_own_clock(place: Path) -> None:
    clocks = Clocks(NOW_MS - HOUR_MS)
    async with relay_house(place / "r.db", clocks=Clocks()) as house:
        async with opened(place / "s.db", clocks=clocks) as other:
            link = Link(house.connect(), other, region="us")
            async with greeted_link(link):
                assert abs(await append_ms(other, "1") - clocks.wall_ms) < 1_000


@asynccontextmanager
async def greeted_link(link: Link) -> AsyncIterator[None]:
    running = asyncio.create_task(link.run())
    try:
        await link.until(lambda: link.session.peer is not None, timeout=TIMEOUT_S)
        yield
    finally:
        link.close()
        await running
