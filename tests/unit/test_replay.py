"""Which records of an equivocation hold, whatever order they stand in."""

from __future__ import annotations

import pycrdt

from tests.worlds import CONTEXT
from weft_engine.document.replay import replayed
from weft_engine.names import Hlc
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.identity import WriterKey


def foreign(writer: int, prev: Record | None, deps: list[Record], payload: bytes) -> Record:
    origin = WriterKey(writer.to_bytes(32, "big")).incarnation
    envelope = Envelope(
        CONTEXT,
        origin,
        1 if prev is None else prev.envelope.seq + 1,
        None if prev is None else prev.hash,
        tuple(sorted(one.hash for one in deps)),
        Hlc((1 if prev is None else prev.envelope.seq + 1) << 16),
        Kind.FOREIGN,
        payload_digest(payload),
    )
    return seal(envelope, payload)


class Typed:
    """What a tab types, update by update."""

    def __init__(self, client: int) -> None:
        self._doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=client)
        self._text = self._doc.get("note:plan", type=pycrdt.Text)

    def type(self, text: str) -> bytes:
        before = self._doc.get_state()
        self._text += text
        return self._doc.get_update(before)


def sides() -> tuple[Record, Record]:
    """Two firsts of one chain: the one that holds, and the one that is left out."""
    a = foreign(1, None, [], Typed(901).type("a"))
    b = foreign(1, None, [], Typed(902).type("b"))
    return (a, b) if a.hash < b.hash else (b, a)


def test_what_another_record_gave_too_is_no_losing_side_in_any_order() -> None:
    holds, loses = sides()
    tab = Typed(7)
    first, second = tab.type("first"), tab.type(" second")
    kept = foreign(2, None, [], first)
    again = foreign(1, loses, [], first)
    """The tab said it to the relay that was set back, too."""
    later = foreign(3, None, [kept, loses], second)
    for records in (
        [holds, loses, kept, again, later],
        [holds, loses, kept, later, again],
        [kept, loses, later, again, holds],
    ):
        assert {one.hash for one in replayed(records)} == {holds.hash, kept.hash, later.hash}


def test_what_is_said_again_behind_a_losing_side_holds() -> None:
    holds, loses = sides()
    tab = Typed(7)
    first, second, third = tab.type("first"), tab.type(" second"), tab.type(" third")
    lost = foreign(1, loses, [], first)
    both = pycrdt.merge_updates(first, second)
    again = foreign(2, None, [lost], both)
    after = foreign(2, again, [], third)
    only_lost = foreign(3, None, [lost], second)
    records = [holds, loses, lost, again, after, only_lost]
    assert {one.hash for one in replayed(records)} == {holds.hash, again.hash, after.hash}
