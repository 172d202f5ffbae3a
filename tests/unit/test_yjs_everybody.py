"""What is kept of the messages that show a crowd is always what a look at it would show."""

from __future__ import annotations

import random

from weft_engine.names import ContextName
from weft_engine.sync.framing.messages import PresenceState
from weft_engine.sync.interest import Interest
from weft_engine.sync.presence import Presence
from weft_engine.yjs.lib0 import read_var_uint
from weft_server.yjs.awareness import read_awareness
from weft_server.yjs.everybody import Everybody
from weft_server.yjs.framing import frame

ROOM = ContextName("room")


def shown(everybody: Everybody) -> dict[int, str]:
    """What a client knows that has read all, as y-protocols does it."""
    found: dict[int, PresenceState] = {}
    for one in everybody.frames():
        size = len(one) - len(frame(b"")) if len(one) < 128 else _payload_bytes(one)
        message = one[len(one) - size :]
        assert message[0] == 1
        _, at = read_var_uint(message, 1)
        for state in read_awareness(message[at:]):
            known = found.get(state.client)
            is_newer = known is None or state.clock > known.clock
            if is_newer or (state.state is None and known and state.clock == known.clock):
                found[state.client] = state
    return {client: one.state for client, one in found.items() if one.state is not None}


def _payload_bytes(one: bytes) -> int:
    return len(one) - (4 if one[1] == 126 else 10)


def test_frames_that_are_kept_show_what_is_there() -> None:
    rng = random.Random(5)
    presence = Presence()
    everybody = Everybody(lambda: presence.of(ROOM))
    presence.listen(lambda _, states, __: everybody.change(states), Interest.of(contexts=[ROOM]))
    sources = [object() for _ in range(3)]
    built: list[int] = []
    for step in range(400):
        some = [
            PresenceState(rng.randrange(300), step, rng.choice(('{"a":1}', '{"b":2}', None)))
            for _ in range(rng.choice((1, 3, 40)))
        ]
        if rng.random() < 0.02:
            presence.gone(rng.choice(sources))
        else:
            presence.tell(ROOM, some, now_ms=step, source=rng.choice(sources))
        if rng.random() < 0.3:
            expected = {one.client: one.state for one in presence.of(ROOM)}
            assert shown(everybody) == expected
            built.append(len(everybody.frames()))
    assert max(built) > 2, "some were told of behind the others"


def test_nobody_is_shown_by_nothing() -> None:
    presence = Presence()
    everybody = Everybody(lambda: presence.of(ROOM))
    assert not everybody.frames()


def test_where_few_are_nobody_hears_of_who_has_left() -> None:
    presence, source = Presence(), object()
    everybody = Everybody(lambda: presence.of(ROOM))
    presence.listen(lambda _, states, __: everybody.change(states), Interest.of(contexts=[ROOM]))
    for clock, state in enumerate(('{"a":1}', None)):
        for client in (1, 2):
            presence.tell(ROOM, [PresenceState(client, clock, state)], now_ms=0, source=source)
            assert len(everybody.frames()) == (client == 1 or state is not None)
