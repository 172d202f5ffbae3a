"""Facts, pins, hides, revokes and summaries on branches: they hold there and on what comes of them,
and change nothing on the branch that was left."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.command_line import opened
from tests.property.test_replica import FILE
from tests.stores import folder, give, open_replica
from tests.summaries import by_definition, stands, stands_at
from weft_engine.errors import Conflict, NotFound
from weft_engine.events.row import branch_id
from weft_engine.formats.openai_chat import import_conversation
from weft_engine.names import EventId
from weft_engine.replica.compacting import SummaryState
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.replica.summarizing import ToSummarize
from weft_engine.storage.lineage import Lineage
from weft_engine.storage.marks import load_marks
from weft_engine.storage.verify import verify
from weft_engine.views.marks import Marks, StandingSummary


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    with folder() as place:
        async with open_replica(place / "s.db") as opened:
            yield opened
        report = verify(place / "s.db", progress=lambda *_: None)
        assert report.is_sound, report.findings


async def marks(replica: Replica, chat: Context) -> Marks:
    found = await replica.ask(
        chat.name, lambda table, _: load_marks(Lineage(table, chat.branch_id))
    )
    assert found is not None
    return found


async def turns(chat: Context, *words: str) -> list[EventId]:
    ids: list[EventId] = []
    for word in words:
        ids += await chat.append(f"question {word}")
        answer = {"role": "assistant", "content": f"answer {word}"}
        ids += await chat.append(answer, view=await chat.view(budget=100_000))
    return ids


async def known(chat: Context) -> dict[str, object]:
    return {name: fact.value for name, fact in (await chat.facts()).items()}


# ---- facts --------------------------------------------------------------------------------------


async def test_facts_are_known_within_what_a_branch_shares(replica: Replica) -> None:
    chat = replica.context("c")
    await chat.fact("city", "Lima")
    (asked,) = await chat.append("hi")
    branch = await chat.branch("b")
    await chat.fact("city", "Quito")
    await chat.fact("sky", "grey")
    assert await known(branch) == {"city": "Lima"}
    await branch.fact("city", "Cusco")
    below = await branch.branch("below")
    await branch.fact("sea", "calm")
    assert await known(chat) == {"city": "Quito", "sky": "grey"}
    assert await known(branch) == {"city": "Cusco", "sea": "calm"}
    assert await known(below) == {"city": "Cusco"}
    assert await known(await chat.branch("early", before=asked)) == {"city": "Lima"}
    assert await branch.forget_fact("city") is not None
    assert await branch.forget_fact("sky") is None, "it is not known here"
    assert await known(chat) == {"city": "Quito", "sky": "grey"}
    assert await known(below) == {"city": "Cusco"}


async def test_what_is_revoked_on_a_branch_stands_where_that_comes_from(replica: Replica) -> None:
    chat = replica.context("c")
    fact = await chat.fact("city", "Lima")
    branch = await chat.branch("b")
    later = await chat.fact("sky", "grey")
    await branch.revoke(fact)
    assert await known(branch) == {}
    assert await known(chat) == {"city": "Lima", "sky": "grey"}
    with pytest.raises(NotFound, match="another branch"):
        await branch.revoke(later)
    with pytest.raises(NotFound, match="another branch"):
        await chat.revoke(await branch.fact("city", "Cusco"))
    # On the way to main it takes away what is not there yet.
    again = await chat.branch("again")
    await chat.revoke(fact)
    assert await known(again) == {"city": "Lima", "sky": "grey"}


# ---- pins and hides -----------------------------------------------------------------------------


async def test_pins_and_hides_of_a_branch_change_its_parent_in_nothing(replica: Replica) -> None:
    chat = replica.context("c")
    one, two, three = await chat.append(["one", "two", "three"])
    pinned = await chat.pin(one)
    branch = await chat.branch("b")
    below = await branch.branch("below")
    hidden = await branch.hide(two)
    await branch.unpin(one)
    found = await branch.pin(three)
    assert (await marks(replica, branch)).hidden == {two: hidden}
    assert [pin.target for pin in (await marks(replica, branch)).pins] == [three]
    for other in (chat, below):
        assert (await marks(replica, other)).hidden == {}
        assert [pin.target for pin in (await marks(replica, other)).pins] == [one]
        assert await other.pin(one) == pinned
    assert await branch.pin(three) == found
    assert await chat.pin(three) != found, "that is of the branch"


async def test_what_a_branch_does_not_show_can_be_marked_there_by_nobody(replica: Replica) -> None:
    chat = replica.context("c")
    await chat.append("one")
    branch = await chat.branch("b")
    (two,) = await chat.append("two")
    (three,) = await branch.append("three")
    for context, strange in ((branch, two), (chat, three)):
        for mark in (context.pin, context.hide, context.unpin, context.unhide):
            with pytest.raises(NotFound, match="another branch"):
                await mark(strange)
        assert (await marks(replica, context)).pins == ()
        assert (await marks(replica, context)).hidden == {}


# ---- branches that were taken back --------------------------------------------------------------


async def test_a_branch_that_was_taken_back_is_listed_as_such(replica: Replica) -> None:
    chat = replica.context("c")
    await chat.append("hi")
    branch = await chat.branch("b")
    below = await branch.branch("below")
    assert branch.branch_id is not None
    assert below.branch_id is not None
    revoke = await chat.revoke(branch.branch_id)
    await branch.revoke(below.branch_id)
    assert [info.revoked for info in await chat.branches()] == [True, True]
    await chat.revoke(revoke)
    assert [info.revoked for info in await chat.branches()] == [False, True]
    with pytest.raises(NotFound):
        await chat.revoke(below.branch_id)
    with pytest.raises((NotFound, Conflict)):
        await branch.revoke(branch.branch_id)


async def test_a_revoked_branch_is_set_aside(replica: Replica) -> None:
    chat = replica.context("c")
    await chat.append("hi")
    branch = await chat.branch("b")
    await branch.append("on it")
    further = await branch.branch("further")
    assert branch.branch_id is not None
    revoke = await chat.revoke(branch.branch_id)
    assert [said["content"] for said in (await branch.view()).openai()] == ["hi", "on it"]
    assert await branch.export()
    for writing in (
        lambda: branch.append("more"),
        lambda: branch.fact("city", "Lima"),
        lambda: branch.configure(budget=9_000),
        lambda: branch.stream().__aenter__(),
    ):
        with pytest.raises(Conflict, match=revoke):
            await writing()
    await further.append("goes on")
    rescued = await branch.branch("rescued")
    await rescued.append("goes on, too")
    await chat.append("so does main")
    await chat.revoke(revoke)
    await branch.append("more")
    assert len((await branch.view()).ids) == 3


async def test_a_branch_revoked_elsewhere_takes_no_more_when_that_arrives() -> None:
    with folder() as place:
        async with open_replica(place / "a.db") as a, open_replica(place / "b.db", seed=1) as b:
            chat = a.context("c")
            await chat.append("hi")
            branch = await chat.branch("b")
            assert branch.branch_id is not None
            await give(a, b)
            there = b.context("c").on(branch.branch_id)
            await there.append("before it is heard of")
            revoke = await chat.revoke(branch.branch_id)
            await give(a, b)
            with pytest.raises(Conflict, match=revoke):
                await there.append("after")
            await give(b, a)
            assert await branch.export() == await there.export()


# ---- summaries ----------------------------------------------------------------------------------


async def stood(replica: Replica, chat: Context) -> StandingSummary | None:
    """The same in four ways."""
    found = await stands(replica, chat.name, chat.branch_id)
    await chat.view(budget=100_000)
    assert found == await stands(replica, chat.name, chat.branch_id)
    assert found == await stands_at(replica, chat)
    assert found == await by_definition(replica, chat)
    assert found == (await marks(replica, chat)).summary
    return found


async def test_a_branch_is_compacted_with_what_it_shares(replica: Replica) -> None:
    chat = replica.context("c")
    ids = await turns(chat, "a", "b")
    branch = await chat.branch("b")
    below = await branch.branch("below", at=ids[1])
    own = await turns(branch, "c", "d")
    await turns(chat, "e")
    given: list[ToSummarize] = []

    def model(what: ToSummarize) -> str:
        given.append(what)
        return "of the branch"

    made = await branch.compact(model, keep=10)
    assert [m["content"] for m in given[0].messages] == [
        "question a", "answer a", "question b", "answer b", "question c", "answer c",
    ]  # fmt: skip
    found = await stood(replica, branch)
    assert found is not None
    assert (found.id, found.count, found.last) == (made, 6, own[1])
    assert await stood(replica, chat) is None
    assert await stood(replica, below) is None
    assert await chat.summaries() == []
    after = await branch.branch("after")
    await turns(after, "f")
    assert await stood(replica, after) == found
    assert [info.state for info in await after.summaries()] == [SummaryState.STANDS]
    # What comes of it goes on from it, for itself.
    await after.compact(model, keep=10)
    assert given[-1].previous == "of the branch"
    further = await stood(replica, after)
    assert further is not None
    assert further.count == 8
    assert await stood(replica, branch) == found
    # And may take it back, for itself.
    assert made is not None
    await after.revoke(further.id)
    assert await stood(replica, after) == found
    await after.revoke(made)
    assert await stood(replica, after) is None
    assert await stood(replica, branch) == found


async def test_a_summary_of_the_parent_stands_where_all_of_it_is_shared(replica: Replica) -> None:
    chat = replica.context("c")
    ids = await turns(chat, "a", "b", "c")
    before = await chat.branch("before")
    await chat.compact(lambda _: "of main", keep=10)
    branch = await chat.branch("b")
    early = await chat.branch("early", before=ids[4])
    own = await turns(branch, "d", "e")
    found = await stood(replica, chat)
    assert found is not None
    assert found.count == 4
    assert await stood(replica, branch) == found
    assert await stood(replica, before) is None
    assert await stood(replica, early) is None
    # What comes to main later changes nothing on the branch, and the other way round.
    await turns(chat, "f", "g")
    await chat.compact(lambda _: "more of main", keep=10)
    assert await stood(replica, branch) == found
    await branch.compact(lambda _: "of the branch", keep=10)
    newest = await stood(replica, branch)
    assert newest is not None
    assert (newest.count, newest.last) == (8, own[1])
    whole = await stood(replica, chat)
    assert whole is not None
    assert (whole.count, whole.text) == (8, "more of main")


async def test_an_import_that_the_parent_had_first_is_new_on_a_branch(replica: Replica) -> None:
    """The summary of a branch covers none of it, though the parent had it in its past."""
    chat = replica.context("c")
    await turns(chat, "a")
    branch = await chat.branch("b")
    await chat.import_messages(import_conversation(FILE))
    await turns(branch, "c", "d")
    await branch.compact(lambda _: "of the branch", keep=10)
    found = await stood(replica, branch)
    assert found is not None
    await branch.import_messages(import_conversation(FILE))
    again = await stood(replica, branch)
    assert again is not None
    assert (again.id, again.count, again.last) == (found.id, 4, found.last)


async def test_what_is_late_on_a_branch_is_late_there(replica: Replica) -> None:
    with folder() as place:
        async with open_replica(place / "other.db") as other:
            chat = replica.context("c")
            await turns(chat, "a")
            branch = await chat.branch("b")
            await give(replica, other)
            there = other.context("c")
            (main_late,) = await there.append("late on main")
            (late,) = await there.on(branch.branch_id).append("late on the branch")
            await turns(branch, "c", "d")
            await branch.compact(lambda _: "of the branch", keep=10)
            found = await stood(replica, branch)
            assert found is not None
            assert found.late == frozenset()
            await give(other, replica)
            await give(replica, other)
            order = [said.id for said in await branch.page()]
            assert late in order
            assert main_late not in order
            for one in (replica, other):
                again = await stood(one, one.context("c").on(branch.branch_id))
                assert again is not None
                assert (again.id, again.last) == (found.id, found.last)
                is_before = order.index(late) < order.index(found.last)
                assert again.late == (frozenset([late]) if is_before else frozenset())


async def test_what_is_said_on_a_branch_is_not_late_on_main(replica: Replica) -> None:
    """Places of branches and of main are numbers alike."""
    chat = replica.context("c")
    ids = await turns(chat, "a")
    branch = await chat.branch("b", at=ids[1])
    await turns(chat, "c", "d")
    await chat.compact(lambda _: "of main", keep=10)
    found = await stood(replica, chat)
    assert found is not None
    await branch.append("one")
    await turns(branch, "e")
    assert await stood(replica, chat) == found
    assert found.late == frozenset()


async def test_what_stands_on_a_branch_in_use_is_remembered(replica: Replica) -> None:
    chat = replica.context("c")
    await turns(chat, "a", "b")
    branch, idle = await chat.branch("b"), await chat.branch("idle")
    assert branch.branch_id is not None
    await turns(branch, "c")
    await branch.compact(lambda _: "of the branch", keep=10)
    found = await stood(replica, branch)
    assert found is not None

    async def remembered() -> dict[EventId | None, tuple[bytes, int]]:
        await replica.projector.catch_up(chat.name)
        rows = await replica.journal.read(
            lambda connection: connection.execute(
                "SELECT branch, key, length(late) FROM summaries"
            ).fetchall()
        )
        return {branch_id(of): (key, late) for of, key, late in rows}

    expected = {None: (b"", 0), branch.branch_id: (found.key, 0)}
    assert await remembered() == expected
    await turns(branch, "d")
    await turns(chat, "e")
    await turns(idle, "f")
    assert await remembered() == expected | {idle.branch_id: (b"", 0)}
    await branch.revoke(found.id)
    assert await remembered() == {
        None: (b"", 0),
        branch.branch_id: (b"", 0),
        idle.branch_id: (b"", 0),
    }


@pytest.mark.parametrize(
    "damage",
    [
        "key = zeroblob(32)",
        "place = place - 1",
        "place = 'x'",
        "late = zeroblob(24)",
        "branch = zeroblob(24)",
        "branch = 7",
    ],
)
async def test_what_is_remembered_of_a_branch_is_checked(damage: str) -> None:
    with folder() as place:
        store = place / "s.db"
        async with open_replica(store) as replica:
            chat = replica.context("c")
            await turns(chat, "a", "b")
            branch = await chat.branch("b")
            await turns(branch, "c")
            await branch.compact(lambda _: "of the branch", keep=10)
            await stood(replica, branch)
            await replica.projector.catch_up(chat.name)
        with opened(store) as connection:
            changed = connection.execute(f"UPDATE summaries SET {damage} WHERE branch <> x''")
            assert changed.rowcount == 1
        report = verify(store, progress=lambda *_: None)
        assert [finding.what for finding in report.findings if "remembers" in finding.what]
