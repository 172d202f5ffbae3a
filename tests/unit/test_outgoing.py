"""What came from the peer never goes back to it, in whatever order we are told of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.linked import Store, stores
from weft_engine.limits import RECORDS_PER_FRAME
from weft_engine.names import ContextName, Position
from weft_engine.records.envelope import Record
from weft_engine.storage.ledger import Stored
from weft_engine.sync.end.composed import Composed
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.end.record_questions import ReadRecords, RecordsRead
from weft_engine.sync.framing.messages import Window

TOPIC = ContextName("a/1")


def run_of(store: Store, length: int) -> list[Record]:
    """Records of one chain, the first of which stands at position 1."""
    return [store.make(TOPIC, str(number), ()) for number in range(length)]


def read(question: ReadRecords, records: list[Record], *, signers: list[Store]) -> RecordsRead:
    """What a journal of these records answers; each is signed by whoever wrote it."""
    (part,) = question.parts
    later = [p for p in range(part.after + 1, len(records) + 1) if p <= part.upto]
    room = question.records_max - len(part.positions)
    wanted = [*part.again, *part.positions, *later[:room]]
    stored = tuple(Stored(Position(p), records[p - 1], 0) for p in wanted)
    by_writer = {store.key.incarnation: store.key for store in signers}
    items = tuple(
        key.sign(one.record.hash)
        for one in stored
        if (key := by_writer.get(one.record.envelope.origin)) is not None
    )
    return RecordsRead(question, (stored,), items=items)


def next_message(
    outgoing: Outgoing, records: list[Record], *, signers: list[Store]
) -> Composed | None:
    question = outgoing.next_read(Window(8, 1 << 20))
    assert question is not None
    return outgoing.compose(read(question, records, signers=signers), frozenset())


def positions(message: Composed | None, records: list[Record]) -> list[int]:
    return [] if message is None else [records.index(one) + 1 for one in message.records]


@pytest.mark.parametrize("theirs", [1, RECORDS_PER_FRAME, 3 * RECORDS_PER_FRAME])
def test_what_a_comparison_read_before_we_were_told_whose_it_is_does_not_go_back(
    theirs: int,
) -> None:
    """The peer's records were committed between its frontier and our look at it; that they are
    the peer's is heard of behind that."""

    async def scenario() -> None:
        async with stores(2) as (own, peer):
            records = [*run_of(own, 1), *run_of(peer, theirs), own.make(TOPIC, "last", ())]
            last = Position(len(records))
            outgoing = Outgoing()
            outgoing.head = Position(1)
            outgoing.committed(TOPIC, Position(1), from_peer=False)
            outgoing.differs(TOPIC, Position(1))
            outgoing.lacking(TOPIC, [Position(p) for p in range(1, last + 1)], last, last)
            for position in range(2, last):
                outgoing.head = Position(position)
                outgoing.committed(TOPIC, Position(position), from_peer=True)
            outgoing.head = last
            outgoing.committed(TOPIC, last, from_peer=False)
            sent: list[int] = []
            while outgoing.ready:
                sent += positions(next_message(outgoing, records, signers=[own, peer]), records)
            assert sent == [1, last]
            assert outgoing.idle

    asyncio.run(scenario())


def test_what_was_withheld_before_we_were_told_whose_it_is_does_not_go_back() -> None:
    async def scenario() -> None:
        async with stores(2) as (own, peer):
            records = [*run_of(peer, 2), *run_of(own, 1)]
            outgoing = Outgoing()
            outgoing.head = Position(1)
            outgoing.differs(TOPIC, Position(0))
            outgoing.lacking(TOPIC, [Position(1), Position(2)], Position(2), Position(2))
            assert next_message(outgoing, records, signers=[]) is None
            outgoing.head = Position(2)
            for position in (1, 2):
                outgoing.committed(TOPIC, Position(position), from_peer=True)
            outgoing.head = Position(3)
            outgoing.committed(TOPIC, Position(3), from_peer=False)
            message = next_message(outgoing, records, signers=[own, peer])
            assert positions(message, records) == [3]
            assert outgoing.idle

    asyncio.run(scenario())
