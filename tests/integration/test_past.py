"""Looking back: what names a moment, what is not there yet, and what it costs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import weft_engine.replica.cuts as cuts
from tests.stores import Clock, all_records, folder, give, open_replica
from tests.worlds import CONTEXT as WORLD
from tests.worlds import Author
from weft_engine.errors import CallerError, MissingRecords, NotFound, StoreClosed
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.names import RecordHash
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Record
from weft_engine.records.identity import SignatureItem, WriterKey
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica

START_MS = 1_700_000_000_000


@pytest.fixture
def place() -> Any:
    with folder() as found:
        yield found


@pytest.fixture
async def replica(place: Path) -> AsyncIterator[Replica]:
    async with open_replica(place / "s.db") as opened:
        yield opened


async def texts(history: AsyncIterator[Any]) -> list[str]:
    return [said.event.body.parts[0].text async for said in history]


# ---- what names a moment ----------------------------------------------------------------------


async def test_a_time_in_every_form(replica: Replica) -> None:
    chat = replica.context("c")
    await chat.append("one")
    first = (await chat.page())[0].time_ms
    await chat.append("two")
    moment = datetime.fromtimestamp(first / 1000, UTC).replace(microsecond=first % 1000 * 1000)
    for when in (first, moment, moment.astimezone(timezone(timedelta(hours=9)))):
        assert await texts(chat.at(when).history()) == ["one"]
        assert await chat.at(when).export() == ['{"role":"user","content":"one"}']
    assert await texts(chat.at(first - 1).history()) == []
    assert await texts(chat.at(1 << 60).history()) == ["one", "two"]


async def test_what_names_no_moment(replica: Replica) -> None:
    chat = replica.context("c")
    with pytest.raises(CallerError, match="says nothing of its time zone"):
        chat.at(datetime(2026, 11, 20))  # noqa: DTZ001 - that is the point
    wrong: list[Any] = [None, 1.5, True, b"x" * 32, [b"short"], ["x" * 32]]
    for when in wrong:
        with pytest.raises(CallerError, match="names no moment"):
            chat.at(when)
    with pytest.raises(NotFound, match="no receipt with trace id 'yesterday'"):
        await chat.at("yesterday").view()


async def test_before_everything(replica: Replica) -> None:
    for chat in (replica.context("never"), replica.context("c")):
        past = chat.at(())
        assert await past.page() == await past.page(newest=True) == []
        assert [said async for said in past.events()] == []
        assert await past.problems() == []
        assert await past.note("plan").text() == ""
        view = await past.view()
        assert view.openai() == []
        assert (await chat.at(view.receipt).view()).receipt == view.receipt
        assert await past.frontier() == await chat.at(START_MS - 1).frontier() == ()
        await replica.context("c").append("one")


async def test_records_that_are_not_here(replica: Replica) -> None:
    chat, other = replica.context("c"), replica.context("other")
    await chat.append("one")
    await other.append("two")
    (own,), (foreign,) = await chat.frontier(), await other.frontier()
    for missing in (RecordHash(b"?" * 32), foreign):
        with pytest.raises(MissingRecords) as raised:
            await chat.at((own, missing)).page()
        assert raised.value.missing == (missing,)
    with pytest.raises(MissingRecords, match="no context 'never'"):
        await replica.context("never").at((own,)).page()


async def test_a_receipt_and_its_trace_id(replica: Replica) -> None:
    chat = replica.context("c")
    await chat.append(["one", "two"])
    view = await chat.view(budget=500, trace_id="call-7")
    await chat.append("three")
    await chat.configure(budget=700)
    for when in (view.receipt, "call-7"):
        past = chat.at(when)
        assert (await past.view()).receipt == view.receipt
        assert await texts(past.history()) == ["one", "two"]
        # What is asked for beside it is answered as the context was configured then.
        assert (await past.view(budget=600)).spec.budget == 600
        assert (await past.view(reserved=0)).spec.budget == 8_000
        assert (await past.settings()).budget == 8_000
    with pytest.raises(CallerError, match="is of context 'c', not of 'd'"):
        replica.context("d").at(view.receipt)
    with pytest.raises(CallerError, match="is of context 'c', not of 'd'"):
        await replica.context("d").at("call-7").page()


async def test_an_answer_to_a_view_of_the_past_says_what_it_saw(replica: Replica) -> None:
    chat = replica.context("c")
    await chat.append("one")
    past = chat.at(await chat.frontier())
    await chat.append("two")
    answer = {"role": "assistant", "content": "to one"}
    await chat.append(answer, view=await past.view())
    assert await texts(chat.history()) == ["one", "to one", "two"]


# ---- what does not change it ------------------------------------------------------------------


async def test_a_clock_that_is_far_ahead_is_after_every_moment(place: Path) -> None:
    async with (
        open_replica(place / "ahead.db", clock=Clock(START_MS + 86_400_000)) as ahead,
        open_replica(place / "s.db") as replica,
    ):
        chat = replica.context("c")
        await ahead.context("c").append("from tomorrow")
        await chat.append("one")
        await give(ahead, replica)
        await chat.append("answers tomorrow, stamped today")
        assert await texts(chat.at(START_MS + 3_600_000).history()) == ["one"]
        assert len(await chat.at(START_MS + 2 * 86_400_000).page()) == 3


async def test_a_moment_is_settled_once(replica: Replica) -> None:
    chat = replica.context("c")
    await chat.append("one")
    past = chat.at(1 << 60)
    assert await texts(past.history()) == ["one"]
    await chat.append("two")
    assert await texts(past.history()) == ["one"]
    assert await texts(chat.at(1 << 60).history()) == ["one", "two"]


async def test_an_event_that_came_later_is_not_found(replica: Replica) -> None:
    chat = replica.context("c")
    await chat.append("one")
    past = chat.at(await chat.frontier())
    (later,) = await chat.append("two")
    with pytest.raises(NotFound, match="has no event"):
        await past.page(after=later)


async def test_histories_longer_than_a_page(replica: Replica) -> None:
    chat = replica.context("c")
    await chat.append([str(number) for number in range(450)])
    past = chat.at(await chat.frontier())
    await chat.append("later")
    expected = [str(number) for number in range(450)]
    assert await texts(past.history()) == expected
    assert await texts(past.history(newest_first=True)) == expected[::-1]
    assert await texts(past.events()) == expected
    assert await texts(past.events(newest_first=True)) == expected[::-1]


def a_theft() -> tuple[list[Record], list[SignatureItem]]:
    """Somebody writes under an id of another; then its owner's own record comes and beats it."""
    owner, thief = (Author(WriterKey(bytes([n]) * 32), HybridClock(), wall_ms=5) for n in (1, 2))
    id_ = owner.new_id()

    def said(text: str) -> bytes:
        return encode_event(Event("a", Message(Role.USER, (Text(text),))))

    thief.clock.observe(owner.clock.last)
    stolen = thief.write([(id_, said("short"))])
    owned = owner.write([(id_, said("long " * 100))])
    return [stolen, owned], [thief.key.sign(stolen.hash), owner.key.sign(owned.hash)]


async def test_an_index_that_lags_does_not_lend_its_tokens(replica: Replica) -> None:
    (stolen, owned), items = a_theft()
    chat = replica.context(WORLD)
    await replica.journal.admit([stolen], items[:1], session=b"x", now_ms=1)
    await chat.page()
    await replica.journal.admit([owned], items[1:], session=b"x", now_ms=1)
    (then,) = await chat.at([stolen.hash, owned.hash]).page()
    assert then.tokens is not None
    assert then.tokens > 100


@pytest.mark.parametrize("indexed_before", [True, False])
async def test_a_candidate_that_is_beaten_later_keeps_its_tokens_then(
    place: Path, indexed_before: bool
) -> None:
    (stolen, owned), items = a_theft()
    seen = []
    for name, records in (("few", [stolen]), ("all", [stolen, owned])):
        async with open_replica(place / f"{name}.db") as replica:
            await replica.journal.admit(records, items, session=b"x", now_ms=replica.now_ms())
            chat = replica.context(WORLD)
            if indexed_before:
                await chat.page()
            seen.append([one.tokens for one in await chat.at([stolen.hash]).page()])
            if name == "all":
                # Nor does a look at the past change what is true now.
                (now,) = await chat.page()
                (then,) = await chat.at([owned.hash]).page()
                assert now.tokens == then.tokens
                assert now.tokens is not None
                assert now.tokens > 100
    assert seen[0] == seen[1]


# ---- what it costs ----------------------------------------------------------------------------


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every fold of a cut and every replay of its document."""
    found: list[int] = []

    def counted(real: Callable[..., Any], *words: Any) -> Any:
        found.append(1)
        return real(*words)

    for name in ("at_cut", "Assembly"):
        monkeypatch.setattr(cuts, name, partial(counted, getattr(cuts, name)))
    return found


async def ask_all(chat: Context, when: Any) -> None:
    past = chat.at(when)
    await past.view()
    await past.page()
    await past.problems()
    await past.note("a").text()
    await past.note("b").text()


async def test_many_questions_at_one_cut_cost_one_fold(replica: Replica, folds: list[int]) -> None:
    chat = replica.context("c")
    moments = []
    for number in range(6):
        await chat.append(str(number))
        moments.append(await chat.frontier())
    await ask_all(chat, moments[0])
    await ask_all(chat, moments[0])
    assert len(folds) == 2
    for moment in moments:
        await ask_all(chat, moment)
    assert len(folds) == 2 * len(moments)
    # Few are kept: the first is gone by now, the last is not.
    await ask_all(chat, moments[-1])
    assert len(folds) == 2 * len(moments)
    await ask_all(chat, moments[0])
    assert len(folds) == 2 * len(moments) + 2


async def test_what_is_given_back_can_be_asked_again(replica: Replica, folds: list[int]) -> None:
    chat = replica.context("c")
    await chat.append("one")
    async with chat.at(await chat.frontier()) as past:
        assert len(await past.page()) == 1
    await past.aclose()
    assert len(await past.page()) == 1
    assert len(folds) == 2


async def test_a_closed_store_has_no_past(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("c")
        await chat.append("one")
        past = chat.at(await chat.frontier())
        await past.page()
    with pytest.raises(StoreClosed):
        await past.page()


async def test_looking_back_writes_nothing(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        await replica.context("c").append("one")
    before = (place / "s.db").read_bytes()
    async with open_replica(place / "s.db", readonly=True) as reader:
        await ask_all(reader.context("c"), START_MS + 5)
        assert len(await all_records(reader)) == 1
    assert (place / "s.db").read_bytes() == before
