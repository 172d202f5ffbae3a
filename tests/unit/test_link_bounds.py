"""What one peer can make an end hold is bounded, however it goes about it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tests.unit.test_holdings import relay
from weft_engine.limits import (
    ANNOUNCED_HASHES_MAX,
    POSITIONS_PER_ACK_MAX,
    WANTED_IN_VAIN_MAX,
    WANTED_PER_FRAME_MAX,
)
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.sync.end.acks import Acks
from weft_engine.sync.end.live import Sent
from weft_engine.sync.end.record_questions import ReadWanted, RecordsRead
from weft_engine.sync.end.session import Session
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Ack, ByeCode, Contexts, Frontier, Want


def ended(end: Session) -> str | None:
    return None if end.end is None else end.end.code


@pytest.mark.parametrize("seed", range(20))
def test_acknowledgements_that_do_not_leave_are_as_few_as_the_gaps(seed: int) -> None:
    rng = random.Random(seed)
    serials = list(range(1, 200))
    rng.shuffle(serials)
    acks, left = Acks(), set(serials)
    told: set[int] = set()
    while serials:
        first = last = serials.pop()
        while last + 1 in serials and rng.random() < 0.5:
            last += 1
            serials.remove(last)
        acks.add(Ack(first, last, (("here", Position(first)),)))
        if rng.random() < 0.05:
            taken = acks.take()
            for former, latter in pairwise(taken):
                assert former.last + 1 < latter.first, "runs that touch are one"
            for ack in taken:
                some = set(range(ack.first, ack.last + 1))
                assert some <= left
                assert not some & told
                told |= some
            assert acks.is_empty
    told.update(n for ack in acks.take() for n in range(ack.first, ack.last + 1))
    assert told == left


def test_an_acknowledgement_names_the_newest_position_of_each_region() -> None:
    acks = Acks()
    acks.add(Ack(1, 1, (("a", Position(3)),)))
    acks.add(Ack(3, 3, ()))
    acks.add(Ack(2, 2, (("a", Position(7)), ("b", Position(1)))))
    assert acks.take() == [Ack(1, 3, (("a", Position(7)), ("b", Position(1))))]


def test_more_regions_than_one_ack_names_end_the_link() -> None:
    end = relay()
    end.receive(encode(Contexts((), last=True)))
    for serial in range(1, 3):
        end.sending.outgoing.sent(serial, Sent(Position(1), 0, {}))
        regions = tuple(
            (f"r{serial}-{n}", Position(0)) for n in range(POSITIONS_PER_ACK_MAX // serial)
        )
        assert ended(end) is None
        end.receive(encode(Ack(serial, serial, regions)))
    assert ended(end) == ByeCode.LIMIT


def test_frontiers_of_many_contexts_are_fine_and_long_ones_are_not() -> None:
    end = relay()
    names = [ContextName(f"c/{number:03}") for number in range(300)]
    end.receive(encode(Contexts(tuple((name, bytes(32)) for name in names), last=True)))
    rng = random.Random(1)
    left = ANNOUNCED_HASHES_MAX
    for name in names:
        hashes = tuple(RecordHash(one) for one in sorted(rng.randbytes(32) for _ in range(501)))
        assert ended(end) is None
        end.receive(encode(Frontier(name, hashes, ())))
        left -= 500
        if left < 0:
            break
    assert ended(end) == ByeCode.LIMIT


def test_asking_for_what_is_not_here_ends_the_link_at_last() -> None:
    end = relay()
    end.receive(encode(Contexts((), last=True)))
    rng = random.Random(2)
    asked = 0
    while ended(end) is None:
        hashes = sorted(rng.randbytes(32) for _ in range(WANTED_PER_FRAME_MAX))
        end.receive(encode(Want(tuple(RecordHash(one) for one in hashes))))
        question = end.next_question()
        assert isinstance(question, ReadWanted)
        end.supply(RecordsRead(question, ((),)))
        asked += len(hashes)
    assert ended(end) == ByeCode.LIMIT
    assert asked == WANTED_IN_VAIN_MAX + WANTED_PER_FRAME_MAX
