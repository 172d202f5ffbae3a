"""What links hold for their peers is counted, and who holds most goes first."""

from __future__ import annotations

import random

from tests.linked import NOW_MS
from weft_engine.limits import MIB
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.storage.journal import Identity
from weft_engine.sync.end.questions import ListContexts, Listed
from weft_engine.sync.end.session import Session
from weft_engine.sync.framing.fragments import FRAGMENT_BYTES
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Contexts, Fragment, Frontier, Resume
from weft_engine.sync.interest import EVERYTHING
from weft_server.holdings import Holding, too_large


def session(*, region: str | None = None) -> Session:
    rng = random.Random(region or "peer")
    ticket = None if region is None else rng.randbytes(16)
    identity = Identity(rng.randbytes(16), rng.randbytes(8))
    return Session(identity, interest=EVERYTHING, now_ms=NOW_MS, region=region, ticket=ticket)


def relay() -> Session:
    """One end, which has nothing, after the hello of the other."""
    found = session(region="test")
    found.receive(session().frames_to_send()[0])
    found.receive(encode(Resume(None)))
    assert isinstance(found.next_question(), ListContexts)

    found.supply(Listed((), None, Position(0)))
    found.frames_to_send()
    assert found.held_bytes == 0
    return found


def test_a_message_that_never_ends_is_counted() -> None:
    end = relay()
    for index in range(4):
        end.receive(encode(Fragment(1, index, 300, bytes(FRAGMENT_BYTES))))
    assert end.held_bytes == 4 * FRAGMENT_BYTES


def test_lists_and_announced_hashes_are_counted() -> None:
    end = relay()
    names = [ContextName(f"c/{number:03}") for number in range(100)]
    end.receive(encode(Contexts(tuple((name, bytes(32)) for name in names), last=True)))
    assert end.held_bytes >= 100 * 200
    before = end.held_bytes
    rng = random.Random(1)
    hashes = sorted(rng.randbytes(32) for _ in range(1000))
    end.receive(encode(Frontier(names[0], tuple(map(RecordHash, hashes)), ())))
    assert end.held_bytes > before + 1000 * 64
    assert end.end is None


def test_who_holds_most_goes_until_the_rest_has_room() -> None:
    sizes = {"a": 5, "b": 90, "c": 70, "d": 1}
    holdings = [Holding(who, size * MIB) for who, size in sizes.items()]
    assert too_large(holdings, bytes_max=166 * MIB) == ()
    assert [one.who for one in too_large(holdings, bytes_max=165 * MIB)] == ["b"]
    assert [one.who for one in too_large(holdings, bytes_max=10 * MIB)] == ["b", "c"]
    assert not too_large([], bytes_max=0)
