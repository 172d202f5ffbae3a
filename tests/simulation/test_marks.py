"""What the simulator expects an eraser to take, word by word."""

from __future__ import annotations

from typing import Any

import pycrdt

from tests.simulation.marks import Marks, is_taken
from tests.worlds import CONTEXT
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.names import Hlc, NoteName
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.erasure import Erasure, Listed
from weft_engine.records.identity import WriterKey

KEY = WriterKey(bytes(32))
ID = "1018bcfe5779012e0-107fcc9e5bff7280a3629e1b3c4cdb03"
PLAN = Erasure((), NoteName("plan"), "because", {})
EVERYTHING = Erasure((), None, "because", {})


def said(text: str) -> str:
    return encode_event(Event("tab", Message(Role.USER, (Text(text),)))).decode()


def journaled(marks: Marks, payload: bytes, prev: Record | None = None) -> Record:
    """By a relay, for a plain Yjs client."""
    seq = 1 if prev is None else prev.envelope.seq + 1
    before = None if prev is None else prev.hash
    digest = payload_digest(payload)
    envelope = Envelope(
        CONTEXT, KEY.incarnation, seq, before, (), Hlc(seq << 16), Kind.FOREIGN, digest
    )
    record = seal(envelope, payload)
    marks.journaled(record)
    return record


def taken(marks: Marks, erasure: Erasure, *records: Record) -> set[bytes]:
    """By an eraser that has these records in its past and lists them, where it lists any."""
    past = {record.hash for record in records}
    listed = {} if erasure.is_everything else dict.fromkeys(past, Listed(b"", {}))
    eraser = Erasure(erasure.events, erasure.note, erasure.reason, listed)
    return {
        word
        for word, mark in marks.found.items()
        if is_taken(eraser, mark, past, marks.copies[word])
    }


def test_an_erased_note_takes_nothing_else_that_stands_in_its_records() -> None:
    """A tab that was offline sends all it did as one update: with two notes in it, and with an
    event that another one took the place of."""
    tab: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    plan, todo = (tab.get(f"note:{note}", type=pycrdt.Text) for note in ("plan", "todo"))
    plan.insert(0, "the bridge #000001#")
    todo.insert(0, "the tower #000002#")
    events = tab.get("events", type=pycrdt.Map)
    events[ID] = said("first #000003#")
    events[ID] = said("then #000004#")
    marks = Marks()
    first = journaled(marks, tab.get_update())
    assert set(marks.found) == {b"#000001#", b"#000002#", b"#000004#"}
    assert taken(marks, PLAN, first) == {b"#000001#"}
    assert taken(marks, EVERYTHING, first) == set(marks.found)


def test_a_note_takes_what_does_not_name_it() -> None:
    """Letters behind others carry the id of these and not the name of the note."""
    tab: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    plan, todo = (tab.get(f"note:{note}", type=pycrdt.Text) for note in ("plan", "todo"))
    plan.insert(0, "the bridge")
    todo.insert(0, "the tower")
    marks = Marks()
    first = journaled(marks, tab.get_update())
    known = tab.get_state()
    plan.insert(4, "#000001#")
    todo.insert(4, "#000002#")
    second = journaled(marks, tab.get_update(known), first)
    assert b"note:" not in second.payload
    assert taken(marks, PLAN, first, second) == {b"#000001#"}
    assert taken(marks, PLAN, first) == set(), "another record holds the word, and is not listed"
