"""Cursors on one link: told by each end if one has a region, kept by one that has none.

A cursor says: everything of the link's contexts up to this position of my journal was sent before
this frame, or you had it. It is kept when all that came before it is durable, so that losing the
link at any moment loses nothing but bytes. The first one on a link is told when all is sent that
was found missing when it began; so it tells the other end that it has everything, too.

Must never know: frames' bytes, the store, what time it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from weft_engine.limits import CURSOR_MS, CURSOR_QUIET_MS, CURSOR_TAIL_RECORDS_MAX
from weft_engine.names import Position
from weft_engine.storage.cursors import Between, Place
from weft_engine.sync.end.cursor_questions import KeepCursor, ReadRow
from weft_engine.sync.end.head import Head
from weft_engine.sync.framing.messages import Cursor
from weft_engine.sync.interest import NOTHING, Interest


class Telling:
    """At the end with a region; and at one without, where it is quiet: one when all is sent that
    was missing in the beginning, and others when somebody `wants` them."""

    def __init__(self) -> None:
        self.is_on = False
        """Whether one of the ends has a region."""
        self.is_quiet = False
        self._wanted = Position(0)
        self._goal: Position | None = None
        self._told = Position(0)
        self._now_ms = 0
        self._told_ms: int | None = None
        self._moved = Position(0)
        """The newest record of the link's contexts."""

    def restart(self) -> None:
        """The link is about something else from now on."""
        self._goal = None
        self._told = Position(0)
        self._told_ms = None

    def moved(self, position: Position) -> None:
        """A record of the link's contexts was journaled."""
        if position > self._moved:
            self._moved = position

    def want(self, position: Position) -> None:
        """The peer is to know when it has everything up to there."""
        self._wanted = max(self._wanted, position)

    def tick(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def next(self, head: Head, stated: Position | None) -> Cursor | ReadRow | None:
        """What to tell now, or to ask the store for it. `stated`: up to where all was sent."""
        if not self.is_due:
            return None
        if self._goal is None:
            self._goal = head.position
        if stated is None or stated < self._goal or stated <= self._told:
            return None
        if self.is_quiet and self._told_ms is not None and stated < self._wanted:
            return None
        self._told = stated
        self._told_ms = self._now_ms
        is_known = head.position == stated and bool(head.row)
        return Cursor(stated, head.row) if is_known else ReadRow(stated)

    def is_newest(self, cursor: Cursor) -> bool:
        """Whether none was told since this one was asked for: the peer keeps what came last."""
        return cursor.position == self._told

    @property
    def is_due(self) -> bool:
        """Whether it is time for one, if there is something to tell."""
        if not self.is_on or self._told_ms is None:
            return self.is_on
        if self.is_quiet:
            return self._wanted > self._told
        passed = self._now_ms - self._told_ms
        return passed >= (CURSOR_MS if self._moved > self._told else CURSOR_QUIET_MS)


class Keeping:
    """At the end without a region. `serial` and `oldest` count the Records messages of the peer:
    the last that came, and the first that is not durable."""

    def __init__(self) -> None:
        self.between: Between | None = None
        """None: no cursor is kept."""
        self.interest = NOTHING
        self.is_awaited = False
        """The link was resumed, and the peer has not said yet that it sent all."""
        self._pending: list[tuple[int, Cursor]] = []
        self._ready: Cursor | None = None
        self._kept: Place | None = None
        self._met = Position(0)
        self._begin: Position | None = None
        self._theirs: set[Position] = set()
        self._now_ms = 0
        self._kept_ms: int | None = None

    def begin(self, between: Between | None, interest: Interest = NOTHING) -> None:
        """The link is about this from now on; nothing is known of it."""
        self.between = between
        self.interest = interest
        self.is_awaited = False
        self._pending.clear()
        self._ready = self._kept = self._begin = self._kept_ms = None
        self._met = Position(0)
        self._theirs.clear()

    def resumed(self, place: Place) -> None:
        self.is_awaited = True
        self._kept = place
        self._met = place.met
        self._ready = Cursor(place.position, place.row)

    def receive(self, cursor: Cursor, serial: int) -> None:
        self.is_awaited = False
        # The first that is not ready stays, or there would be none while records keep coming.
        self._pending[1:] = [(serial, cursor)]

    def came(self, positions: Iterable[Position]) -> None:
        """What stands there came from the peer."""
        if self.between is not None:
            self._theirs.update(positions)
            if len(self._theirs) > CURSOR_TAIL_RECORDS_MAX:
                # Forgetting makes the next link compare, nothing else.
                self._theirs.clear()

    def kept(self, met: Position) -> None:
        """A place was kept, and up to there all but our own is known to be at the peer."""
        self._met = max(self._met, met)
        self._theirs = {position for position in self._theirs if position > self._met}

    def tick(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def next(self, oldest: int, sent: Position | None, head: Position) -> KeepCursor | None:
        """What to keep now, at most once in a while. `sent`: up to where the peer holds all of our
        journal; `head`: what is known of it."""
        if self._begin is None and sent is not None:
            self._begin = head
        if self._kept_ms is not None and self._now_ms - self._kept_ms < CURSOR_MS:
            return None
        before = self._ready
        self._move(oldest)
        if self._ready == before:
            return None
        self._kept_ms = self._now_ms
        return self._keep(sent)

    def last(self, oldest: int, sent: Position | None) -> KeepCursor | None:
        """What to keep when the link has ended and nothing of it is under way any more."""
        self._move(oldest)
        return self._keep(sent)

    def _move(self, oldest: int) -> None:
        while self._pending and self._pending[0][0] < oldest:
            self._ready = self._pending.pop(0)[1]

    def _keep(self, sent: Position | None) -> KeepCursor | None:
        if self.between is None or self._ready is None or sent is None:
            return None
        # What came since the beginning is told apart; before it, what is sent is all that is known.
        if self._begin is not None and sent >= self._begin:
            self._met = max(self._met, self._begin)
        place = Place(self._ready.position, self._ready.row, sent, max(self._met, sent))
        if place == self._kept and not self._theirs:
            return None
        self._kept = place
        return KeepCursor(self.between, self.interest, place, frozenset(self._theirs))
