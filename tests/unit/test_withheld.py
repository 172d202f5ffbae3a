"""What is withheld for want of a signature, and turns out to be at the peer."""

from __future__ import annotations

import asyncio

from tests.linked import stores
from weft_engine.names import ContextName, Position
from weft_engine.records.envelope import Record
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import Stored
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.end.record_questions import ReadRecords, RecordsRead
from weft_engine.sync.framing.messages import Window

CHAT = ContextName("a/b")
WINDOW = Window(4, 1 << 20)


def chain_of_two() -> tuple[Record, Record, SignatureItem]:
    async def run() -> tuple[Record, Record, SignatureItem]:
        async with stores(1) as (store,):
            first = store.make(CHAT, "1", [])
            second = store.make(CHAT, "2", [first.hash])
            return first, second, store.key.sign(second.hash)

    return asyncio.run(run())


def read(question: ReadRecords, *stored: Stored, item: SignatureItem | None = None) -> RecordsRead:
    return RecordsRead(question, (stored,), items=() if item is None else (item,))


def test_what_stands_before_a_record_of_the_peer_is_at_the_peer() -> None:
    """A copy of a store has written the second record, and the peer got both from it."""
    first, second, item = chain_of_two()
    outgoing = Outgoing()
    outgoing.head = Position(2)
    outgoing.absent(CHAT, Position(2))
    question = outgoing.next_read(WINDOW)
    assert question is not None
    one, two = Stored(Position(1), first, 0), Stored(Position(2), second, 0)
    assert outgoing.compose(read(question, one, two, item=item), {second.hash}) is None
    assert outgoing.idle


def test_what_was_withheld_is_looked_at_again_when_the_peer_sends_what_follows() -> None:
    first, second, item = chain_of_two()
    outgoing = Outgoing()
    outgoing.head = Position(1)
    outgoing.absent(CHAT, Position(1))
    question = outgoing.next_read(WINDOW)
    assert question is not None
    one, two = Stored(Position(1), first, 0), Stored(Position(2), second, 0)
    assert outgoing.compose(read(question, one), ()) is None, "nothing covers it"
    assert not outgoing.idle
    outgoing.head = Position(2)
    outgoing.committed(CHAT, Position(2), from_peer=True)
    question = outgoing.next_read(WINDOW)
    assert question is not None
    assert outgoing.compose(read(question, one, two, item=item), ()) is None
    assert outgoing.idle
