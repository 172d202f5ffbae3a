"""A context with hostile records in it: its events show, its notes go on, and the list says why."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pycrdt

from tests.command_line import weft
from tests.stores import folder, give, open_replica
from tests.unit.test_door import CONTEXT, KEY, chain_of, in_a_letter, nested
from weft_engine.document.assembly import MISPLACED
from weft_engine.document.document import Document
from weft_engine.names import ClientId, NoteName
from weft_engine.records.envelope import Record
from weft_engine.replica.replica import Replica

NOTE = NoteName("n")


async def admit(replica: Replica, records: Sequence[Record]) -> None:
    outcome = await replica.journal.admit(
        records, [KEY.sign(records[-1].hash)], session=b"hostile", now_ms=replica.now_ms()
    )
    assert len(outcome.applied) == len(records)


def test_hostile_records_leave_a_context_readable_and_writable_and_are_listed() -> None:
    async def run() -> None:
        with folder() as where:
            records = chain_of(*in_a_letter(), *nested(65 + 6, client=5))
            async with open_replica(where / "a.weft") as a, open_replica(where / "b.weft") as b:
                context = a.context(CONTEXT)
                await context.append("before")
                await context.note("n").append("mine ")
                await admit(a, records)
                await context.append("after")
                await context.note("n").append("too")
                listed = await context.kept_out()
                assert (records[1].hash.hex(), MISPLACED) in listed
                assert len(listed) == 1 + 6
                said = [str(one.event.body) async for one in context.history()]
                assert ["before" in said[0], "after" in said[1], len(said)] == [True, True, 2]
                await give(a, b)
                assert await b.context(CONTEXT).kept_out() == listed
                assert await b.context(CONTEXT).note("n").text() == await context.note("n").text()
                assert "mine" in await context.note("n").text()
            shown = weft("history", CONTEXT, "--store", str(where / "a.weft"), "--events")
            line = f"not in the notes: record {records[1].hash.hex()[:16]}: {MISPLACED}"
            assert line in shown.out

    asyncio.run(run())


def test_a_note_with_a_picture_in_it_is_edited_where_the_text_says() -> None:
    """pycrdt counts what is no text as one; `str` leaves it out."""
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=3)
    text = doc.get("note:n", type=pycrdt.Text)
    text += "héllo"
    text.insert_embed(3, {"image": "x"})
    text.insert_embed(0, {"image": "y"})
    document = Document(ClientId(9))
    document.apply(doc.get_update())
    assert document.text(NOTE) == "héllo"
    document.edit(NOTE, 5, 0, "!")
    assert document.text(NOTE) == "héllo!"
    document.edit(NOTE, 2, 2, "LL")
    assert document.text(NOTE) == "héLLo!"
    document.edit(NOTE, 0, 1, "H")
    assert document.text(NOTE) == "HéLLo!"
    document.edit(NOTE, 0, 6, "")
    assert document.text(NOTE) == ""
    document.edit(NOTE, 0, 0, "new")
    assert document.text(NOTE) == "new"
