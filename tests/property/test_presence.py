"""Presence over any topology, in any order: everybody agrees in the end, and it does end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from weft_engine.names import ContextName
from weft_engine.sync.audience import Audience
from weft_engine.sync.end.showing import Showing
from weft_engine.sync.framing.frames import decode_frame, encode
from weft_engine.sync.framing.messages import PresenceState, PresenceTold
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.presence import Presence

CONTEXTS = [ContextName("a"), ContextName("b/c")]
NAMES = ["a", "b", "ab", "a/b", "a/bc", "b/c"]


@dataclass
class Way:
    """One direction of a link: what an end has to tell, and what travels."""

    sender: Showing
    receiver: Showing
    travelling: deque[bytes] = field(default_factory=deque)

    def send(self) -> bool:
        told = self.sender.next()
        if told is not None:
            self.travelling.append(encode(told))
        return told is not None

    def receive(self) -> bool:
        if not self.travelling:
            return False
        told = decode_frame(self.travelling.popleft())
        assert isinstance(told, PresenceTold)
        self.receiver.heard(told)
        return True


class Mesh:
    def __init__(self, boards: int) -> None:
        self.boards = [Presence() for _ in range(boards)]
        self.ways: list[Way] = []
        self.ends: list[tuple[Showing, Showing]] = []
        self.frames = 0

    def link(self, a: int, b: int) -> None:
        ends = [Showing(self.boards[one], lambda: None, is_client=False) for one in (a, b)]
        for end in ends:
            end.follow(EVERYTHING)
        self.ends.append((ends[0], ends[1]))
        self.ways += [Way(ends[0], ends[1]), Way(ends[1], ends[0])]

    def cut(self, number: int, *, peer_is_relay: bool) -> None:
        ends = self.ends.pop(number)
        for end in ends:
            end.end(peer_is_relay=peer_is_relay)
        self.ways = [way for way in self.ways if way.sender not in ends]

    def drain(self) -> None:
        while any(way.send() or way.receive() for way in self.ways):
            self.frames += 1
            assert self.frames < 10_000, "it travels in circles"

    def known(self) -> list[list[tuple[PresenceState, ...]]]:
        return [[board.of(context) for context in CONTEXTS] for board in self.boards]


steps = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 5)), max_size=60)
edges = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8)


@given(edges=edges, steps=steps, late=st.booleans())
def test_boards_agree_whatever_way_they_heard(
    edges: list[tuple[int, int]], steps: list[tuple[int, int, int]], late: bool
) -> None:
    mesh = Mesh(5)
    tree = [(0, 1), (1, 2), (1, 3), (3, 4)]
    clocks: dict[tuple[ContextName, int], int] = {}
    if not late:
        for a, b in (*tree, *edges):
            mesh.link(a, b)
    for kind, client, which in steps:
        context = CONTEXTS[which % 2]
        home = mesh.boards[client]
        if kind <= 1:
            clock = clocks[context, client] = clocks.get((context, client), 0) + 1
            home.tell(context, [PresenceState(client, clock, f'"{clock}"')], now_ms=0, source=home)
        elif kind == 2 and (context, client) in clocks:
            left = PresenceState(client, clocks[context, client], None)
            home.tell(context, [left], now_ms=0, source=home)
        elif mesh.ways:
            way = mesh.ways[(client * 6 + which) % len(mesh.ways)]
            way.send() if kind == 3 else way.receive()
    if late:
        for a, b in (*tree, *edges):
            mesh.link(a, b)
    mesh.drain()
    known = mesh.known()
    assert all(one == known[0] for one in known)
    for (context, client), clock in clocks.items():
        at_home = mesh.boards[client].known(context, client)
        assert at_home is not None
        assert at_home.clock == clock


@given(edges=edges, steps=steps)
def test_boards_agree_after_links_have_come_and_gone(
    edges: list[tuple[int, int]], steps: list[tuple[int, int, int]]
) -> None:
    mesh = Mesh(5)
    for a, b in edges:
        mesh.link(a, b)
    clocks: dict[int, int] = {}
    for kind, client, which in steps:
        if kind <= 1:
            clocks[client] = clocks.get(client, 0) + 1
            told = PresenceState(client, clocks[client], "1")
            mesh.boards[client].tell(CONTEXTS[0], [told], now_ms=0, source=mesh)
        elif kind == 2 and mesh.ends:
            mesh.cut(which % len(mesh.ends), peer_is_relay=client % 2 == 0)
        elif kind == 3:
            mesh.link(client, which % 5)
        elif mesh.ways:
            way = mesh.ways[(client * 6 + which) % len(mesh.ways)]
            way.send() if kind == 4 else way.receive()
    for a, b in ((0, 1), (1, 2), (1, 3), (3, 4)):
        mesh.link(a, b)
    # Who is there says so anew, as every client does when it hears that it is gone.
    for client, clock in clocks.items():
        told = PresenceState(client, clock + 1, '"still"')
        mesh.boards[client].tell(CONTEXTS[0], [told], now_ms=0, source=mesh)
    mesh.drain()
    expected = tuple(PresenceState(c, clocks[c] + 1, '"still"') for c in sorted(clocks))
    assert all(board.of(CONTEXTS[0]) == expected for board in mesh.boards)


interests = st.builds(
    lambda contexts, prefixes: Interest.of(contexts=contexts, prefixes=prefixes),
    st.lists(st.sampled_from(NAMES), max_size=3),
    st.lists(st.sampled_from(["", "a", "a/", "b", "b/"]), max_size=3),
)


@given(st.lists(st.tuples(st.integers(0, 4), st.none() | interests), max_size=20))
def test_an_audience_is_who_covers_the_context(
    changes: list[tuple[int, Interest | None]],
) -> None:
    audience: Audience[int] = Audience()
    now: dict[int, Interest] = {}
    for member, interest in changes:
        if interest is None:
            audience.leave(member)
            now.pop(member, None)
        else:
            audience.join(member, interest)
            now[member] = interest
    for name in NAMES:
        found = audience.of(ContextName(name))
        assert sorted(found) == sorted(m for m, one in now.items() if one.covers(name))
