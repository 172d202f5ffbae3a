"""Records that give the same clocks: what the document makes of them, record by record."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import pycrdt
import pytest

from tests.worlds import Author
from weft_engine.document.assembly import WAITS, Assembly
from weft_engine.document.document import Document, is_panic
from weft_engine.document.rebuild import Rebuild
from weft_engine.limits import COMPARED_STRUCTS
from weft_engine.names import ClientId, NoteName
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.identity import WriterKey
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.stand_in import Anatomy

PLAN, IDEAS = NoteName("plan"), NoteName("ideas")
LACKING = bytes.fromhex("01010700" + "84" + "6300" + "05") + b"liars" + b"\x00"
"""Five letters of client 7, behind one of client 99 that nobody has written."""


def empty() -> Assembly[Document]:
    return Assembly(partial(Document, ClientId(0)), is_panic)


def anew(records: list[Record]) -> Assembly[Document]:
    assembly = empty()
    assembly.take_all(records)
    return assembly


def written(payload: bytes, number: int, *parents: Record) -> Record:
    """By a relay of its own, which knows `parents`."""
    author = Author(WriterKey(number.to_bytes(32, "big")), HybridClock(), wall_ms=9)
    for record in parents:
        author.receive(record)
    return author.write_payload(payload, Kind.FOREIGN)


def blank(record: Record) -> Record:
    return replace(record, payload=Anatomy.of(record.payload).blank())


@pytest.fixture
def tab() -> pycrdt.Doc[Any]:
    found: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    found.get("note:plan", type=pycrdt.Text).insert(0, "words")
    return found


def test_what_waits_takes_no_place_from_what_was_said(tab: pycrdt.Doc[Any]) -> None:
    """It claims to hold more than a blank, and can't be applied itself."""
    erased = blank(written(tab.get_update(), 1))
    known = tab.get_state()
    tab.get("note:ideas", type=pycrdt.Text).insert(0, "more")
    behind = written(tab.get_update(known), 2, erased)
    liar = written(LACKING, 3)
    for first, then, last in permutations((erased, behind, liar)):
        if first is behind or last is erased:
            continue
        records = [first, then, last]
        assembly = anew(records)
        assert assembly.document.texts() == {IDEAS: "more"}
        assert assembly.problems == {liar.hash: WAITS}
        followed = empty()
        for number, record in enumerate(records, 1):
            if not followed.take([record]):
                followed = anew(records[:number])
        assert followed.document.texts() == {IDEAS: "more"}


def test_a_liar_does_not_have_every_record_make_it_anew(tab: pycrdt.Doc[Any]) -> None:
    erased = blank(written(tab.get_update(), 1))
    records = [erased, written(LACKING, 3)]
    assembly = anew(records)
    for number in range(4, 8):
        known = tab.get_state()
        tab.get("note:ideas", type=pycrdt.Text).insert(0, "x")
        records.append(written(tab.get_update(known), number, *records))
        assert assembly.take(records[-1:])
    assert assembly.document.texts() == {IDEAS: "xxxx"} == anew(records).document.texts()
    # What is given again, or what waited, may have had its turn before others.
    assert not assembly.take([written(tab.get_update(), 8, *records)])
    assembly = anew(records)
    brings = pycrdt.Doc[Any](client_id=99)
    brings.get("note:ideas", type=pycrdt.Text).insert(0, "y")
    assert not assembly.take([written(brings.get_update(), 9)])


def test_what_waits_is_judged_behind_a_checkpoint_too(tab: pycrdt.Doc[Any]) -> None:
    said = written(tab.get_update(), 1)
    erased = next(
        one
        for number in range(2, 99)
        if (one := blank(written(tab.get_update(), number))).hash < said.hash
    )
    rebuild = Rebuild()
    rebuild.take([said, erased])
    assert rebuild.is_sound
    restored = empty()
    assert restored.restore(rebuild.encoded(), dict(rebuild.tips))
    assert restored.document.texts() == {PLAN: "words"}
    waits = written(LACKING.replace(b"\x01\x01\x07", b"\x01\x01\x08", 1), 100, said, erased)
    found = restored if restored.take([waits]) else anew([said, erased, waits])
    assert found.document.texts() == anew([erased, said, waits]).document.texts()
    assert found.problems == {waits.hash: WAITS}


def test_a_blank_that_comes_late_leaves_a_document_that_can_be_kept(
    tab: pycrdt.Doc[Any],
) -> None:
    said = written(tab.get_update(), 1)
    erased = blank(written(tab.get_update(), 2))
    followed = empty()
    assert followed.take([said, erased])
    assert followed.is_plain
    assert followed.document.texts() == {PLAN: "words"}
    early = empty()
    assert early.take([erased])
    assert early.is_plain
    assert not early.take([said]), "it brings what only a blank had given"
    assert anew([erased, said]).document.texts() == {PLAN: "words"}


def test_the_same_told_again_costs_no_document(tab: pycrdt.Doc[Any]) -> None:
    """However it is cut, and if it is deleted by now."""
    text = tab.get("note:plan", type=pycrdt.Text)
    followed = empty()
    assert followed.take([written(tab.get_update(), 1)])
    text.insert(2, "--")
    assert followed.take([written(tab.get_update(), 2)])
    assert followed.take([written(tab.get_update(bytes((1, 7, 3))), 3)])
    del text[3:5]
    assert followed.take([written(tab.get_update(), 4), written(tab.get_update(), 5)])
    assert followed.is_plain
    assert followed.document.text(PLAN) == str(text) == "wo-ds"


@pytest.fixture
def clone() -> pycrdt.Doc[Any]:
    found: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    found.get("note:plan", type=pycrdt.Text).insert(0, "other text")
    return found


def test_other_words_for_the_same_clocks(tab: pycrdt.Doc[Any], clone: pycrdt.Doc[Any]) -> None:
    """The one with the lower hash says them."""
    records = [written(tab.get_update(), 1), written(clone.get_update(), 2)]
    shown = set()
    for first, then in permutations(records):
        followed = empty()
        assert followed.take([first])
        assert not followed.take([then])
        assembly = anew([first, then])
        assert not assembly.is_plain, "a checkpoint could not tell"
        shown.add(assembly.document.text(PLAN))
        # What gives no clock again is applied as it comes.
        beside: pycrdt.Doc[Any] = pycrdt.Doc(client_id=8)
        beside.get("note:ideas", type=pycrdt.Text).insert(0, "more")
        assert assembly.take([written(beside.get_update(), 3)])
        assert assembly.document.text(IDEAS) == "more"
        # Had what gives them again come in its turn, it might have been first.
        assert not assembly.take([written(clone.get_update(), 4)])
    words = "words" if records[0].hash < records[1].hash else "other"
    assert shown == {words + " text"}


def test_words_win_over_a_blank_beside_other_words(
    tab: pycrdt.Doc[Any], clone: pycrdt.Doc[Any]
) -> None:
    beside: pycrdt.Doc[Any] = pycrdt.Doc(client_id=8)
    beside.get("note:ideas", type=pycrdt.Text).insert(0, "more")
    said = written(beside.get_update(), 3)
    erased = next(
        one
        for number in range(4, 99)
        if (one := blank(written(beside.get_update(), number))).hash < said.hash
    )
    records = [written(tab.get_update(), 1), written(clone.get_update(), 2), said, erased]
    for some in permutations(records):
        assert anew(list(some)).document.text(IDEAS) == "more"


def test_other_words_that_were_offered(tab: pycrdt.Doc[Any], clone: pycrdt.Doc[Any]) -> None:
    """A client's bytes are written as sent if they hold an event, with all that was known."""
    for other in (tab, clone):
        assembly = empty()
        assert assembly.take([written(tab.get_update(), 1)])
        other.get("events", type=pycrdt.Map)["x"] = "1"
        data = other.get_update()
        assembly.offer(data, read_update(data), assembly.document.observed)
        assert assembly.pass_over(written(data, 2)) == (other is tab)


def test_a_key_without_a_value_is_none_of_wefts() -> None:
    assembly = anew([written(b"\x01\x01\x07\x00\x26\x01\x06events\x01x\x04bold\x04true\x00", 1)])
    assert assembly.document.content() is None


def test_what_is_much_to_read_is_not_compared_for_ever(tab: pycrdt.Doc[Any]) -> None:
    """Few bytes that say again what is in many pieces by now."""
    text = tab.get("note:plan", type=pycrdt.Text)
    size = COMPARED_STRUCTS // 2
    text.insert(0, "xy" * (size // 2))
    whole = tab.get_update()
    state = tab.get_state()
    for at in range(size // 2):
        del text[at]
    pieces = written(tab.get_update(state), 2)
    records = [written(whole, 1), pieces, *(written(whole, number) for number in range(3, 9))]
    assembly = empty()
    assert assembly.take(records[:3])
    assert not assembly.take(records[3:])
    assert anew(records).document.text(PLAN) == str(text)
