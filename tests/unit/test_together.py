"""Messages about one context each go out together, in their order, within their limits."""

from __future__ import annotations

import random

from weft_engine.limits import CONTEXTS_PER_QUESTION, FRONTIER_HASHES_MAX
from weft_engine.names import ContextName, RecordHash
from weft_engine.sync.end.regions.together import OfContext, together
from weft_engine.sync.framing.frames import decode_message, encode
from weft_engine.sync.framing.messages import Frontier, Frontiers, Sample, Zoom, Zooms

ONE = RecordHash(bytes(32))


def test_nothing_is_lost_and_the_order_stays() -> None:
    rng = random.Random(1)
    for _ in range(200):
        messages: list[OfContext] = []
        while rng.random() < 0.9:
            name = ContextName(f"acme/{len(messages)}")
            made: OfContext = rng.choice(
                (
                    Frontier(name, (ONE,), ()),
                    Frontier(name, (ONE,), (ONE,)),
                    Zoom(name, 1, b"", True),
                    Sample(name, (), (ONE,)),
                )
            )
            messages += [made] * rng.choice((1, 1, 3, CONTEXTS_PER_QUESTION + 1))
        apart: list[OfContext] = []
        for message in together(messages):
            assert decode_message(encode(message)) == message
            if isinstance(message, Frontiers | Zooms):
                assert 1 < len(message.entries) <= CONTEXTS_PER_QUESTION
                apart += message.entries
            else:
                apart.append(message)
        assert apart == messages


def test_long_frontiers_do_not_make_one_message_of_many_megabytes() -> None:
    hashes = tuple(RecordHash(i.to_bytes(32, "big")) for i in range(FRONTIER_HASHES_MAX))
    some = [Frontier(ContextName(f"acme/{index}"), hashes, ()) for index in range(5)]
    most = 3 * 34 * FRONTIER_HASHES_MAX
    assert all(len(encode(message)) < most for message in together(some))
