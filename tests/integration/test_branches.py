"""Branches as applications use them: begun anywhere, read and viewed like main, never copied."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.stores import all_records, folder, give, open_replica
from weft_engine.errors import CallerError, ErasedContent, NotFound
from weft_engine.events.event import (
    Branch,
    Close,
    Criticality,
    Event,
    ImportedFrom,
    Lifetime,
    Message,
    Role,
)
from weft_engine.events.part import Text
from weft_engine.events.row import CRITICAL, PERSISTENT
from weft_engine.formats.openai_chat import import_message
from weft_engine.names import EventId
from weft_engine.replica.context import Context
from weft_engine.replica.past import Past
from weft_engine.replica.replica import Replica
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.lineage import Lineage
from weft_engine.storage.verify import verify

NOBODY = EventId(f"{0:016x}-{0:032x}")


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


@pytest.fixture
async def replica(place: Path) -> AsyncIterator[Replica]:
    async with open_replica(place / "s.db") as opened:
        yield opened


async def texts(chat: Context | Past) -> list[str]:
    found: list[str] = []
    async for said in chat.history():
        assert isinstance(said.event.body, Message)
        (part,) = said.event.body.parts
        assert isinstance(part, Text)
        found.append(part.text)
    return found


async def shown(chat: Context) -> list[object]:
    return [message["content"] for message in (await chat.view()).openai()]


def answer(text: str) -> dict[str, object]:
    return {"role": "assistant", "content": text}


async def said(chat: Context, *messages: str) -> list[EventId]:
    """Questions and answers, each in a commit of its own; answers begin with A."""
    ids: list[EventId] = []
    for text in messages:
        ids += await chat.append(answer(text) if text[0] == "A" else text)
    return ids


async def test_a_branch_from_now(replica: Replica) -> None:
    chat = replica.context("c")
    await said(chat, "q1", "A1", "q2")
    branch = await chat.branch("try again")
    await said(branch, "A2 here")
    await said(chat, "A2 there", "q3")
    assert await texts(branch) == ["q1", "A1", "q2", "A2 here"]
    assert await texts(chat) == ["q1", "A1", "q2", "A2 there", "q3"]
    assert await shown(branch) == ["q1", "A1", "q2", "A2 here"]
    assert await shown(chat) == ["q1", "A1", "q2", "A2 there", "q3"]
    assert (await branch.view()).spec.branch == branch.branch_id
    assert [len(await c.export()) for c in (branch, chat)] == [4, 5]


async def test_a_branch_at_a_message_within_one_record(replica: Replica) -> None:
    """Messages of one append share a record; the cut is exact all the same."""
    chat = replica.context("c")
    ids = await chat.append(["q1", answer("A1"), "q2", answer("A2"), "q3"])
    for count in range(1, 6):
        shared = ["q1", "A1", "q2", "A2", "q3"][:count]
        branch = await chat.branch("again", at=ids[count - 1])
        await said(branch, "new")
        assert await texts(branch) == [*shared, "new"]
        assert await shown(branch) == [*shared, "new"]
        other = await chat.branch("again", before=ids[count - 1])
        assert await texts(other) == shared[:-1]


async def test_edit_and_regenerate(replica: Replica) -> None:
    chat = replica.context("c")
    _, _, question, reply = await said(chat, "q1", "A1", "q2", "A2")
    await said(chat, "q3", "A3")
    edited = await chat.edit(question, "q2, better")
    await said(edited, "A2 of that")
    assert await texts(edited) == ["q1", "A1", "q2, better", "A2 of that"]
    again = await chat.branch("again", before=reply)
    assert await shown(again) == ["q1", "A1", "q2"]
    await again.append(answer("A2 again"), view=await again.view())
    assert await texts(again) == ["q1", "A1", "q2", "A2 again"]
    # What is edited keeps its role.
    better = await chat.edit(reply, "A2, corrected")
    page = await better.page(newest=True, limit=1)
    assert isinstance(page[0].event.body, Message)
    assert page[0].event.body.role is Role.ASSISTANT
    assert await texts(chat) == ["q1", "A1", "q2", "A2", "q3", "A3"]


async def test_the_first_message_edited_shares_nothing(replica: Replica) -> None:
    chat = replica.context("c")
    (first, *_) = await said(chat, "q1", "A1")
    edited = await chat.edit(first, "q1, better")
    assert await texts(edited) == ["q1, better"]


async def test_branches_of_branches(replica: Replica) -> None:
    chat = replica.context("c")
    await said(chat, "q1", "A1")
    one = await chat.branch("one")
    ids = await said(one, "q2", "A2", "q3", "A3")
    await said(chat, "main goes on")
    two = await one.branch("one", at=ids[1])
    await said(two, "q4", "A4")
    three = await two.branch("three", at=(await chat.page(limit=1))[0].id)
    await said(three, "q5")
    assert await texts(two) == ["q1", "A1", "q2", "A2", "q4", "A4"]
    assert await texts(three) == ["q1", "q5"]
    found = await chat.branches()
    assert [(b.name, b.parent, b.messages, b.closed) for b in found] == [
        ("one", None, 4, None),
        ("one", one.branch_id, 2, None),
        ("three", two.branch_id, 1, None),
    ]
    assert chat.on(found[1].id) is two
    assert two.on(None) is chat
    with pytest.raises(NotFound):
        await chat.branch("not of main", at=ids[1])


async def test_a_branch_is_no_branch_before_it_comes(replica: Replica) -> None:
    chat = replica.context("c")
    await said(chat, "q1")
    for stranger in (NOBODY, EventId("nonsense")):
        with pytest.raises(NotFound):
            await chat.on(stranger).append("lost")
        with pytest.raises(NotFound):
            await chat.on(stranger).view()
    with pytest.raises(CallerError):
        await chat.branch("both", at=NOBODY, before=NOBODY)
    with pytest.raises(NotFound):
        await chat.branch("nowhere", at=NOBODY)
    # Written by hand: kept, shown by events(), without a place until the branch comes.
    event = Event("a", Message(Role.USER, (Text("early"),)), branch=NOBODY)
    await replica.scribe.append(chat.name, [lambda _: event])
    assert await texts(chat) == ["q1"]
    assert len([one async for one in chat.events()]) == 2


async def test_what_is_late_on_main_does_not_show_on_a_branch(place: Path) -> None:
    async with open_replica(place / "a.db") as here, open_replica(place / "b.db") as there:
        chat = here.context("c")
        await said(chat, "q1", "A1", "q2", "A2")
        await give(here, there)
        await said(there.context("c"), "late question", "A late")
        branch = await chat.branch("b")
        await said(branch, "q3", "A3")
        await said(chat, "q4", "A4")
        await give(there, here)
        await give(here, there)
        for replica in (here, there):
            one = replica.context("c")
            assert await texts(one.on(branch.branch_id)) == ["q1", "A1", "q2", "A2", "q3", "A3"]
            assert await shown(one.on(branch.branch_id)) == ["q1", "A1", "q2", "A2", "q3", "A3"]
            assert sorted(await texts(one)) == sorted(
                ["q1", "A1", "q2", "A2", "q4", "A4", "late question", "A late"]
            )
    for name in ("a.db", "b.db"):
        report = verify(place / name, progress=lambda *_: None)
        assert report.is_sound, report.findings


async def test_settings_of_a_branch(replica: Replica) -> None:
    chat = replica.context("c")
    await said(chat, "q1")
    await chat.configure(budget=4_000)
    branch = await chat.branch("b")
    await chat.configure(budget=5_000)
    assert (await branch.settings()).budget == 4_000
    await branch.configure(budget=3_000)
    assert (await branch.settings()).budget == 3_000
    assert (await chat.settings()).budget == 5_000


async def test_paging_a_branch(replica: Replica) -> None:
    chat = replica.context("c")
    for number in range(30):
        await said(chat, f"q{number}", f"A{number}")
    half = (await chat.page(limit=31))[-1].id
    branch = await chat.branch("b", at=half)
    for number in range(30):
        await said(branch, f"q'{number}", f"A'{number}")
    everything = [one.id async for one in branch.history()]
    assert len(everything) == 31 + 60
    assert [one.id async for one in branch.history(newest_first=True)] == everything[::-1]
    for at in (0, 15, 30, 31, 60, 90):
        page = await branch.page(after=everything[at], limit=20)
        assert [one.id for one in page] == everything[at + 1 : at + 21]
        page = await branch.page(before=everything[at], limit=20)
        assert [one.id for one in page] == everything[max(0, at - 20) : at]
    assert [one.id for one in await branch.page(newest=True, limit=70)] == everything[-70:]
    with pytest.raises(NotFound):
        await branch.page(after=(await chat.page(newest=True, limit=1))[0].id)


async def test_the_past_of_a_branch_and_replay(replica: Replica) -> None:
    chat = replica.context("c")
    await said(chat, "q1", "A1")
    branch = await chat.branch("b")
    await said(branch, "q2")
    view = await branch.view(trace_id="t")
    cut = await branch.frontier()
    await said(branch, "A2")
    await said(chat, "q3")
    assert await texts(branch.at(cut)) == ["q1", "A1", "q2"]
    assert await texts(chat.at(cut)) == ["q1", "A1"]
    assert await texts(chat.at("t")) == ["q1", "A1", "q2"]
    assert (await chat.replay(view.receipt)).openai() == view.openai()
    assert (await branch.replay(view.receipt)).fingerprint == view.fingerprint


async def test_an_import_on_a_branch(replica: Replica) -> None:
    chat = replica.context("c")
    conversation = [
        replace(
            import_message({"role": role, "content": text}),
            ext=ImportedFrom("openai_chat:f", index),
        )
        for index, (role, text) in enumerate([("user", "q1"), ("assistant", "A1"), ("user", "q2")])
    ]
    assert await chat.import_messages(conversation[:2]) == 2
    branch = await chat.branch("b")
    empty = await chat.branch("e", before=(await chat.page(limit=1))[0].id)
    assert await branch.import_messages(conversation) == 1
    assert await branch.import_messages(conversation) == 0
    assert await empty.import_messages(conversation) == 3
    assert await chat.import_messages(conversation) == 1
    for one in (chat, branch, empty):
        assert await texts(one) == ["q1", "A1", "q2"]


async def test_a_reader_of_the_file_sees_the_same(place: Path) -> None:
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("c")
        await said(chat, "q1", "A1")
        branch = await chat.branch("b")
        await said(branch, "q2")
        await said(chat, "A3")
        async with open_replica(place / "s.db", readonly=True) as reader:
            assert await texts(reader.context("c").on(branch.branch_id)) == ["q1", "A1", "q2"]
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("c")
        assert await texts(chat.on(branch.branch_id)) == ["q1", "A1", "q2"]
        await said(chat.on(branch.branch_id), "A2")
        assert await shown(chat.on(branch.branch_id)) == ["q1", "A1", "q2", "A2"]


async def test_erasing_within_a_cut_record(place: Path) -> None:
    """The cut within a record holds when the event that names it is erased."""
    async with open_replica(place / "s.db") as replica:
        chat = replica.context("c")
        ids = await chat.append(["q1", answer("A1"), "q2", answer("A2")])
        branch = await chat.branch("b", at=ids[1])
        await said(branch, "q3")
        await chat.erase(event=ids[1], reason="test")
        assert await texts(branch) == ["q1", "q3"]
        assert await texts(chat) == ["q1", "q2", "A2"]
    report = verify(place / "s.db", progress=lambda *_: None)
    assert report.is_sound, report.findings


async def test_a_view_of_a_branch_that_was_erased_with_everything(replica: Replica) -> None:
    chat = replica.context("c")
    await said(chat, "q1", "A1")
    again = await chat.branch("again")
    await said(again, "q2")
    receipt = (await again.view()).receipt
    (row,) = await chat.erase(reason="everything goes", everything=True)
    with pytest.raises(ErasedContent, match="the whole context") as caught:
        await chat.replay(receipt)
    assert caught.value.erasers == (row.eraser,)


async def test_a_closed_branch(replica: Replica) -> None:
    chat = replica.context("c")
    await said(chat, "q1")
    branch = await chat.branch("b")
    event = Event("a", Close("done"), branch=branch.branch_id)
    await replica.scribe.append(chat.name, [lambda _: event])
    assert [one.closed for one in await chat.branches()] == ["done"]


async def test_a_branch_event_costs_no_copies(replica: Replica) -> None:
    chat = replica.context("c")
    for number in range(50):
        await said(chat, f"q{number}", f"A{number}")
    before = len(await all_records(replica))
    branch = await chat.branch("b", at=(await chat.page(limit=40))[-1].id)
    await said(branch, "q")
    assert len(await all_records(replica)) == before + 2
    assert len(await texts(branch)) == 41
    counts = await replica.journal.read(
        lambda connection: [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("events", "lines", "borrowed")
        ]
    )
    assert counts == [102, 1, 0]


async def test_what_views_carry_along(replica: Replica) -> None:
    chat = replica.context("c")
    kept = Message(Role.USER, (Text("kept"),), life=Lifetime.PERSISTENT)
    vital = Message(Role.USER, (Text("vital"),), crit=Criticality.CRITICAL)
    ids = await chat.append([kept, "q", vital])
    branch = await chat.branch("b", at=ids[1])
    ids += await branch.append([vital, "q", kept])
    ids += await chat.append(kept)

    def carried(table: EventTable, _: object) -> list[list[tuple[EventId, int]]]:
        orders = [Lineage(table, one) for one in (None, branch.branch_id)]
        return [[(row.id, row.carry) for row in order.carried()] for order in orders]

    assert await replica.ask(chat.name, carried) == [
        [(ids[0], PERSISTENT), (ids[2], CRITICAL), (ids[6], PERSISTENT)],
        [(ids[0], PERSISTENT), (ids[3], CRITICAL), (ids[5], PERSISTENT)],
    ]


async def test_the_event_of_a_branch(replica: Replica) -> None:
    chat = replica.context("c")
    ids = await chat.append(["q1", "q2"])
    await chat.branch("named", at=ids[0], author="ann")
    await chat.branch("whole", at=ids[1])
    found = [one.event async for one in chat.events() if isinstance(one.event.body, Branch)]
    record = (await all_records(replica))[0].record.hash
    assert [(one.author, one.body) for one in found] == [
        ("ann", Branch("named", (record,), ids[0])),
        ("branch", Branch("whole", (record,))),
    ]
