"""Facts, pins, hides, revokes and closing on real stores: what an application sees, alone and when
replicas meet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.stores import Clock, folder, give, open_replica
from weft_engine.errors import (
    Conflict,
    ContextClosed,
    InvalidMessage,
    LimitExceeded,
    NotFound,
    PolicyMissing,
)
from weft_engine.events.event import (
    Body,
    Criticality,
    Event,
    Fact,
    Hide,
    Lifetime,
    Message,
    Pin,
    Revoke,
    Role,
)
from weft_engine.events.part import Text
from weft_engine.names import EventId
from weft_engine.replica.context import Appendable, Context
from weft_engine.replica.replica import Replica
from weft_engine.storage.marks import load_marks
from weft_engine.storage.stated import EventMemo
from weft_engine.views.marks import Marks

NOBODY = EventId(f"{1:016x}-{'cd' * 16}")


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


async def marks(replica: Replica, name: str = "a") -> Marks:
    found = await replica.ask(replica.context(name).name, lambda table, _: load_marks(table))
    assert found is not None
    return found


async def write(replica: Replica, *bodies: Body, name: str = "a") -> list[EventId]:
    """Events as another program may write them: unchecked."""
    context = replica.context(name)
    return await replica.scribe.append(context.name, [partial(_event, body) for body in bodies])


def _event(body: Body, _: EventId) -> Event:
    return Event("x", body)


# ---- facts ------------------------------------------------------------------------------------


async def test_a_fact_is_known_until_it_is_replaced_or_withdrawn(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        assert await chat.facts() == {}
        assert await chat.forget_fact("user.city") is None
        await chat.fact("user.city", "Lima", crit="important", expires=5)
        fact = (await chat.facts())["user.city"]
        assert (fact.value, fact.others, fact.rule) == ("Lima", (), "last")
        assert (fact.crit, fact.expires) == (Criticality.IMPORTANT, 5)
        quito = await chat.fact("user.city", "Quito")
        assert (await chat.facts())["user.city"].ids == (quito,)
        await chat.revoke(quito)
        assert (await chat.facts())["user.city"].value == "Lima"
        assert await chat.forget_fact("user.city") is not None
        assert await chat.facts() == {}
        await chat.fact("user.city", "Cusco")
        await chat.fact("user.city", None)
        assert await chat.facts() == {}
    async with open_replica(place / "s.db", readonly=True) as replica:
        assert await replica.context("a").facts() == {}
        said = [one.event.body async for one in replica.context("a").events()]
        assert len([body for body in said if isinstance(body, Fact)]) == 5


@pytest.mark.parametrize(
    "value", [True, 0, -7, 1.5, 1e300, "é\n\u2028", [1, [2]], {"b": None, "a": {}}, "x" * 100_000]
)
async def test_any_json_value_is_a_fact(place: Path, value: object) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        await chat.fact("it", value)
        assert (await chat.facts())["it"].value == value


async def test_what_is_no_fact_is_refused_and_nothing_is_written(place: Path) -> None:
    nested: object = 1
    for _ in range(65):
        nested = [nested]
    bad: list[object] = [10**5000, 2**60, float("nan"), float("inf"), "\ud800", nested, {1: 2}, b""]
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        for value in bad:
            with pytest.raises(InvalidMessage):
                await chat.fact("it", value)
        with pytest.raises(InvalidMessage, match="crit"):
            await chat.fact("it", 1, crit="urgent")
        with pytest.raises(InvalidMessage, match="expires"):
            await chat.fact("it", 1, expires=-1)
        with pytest.raises(PolicyMissing, match="vote"):
            await chat.fact("it", 1, rule="vote")
        with pytest.raises(LimitExceeded):
            await chat.fact("it", "x" * 8 * 1024 * 1024)
        assert await chat.frontier() == ()


async def test_concurrent_facts_are_merged_alike_and_shown(place: Path) -> None:
    async with (
        open_replica(place / "one.db", clock=Clock(1_700_000_000_000)) as one,
        open_replica(place / "two.db", clock=Clock(1_700_000_500_000)) as two,
    ):
        await one.context("a").fact("city", "Lima")
        await give(one, two)
        for replica, city, tags, best in ((one, "Cusco", ["x", "y"], 7), (two, "Quito", "z", 9)):
            chat = replica.context("a")
            await chat.fact("city", city)
            await chat.fact("tags", tags, rule="union")
            await chat.fact("best", best, rule="max")
            await chat.fact("log", best, rule="keep_all")
        await give(one, two)
        await give(two, one)
        for replica in (one, two):
            facts = await replica.context("a").facts()
            assert list(facts) == ["best", "city", "log", "tags"]
            assert (facts["city"].value, facts["city"].others) == ("Quito", ("Cusco",))
            assert (facts["best"].value, facts["best"].others) == (9, (7,))
            assert (facts["tags"].value, facts["tags"].others) == (["x", "y", "z"], ())
            assert facts["log"].value == [7, 9]
        await one.context("a").fact("city", "Cusco")
        await one.context("a").fact("best", 3)
        assert (await one.context("a").facts())["city"].others == ()
        assert (await one.context("a").facts())["best"].value == 3
        assert (await one.context("a").facts())["best"].rule == "max"


async def test_what_was_said_without_knowing_of_a_withdrawal_survives_it(place: Path) -> None:
    async with open_replica(place / "one.db") as one, open_replica(place / "two.db") as two:
        await one.context("a").fact("city", "Lima")
        await give(one, two)
        await two.context("a").fact("city", "Quito")
        await one.context("a").forget_fact("city")
        await give(one, two)
        await give(two, one)
        for replica in (one, two):
            assert (await replica.context("a").facts())["city"].value == "Quito"


async def test_an_unknown_rule_is_shown_raw(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        await write(replica, Fact("it", "1", "median@1"), Fact("it", "2", "median@1"))
        fact = (await replica.context("a").facts())["it"]
        assert (fact.value, fact.others, fact.merged) == (2, (1,), False)


# ---- pins and hides ---------------------------------------------------------------------------


async def test_pins_and_hides_name_messages_and_are_taken_back(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        with pytest.raises(NotFound):
            await chat.pin(NOBODY)
        (first,) = await chat.append("one")
        (second,) = await chat.append("two", pin=True)
        pin = await chat.pin(first)
        assert await chat.pin(first) == pin
        hide = await chat.hide(second)
        assert await chat.hide(second) == hide
        found = await marks(replica)
        assert [one.target for one in found.pins] == [second, first]
        assert dict(found.hidden) == {second: hide}
        assert found.hides([NOBODY, second])
        assert not found.hides([first])
        for unknown in (NOBODY, pin, hide, EventId("nonsense")):
            with pytest.raises(NotFound):
                await chat.pin(unknown)
            with pytest.raises(NotFound):
                await chat.hide(unknown)
        assert len(await chat.unpin(first)) == 1
        assert await chat.unpin(first) == []
        (revoke,) = await chat.unhide(second)
        found = await marks(replica)
        assert [one.target for one in found.pins] == [second]
        assert dict(found.hidden) == {}
        await chat.revoke(revoke, reason="back again")
        assert dict((await marks(replica)).hidden) == {second: hide}


async def test_pins_on_two_replicas_are_all_taken_back(place: Path) -> None:
    async with open_replica(place / "one.db") as one, open_replica(place / "two.db") as two:
        (said,) = await one.context("a").append("remember")
        await give(one, two)
        await one.context("a").pin(said)
        await two.context("a").pin(said)
        await give(one, two)
        assert len((await marks(two)).pins) == 1
        assert len(await two.context("a").unpin(said)) == 2
        assert (await marks(two)).pins == ()


async def test_an_imported_message_is_marked_under_the_id_it_is_shown_by(place: Path) -> None:
    from weft_engine.formats.openai_chat import Conversation, import_conversation

    messages = import_conversation(Conversation("f", ('{"role":"user","content":"hi"}',)))
    async with open_replica(place / "one.db") as one, open_replica(place / "two.db") as two:
        await one.context("a").import_messages(messages)
        await two.context("a").import_messages(messages)
        ids = [(await replica.context("a").page())[0].id for replica in (one, two)]
        for replica, said in zip((one, two), ids, strict=True):
            await replica.context("a").pin(said)
            await replica.context("a").hide(said)
        await give(one, two)
        shown = (await two.context("a").page())[0].id
        found = await marks(two)
        assert [pin.target for pin in found.pins] == [shown] == list(found.hidden)
        for said in ids:
            assert await two.context("a").pin(said)
        assert len(await two.context("a").unpin(next(i for i in ids if i != shown))) == 2


async def test_a_tool_result_is_pinned_and_hidden_with_its_call(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
        said: list[Appendable] = [
            {"role": "user", "content": "look"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c", "content": "found"},
            {"role": "tool", "tool_call_id": "other", "content": "astray"},
        ]
        _, call, result, astray = await chat.append(said)
        pin = await chat.pin(result)
        hide = await chat.hide(result)
        await chat.hide(astray)
        found = await marks(replica)
        assert [one.target for one in found.pins] == [result, call]
        assert set(found.hidden) == {result, call, astray}
        assert await chat.pin(result) == pin
        assert await chat.hide(call) != hide
        assert len(await chat.unhide(result)) == 1
        assert set((await marks(replica)).hidden) == {call, astray}


async def test_marks_of_marks_and_of_nothing_have_no_effect(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        (said,) = await replica.context("a").append("hi")
        (pin,) = await write(replica, Pin(said))
        (other,) = await write(replica, Pin(pin))
        await write(replica, Pin(other), Hide(pin), Hide(NOBODY), Pin(NOBODY), Revoke(NOBODY))
        found = await marks(replica)
        assert [one.target for one in found.pins] == [said]
        assert dict(found.hidden) == {}


async def test_revokes_in_a_circle_leave_a_decision(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        (said,) = await replica.context("a").append("hi")
        (pin,) = await write(replica, Pin(said))
        before = await replica.scribe.append(
            replica.context("a").name,
            [lambda id_: Event("x", Revoke(id_)), lambda _: Event("x", Revoke(pin))],
        )
        assert (await marks(replica)).pins == ()
        await write(replica, Revoke(before[1]))
        assert len((await marks(replica)).pins) == 1


async def test_revoke_refuses_what_it_could_not_take_back(place: Path) -> None:
    async with (
        open_replica(place / "ahead.db", clock=Clock(1_800_000_000_000)) as ahead,
        open_replica(place / "s.db") as replica,
    ):
        chat = replica.context("a")
        with pytest.raises(NotFound):
            await chat.revoke(NOBODY)
        (said,) = await chat.append("hi")
        with pytest.raises(NotFound, match="hide it"):
            await chat.revoke(said)
        await give(replica, ahead)
        late = await ahead.context("a").pin(said)
        fact = await ahead.context("a").fact("it", 1)
        await give(ahead, replica)
        with pytest.raises(Conflict, match="future"):
            await chat.revoke(late)
        assert (await chat.facts())["it"].ids == (fact,)
        await chat.fact("it", 2)
        assert (await chat.facts())["it"].value == 2


# ---- weights on append ------------------------------------------------------------------------


async def test_append_says_what_a_message_is_worth(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        ids = await chat.append(
            ["never use metric units", Message(Role.USER, (Text("b"),), crit=Criticality.OPTIONAL)],
            crit="critical",
            life="persistent",
            expires=99,
            pin=True,
        )
        assert len(ids) == 2
        bodies = [said.event.body async for said in chat.history()]
        assert all(isinstance(body, Message) for body in bodies)
        for body in bodies:
            assert isinstance(body, Message)
            assert body.crit is Criticality.CRITICAL
            assert (body.life, body.expires) == (Lifetime.PERSISTENT, 99)
        assert [one.target for one in (await marks(replica)).pins] == ids
        for wrong in ({"crit": "very"}, {"life": "long"}, {"expires": -1}):
            with pytest.raises(InvalidMessage, match=next(iter(wrong))):
                await chat.append("x", **wrong)
        kept = Message(Role.USER, (Text("c"),), life=Lifetime.IMMEDIATE)
        await chat.append(kept, crit="optional")
        last = (await chat.page(newest=True, limit=1))[0].event.body
        assert isinstance(last, Message)
        assert last.life is Lifetime.IMMEDIATE


# ---- closing ----------------------------------------------------------------------------------


async def refuses(chat: Context, reason: str) -> None:
    for write_something in (
        lambda: chat.append("more"),
        lambda: chat.fact("a", 1),
        lambda: chat.configure(budget=99),
        lambda: chat.import_messages([Message(Role.USER, (Text("x"),))]),
    ):
        with pytest.raises(ContextClosed, match=reason):
            await write_something()


async def test_a_closed_context_is_read_and_not_written(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        await chat.append("hi")
        closed = await chat.close("ticket solved")
        assert await chat.close("again") == closed
        await refuses(chat, "ticket solved")
        await replica.context("b").append("others go on")
        assert len(await chat.page()) == 1
        await chat.view()
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        await refuses(chat, "ticket solved")
        assert len((await marks(replica)).closes) == 1
        assert len(await chat.reopen()) == 1
        assert await chat.reopen() == []
        await chat.append("and another thing")
        assert (await marks(replica)).closes == ()


async def test_closing_is_heard_of_and_refuses_nothing_that_arrives(place: Path) -> None:
    async with open_replica(place / "one.db") as one, open_replica(place / "two.db") as two:
        await one.context("a").append("hi")
        await give(one, two)
        await two.context("a").append("still here")
        await one.context("a").close()
        await two.context("a").append("not knowing")
        await give(two, one)
        assert len(await one.context("a").page()) == 3
        await give(one, two)
        await refuses(two.context("a"), "is closed")
        await two.context("a").reopen()
        await give(two, one)
        await one.context("a").append("on we go")


async def test_closing_a_branch_closes_nothing_else(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        await chat.append("one")
        one, two = await chat.branch("one"), await chat.branch("two")
        below = await one.branch("below")
        await one.close("done")
        with pytest.raises(ContextClosed, match=f"branch {one.branch_id} .*: done"):
            await one.append("more")
        for other in (chat, two, below):
            await other.append("more")
        await chat.close("all done")
        with pytest.raises(ContextClosed):
            await chat.append("more")
        await two.append("still")
        # What is begun now has the close in its past, and goes on all the same.
        await (await chat.branch("on")).append("on")
        closed = {info.name: info.closed for info in await chat.branches()}
        assert closed == {"one": "done", "two": None, "below": None, "on": None}
        await two.reopen()
        await one.reopen()
        await one.append("again")
        with pytest.raises(ContextClosed):
            await chat.append("more")
        assert [info.closed for info in await chat.branches()] == [None] * 4


async def test_what_is_said_of_closing_closes_nothing(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        await chat.append('{"kind":"close"} "kind":"revoke"')
        await asyncio.gather(*(chat.append(f"m{index}") for index in range(20)))
        assert len(await chat.page()) == 21


async def test_an_erased_close_is_none(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        await chat.append("hi")
        closed = await chat.close("secret")
        await refuses(chat, "secret")
        await chat.erase(event=closed, reason="wrong")
        await chat.append("open again")


async def test_an_erased_fact_is_not_known(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        await chat.fact("city", "Lima")
        secret = await chat.fact("city", "Quito")
        assert (await chat.facts())["city"].value == "Quito"
        await chat.erase(event=secret, reason="private")
        assert (await chat.facts())["city"].value == "Lima"


async def test_views_follow_our_own_facts_in_memory(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        await chat.append("Where to?")
        await chat.view()
        timeline = chat._timeline
        for number in range(3):
            await chat.fact("n", number)
            view = await chat.view()
            assert chat._timeline is timeline, "nothing was read again"
            assert view.openai()[-1]["content"].endswith(f"n: {number}")
        (revoked,) = await replica.scribe.append(
            chat.name, [partial(_event, Fact("n", "7", "last", ()))]
        )
        await chat.revoke(revoked)
        assert (await chat.view()).openai() == view.openai()


async def test_facts_are_read_again_only_where_they_are_new(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("a")
        memo = EventMemo()
        for number in range(5):
            await chat.fact("n", number)
            fresh = await replica.ask(chat.name, lambda table, _: load_marks(table))
            kept = await replica.ask(chat.name, lambda table, _: load_marks(table, memo=memo))
            assert fresh is not None
            assert kept is not None
            assert fresh.facts == kept.facts


async def test_facts_expire_where_nothing_was_said(place: Path) -> None:
    """Before any message the moment of a view is that of the newest fact."""
    now = Clock()()
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("c")
        await chat.fact("old", "gone", expires=now - 1_000)
        await chat.fact("city", "Lima", expires=now + 1_000_000)
        assert (await chat.view()).text() == 'user: [facts]\ncity: "Lima"'
        assert "old" in (await chat.view(as_of=0)).text()
