"""Pages at a board: tabs of one browser repeat what they hear of each other, and come and go. In
the end exactly those are shown that are there, without anybody's waiting for a state to be over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final

import pycrdt
from hypothesis import given
from hypothesis import strategies as st

from weft_engine.names import ContextName
from weft_engine.sync.framing.messages import PresenceState
from weft_engine.sync.presence import Presence
from weft_server.yjs.awareness import own_client, read_awareness, write_awareness

CHAT: Final = ContextName("chat")
PAGES: Final = 4
QUICK: Final = 10
"""How often a message arrives before one that is slow."""
MESSAGES_MAX: Final = 20_000


class Relay:
    """A board and the connections of pages to it, as `Connection` and `Circle` use it."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.board = Presence()
        self.lines: list[Line] = []
        self.board.listen(self._told)

    def _told(self, _: ContextName, states: tuple[PresenceState, ...], source: object) -> None:
        for line in self.lines:
            line.down.append(write_awareness(states))


class Line:
    """A connection of a page: what travels on it arrives in order, before its end."""

    def __init__(self, relay: Relay, page: Page) -> None:
        self.relay, self.page = relay, page
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.speed = relay.rng.choice((1, QUICK))
        self.is_ending = False
        self.own: int | None = None
        self.has_shown = False
        relay.lines.append(self)
        here = relay.board.of(CHAT)
        if here:
            self.down.append(write_awareness(here))

    def arrive(self) -> bool:
        """The relay hears the next message, or that it has ended."""
        if self.up:
            states = read_awareness(self.up.popleft())
            if not self.has_shown:
                self.has_shown, self.own = True, own_client(states)
            board = self.relay.board
            board.tell(CHAT, states, now_ms=0, source=self, own=self.own)
            newer = board.newer(CHAT, states)
            if newer:
                self.down.append(write_awareness(newer))
            return True
        if self.is_ending:
            self.relay.lines.remove(self)
            self.relay.board.gone(self)
            return True
        return False

    def hear(self) -> bool:
        """The page hears the next message."""
        if self.page.line is not self or not self.down:
            return False
        self.page.awareness.apply_awareness_update(self.down.popleft(), self)
        return True


class Page:
    """A tab with y-websocket, as its sources say; `neighbours` share a BroadcastChannel with it."""

    def __init__(self, relay: Relay, client: int) -> None:
        self.relay = relay
        self.client = client
        self.awareness = pycrdt.Awareness(pycrdt.Doc(client_id=client))
        self.awareness.observe(self._changed)
        self.neighbours: list[Page] = []
        self.shared: deque[bytes] = deque()
        self.line: Line | None = None
        self.is_open = True

    def _changed(self, topic: str, event: tuple[dict[str, Any], Any]) -> None:
        if topic == "update":
            clients = [one for some in event[0].values() for one in some]
            self._broadcast(self.awareness.encode_awareness_update(clients))

    def _broadcast(self, message: bytes) -> None:
        if not self.is_open:
            return
        if self.line is not None:
            self.line.up.append(message)
        for page in self.neighbours:
            if page.is_open:
                page.shared.append(message)

    def connect(self) -> None:
        if self.line is None and self.is_open:
            self.line = Line(self.relay, self)
            self.line.up.append(self.awareness.encode_awareness_update([self.client]))

    def share(self, others: list[Page]) -> None:
        """Tell neighbours of it, and hear of them: `connectBc`."""
        for page in others:
            page.neighbours.append(self)
            self.neighbours.append(page)
            here = page.awareness.encode_awareness_update(list(page.awareness.states))
            self.shared.append(here)
        self._broadcast(self.awareness.encode_awareness_update([self.client]))

    def drop(self) -> None:
        """Its connection ends; the page lives on."""
        if self.line is not None:
            self.line.is_ending = True
            self.line = None
            others = [one for one in self.awareness.states if one != self.client]
            self.awareness.remove_awareness_states(others, self)

    def close(self, *, says_goodbye: bool) -> None:
        if self.is_open:
            if says_goodbye:
                clock = self.awareness.meta[self.client]["clock"]
                self._broadcast(write_awareness([PresenceState(self.client, clock, None)]))
            self.is_open = False
            if self.line is not None:
                self.line.is_ending = True
                self.line = None

    def show(self, number: int) -> None:
        if self.is_open:
            self.awareness.set_local_state({"at": number})

    def overhear(self) -> bool:
        if not self.is_open or not self.shared:
            return False
        self.awareness.apply_awareness_update(self.shared.popleft(), "neighbour")
        return True


steps = st.lists(st.tuples(st.integers(0, 6), st.integers(0, PAGES - 1)), max_size=20)


@given(steps, st.sampled_from((0, 1, 1, 2, 3)), st.randoms(use_true_random=False))
def test_who_is_there_is_shown_and_who_is_gone_is_not(
    steps: list[tuple[int, int]], shared: int, rng: Random
) -> None:
    relay = Relay(rng)
    pages = [Page(relay, client) for client in range(1, PAGES + 1)]
    for at, page in enumerate(pages[: shared + 1]):
        page.share(pages[:at])
    for number, (what, which) in enumerate(steps):
        page = pages[which]
        match what:
            case 0 | 1:
                page.connect()
            case 2:
                page.drop()
            case 3:
                page.close(says_goodbye=True)
            case 4 if page.line is not None:
                page.close(says_goodbye=False)
            case 5 | 6:
                page.show(number)
        _deliver(relay, pages, rng, rng.choice((0, 1, 3, 10)))
    for page in pages:
        page.connect()
    _deliver(relay, pages, rng, None)
    there = [page for page in pages if page.is_open]
    shown = {one.client: one for one in relay.board.of(CHAT)}
    assert sorted(shown) == [page.client for page in there]
    for page in there:
        assert shown[page.client].clock == page.awareness.meta[page.client]["clock"]


def _deliver(relay: Relay, pages: list[Page], rng: Random, most: int | None) -> None:
    """So many messages, or ends of connections, in any order; all if `most` is None."""
    count = 0
    while most is None or count < most:
        ways: list[Callable[[], bool]] = [page.overhear for page in pages for _ in range(QUICK)]
        for line in relay.lines:
            ways += (line.arrive,) * line.speed
            ways += (line.hear,) * QUICK
        rng.shuffle(ways)
        if not any(way() for way in ways):
            return
        count += 1
        assert count < MESSAGES_MAX, "it travels in circles"
