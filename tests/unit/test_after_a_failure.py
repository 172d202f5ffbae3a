"""A document that failed at a record once: what comes behind everything is applied as it comes, and
what comes beside something has the document made anew. Counted in documents that are made."""

from __future__ import annotations

from random import Random

import pycrdt
import pytest

from tests.unit.test_contested_documents import PLAN, written
from tests.unit.yjs_bytes import in_root, string, update_of
from tests.worlds import Author
from weft_engine.document.assembly import PANICKED, Assembly
from weft_engine.document.document import Document, is_panic
from weft_engine.names import ClientId
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.identity import WriterKey
from weft_engine.yjs.lib0 import var_uint

TYPE = update_of(in_root(7, b"\x01"), client=7)
LETTER = update_of(in_root(4, string("x")), client=7)
"""Another word for the same clock."""
INSIDE = update_of(b"\x04\x00" + var_uint(7) + b"\x00" + string("y"), client=8)


class Counted:
    """Makes documents, and counts them."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Document:
        self.made += 1
        return Document(ClientId(0))


def failing() -> list[Record]:
    """Records at one of which a document of them all fails: its parent is a letter there."""
    for number in range(2, 200):
        records = [written(LETTER, number), (type_ := written(TYPE, 1))]
        records.append(written(INSIDE, 999, type_))
        if PANICKED in anew(records).problems.values():
            return records
    raise AssertionError("no such records")


def anew(records: list[Record]) -> Assembly[Document]:
    assembly = Assembly(Counted(), is_panic)
    assembly.take_all(records)
    return assembly


def author(number: int) -> Author:
    return Author(WriterKey(number.to_bytes(32, "big")), HybridClock(), wall_ms=9)


class Tab:
    """Types into a note."""

    def __init__(self, client: int) -> None:
        self._document: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=client)

    def types(self, letter: str) -> bytes:
        known = self._document.get_state()
        self._document.get("note:plan", type=pycrdt.Text).insert(0, letter)
        return bytes(self._document.get_update(known))


@pytest.mark.parametrize("is_offered", [False, True])
def test_what_comes_behind_everything_costs_no_new_document(is_offered: bool) -> None:
    records = failing()
    make = Counted()
    assembly = Assembly(make, is_panic)
    assembly.take_all(records)
    before = make.made
    relay, tab = author(77), Tab(5)
    for record in records:
        relay.receive(record)
    for number in range(30):
        record = relay.write_payload(tab.types("abc"[number % 3]), Kind.FOREIGN)
        records.append(record)
        if is_offered:
            assembly.document.apply(record.payload)
            assert assembly.pass_over(record)
        else:
            assert assembly.take_one(record)
    assert make.made == before
    assert assembly.document.text(PLAN) == "cba" * 10 == anew(records).document.text(PLAN)


def test_what_comes_beside_something_has_it_made_anew() -> None:
    records = failing()
    assembly = anew(records)
    beside = written(Tab(5).types("b"), 77, records[0])
    assert not assembly.take_one(beside)
    behind = written(Tab(6).types("a"), 78, *records, beside)
    assert not assembly.take_one(behind), "it is not the document of the records before it"


@pytest.mark.parametrize("seed", range(12))
def test_followed_or_made_anew_it_is_the_same(seed: int) -> None:
    rng = Random(seed)
    records = failing()
    relays = [(author(70 + number), Tab(20 + number)) for number in range(3)]
    followed = anew(records)
    taken = 0
    for _ in range(25):
        relay, tab = rng.choice(relays)
        if rng.random() < 0.7:
            for record in records:
                relay.receive(record)
        records.append(relay.write_payload(tab.types(rng.choice("abc")), Kind.FOREIGN))
        if followed.take_one(records[-1]):
            taken += 1
        else:
            followed = anew(records)
        other = anew(records)
        assert followed.document.texts() == other.document.texts()
        assert followed.problems == other.problems
    assert taken >= 5
