"""What the losing side of an equivocation wrote into notes is found from the bytes of records."""

from __future__ import annotations

from collections.abc import Sequence

import pycrdt

from tests.worlds import CONTEXT
from weft_engine.document.document import Document
from weft_engine.document.left_out import LeftOut, left_out
from weft_engine.document.replay import replayed
from weft_engine.names import Hlc, NoteName
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.identity import WriterKey, client_id

PLAN, IDEAS = NoteName("plan"), NoteName("ideas")


def key(number: int) -> WriterKey:
    return WriterKey(number.to_bytes(32, "big"))


def apply(document: Document, records: Sequence[Record]) -> None:
    for record in records:
        document.apply(record.payload)


class Side:
    """A writer with a document of its own; `fork` is what a cloned machine does."""

    def __init__(self, writer: WriterKey, history: list[Record]) -> None:
        self.key = writer
        self.history = list(history)
        self.document = Document(client_id(writer.incarnation, CONTEXT))
        apply(self.document, history)

    def fork(self) -> Side:
        return Side(self.key, self.history)

    def write(self, note: NoteName, at: int, text: str, *, hlc: int, delete: int = 0) -> Record:
        payload = self.document.edit(note, at, delete, text)
        assert payload is not None
        own = [r for r in self.history if r.envelope.origin == self.key.incarnation]
        prev = own[-1] if own else None
        parents = {p for r in self.history for p in r.envelope.parents}
        ends = {r.hash for r in self.history} - parents - {prev.hash if prev else None}
        envelope = Envelope(
            CONTEXT,
            self.key.incarnation,
            1 if prev is None else prev.envelope.seq + 1,
            None if prev is None else prev.hash,
            tuple(sorted(h for h in ends if h is not None)),
            Hlc(hlc << 16),
            Kind.NATIVE,
            payload_digest(payload),
        )
        record = seal(envelope, payload)
        self.history.append(record)
        return record

    def hear(self, *records: Record) -> None:
        self.history += records
        apply(self.document, records)


def texts(found: list[LeftOut]) -> list[tuple[str, str, int]]:
    return [(lost.note, lost.text, lost.time_ms) for lost in found]


def loser_of(a: Record, b: Record) -> Record:
    return max(a, b, key=lambda record: record.hash)


def test_without_an_equivocation_nothing_is_left_out() -> None:
    side = Side(key(1), [])
    side.write(PLAN, 0, "Hello", hlc=1)
    side.write(PLAN, 5, " world", hlc=2)
    assert left_out(side.history) == []


def test_text_is_found_through_the_ids_it_stands_beside() -> None:
    """The losing side goes on typing into what it shares with the other one, in two notes."""
    for mark in range(4):  # so that each side loses in one of them
        one = Side(key(1), [])
        shared = [one.write(PLAN, 0, "shared ünd", hlc=1), one.write(IDEAS, 0, "x", hlc=2)]
        other = one.fork()
        firsts = one.write(PLAN, 3, "A1", hlc=3 + mark), other.write(IDEAS, 1, "B1", hlc=4 + mark)
        mine = [firsts[0], one.write(PLAN, 4, "🌍", hlc=9), one.write(IDEAS, 0, "A3", hlc=10)]
        theirs = [firsts[1], other.write(IDEAS, 2, "B2", hlc=9), other.write(PLAN, 0, "B3", hlc=10)]
        records = [*shared, *mine, *theirs]
        found = texts(left_out(records))
        if loser_of(*firsts) == firsts[0]:
            assert found == [("plan", "A1", 3 + mark), ("plan", "🌍", 9), ("ideas", "A3", 10)]
        else:
            assert found == [("ideas", "B1", 4 + mark), ("ideas", "B2", 9), ("plan", "B3", 10)]
        # Together with the document that is everything that anybody typed.
        document = Document(client_id(key(2).incarnation, CONTEXT))
        apply(document, replayed(records))
        shown = document.text(PLAN) + document.text(IDEAS)
        assert sorted(shown + "".join(text for _, text, _ in found)) == sorted(
            "shared ündxA1🌍A3B1B2B3"
        )


def test_what_others_built_on_the_losing_side_is_left_out_with_it() -> None:
    one = Side(key(1), [])
    shared = one.write(PLAN, 0, "s", hlc=1)
    other = one.fork()
    firsts = one.write(PLAN, 1, "A", hlc=2), other.write(IDEAS, 0, "B", hlc=2)
    loser = one if loser_of(*firsts) == firsts[0] else other
    third = Side(key(3), loser.history)
    note, shown = (PLAN, "sA") if loser is one else (IDEAS, "B")
    built = third.write(note, len(shown), "!", hlc=5)
    apart = third.write(NoteName("third"), 0, "own", hlc=6)
    # Its own chain is judged by prev: behind what is left out everything is.
    found = texts(left_out([shared, *firsts, built, apart]))
    assert found == [(note, shown[-1], 2), (note, "!", 5), ("third", "own", 6)]


def test_journals_name_the_same_note_whatever_came_first() -> None:
    """Two losing sides have given the same id, in two notes, and somebody builds on it."""
    one = Side(key(1), [])
    shared = one.write(PLAN, 0, "s", hlc=1)
    forks = [one, one.fork(), one.fork()]
    sides = [side.write(NoteName(f"n{i}"), 0, "word", hlc=2) for i, side in enumerate(forks)]
    _, *losers = sorted(sides, key=lambda record: record.hash)
    for first, second in (losers, losers[::-1]):
        third = Side(key(3), [shared, first])
        third.hear(second)
        built = third.write(NoteName(f"n{sides.index(first)}"), 4, "!", hlc=5)
        found = [left_out([shared, *order, built]) for order in (sides, sides[::-1])]
        assert found[0] == found[1]
        assert (built.hash, "!") in [(lost.record, lost.text) for lost in found[0]]


def test_other_roots_and_circles_end_in_nothing() -> None:
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=client_id(key(1).incarnation, CONTEXT))
    text = doc.get("stream:x", type=pycrdt.Text)
    text += "no note"
    payload = doc.get_update()

    def made(hlc: int) -> Record:
        envelope = Envelope(
            CONTEXT, key(1).incarnation, 1, None, (), Hlc(hlc), Kind.NATIVE, payload_digest(payload)
        )
        return seal(envelope, payload)

    assert left_out([made(1), made(2)]) == []
    # Two structs of two clients that name each other as origin: yrs would never show them.
    a = bytes([1, 7, 0, 0x84, 8, 0, 1, 0x61])
    b = bytes([1, 8, 0, 0x84, 7, 0, 1, 0x62])
    circle = bytes([2]) + a + b + bytes([0])
    payload = circle
    foreign = [
        seal(
            Envelope(CONTEXT, key(1).incarnation, 1, None, (), Hlc(hlc), Kind.FOREIGN,
                     payload_digest(circle)),
            circle,
        )
        for hlc in (1, 2)
    ]  # fmt: skip
    assert left_out(foreign) == []
