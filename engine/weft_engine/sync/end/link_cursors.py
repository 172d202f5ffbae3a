"""The cursors of one link: when to tell one, and at an end without a region when to keep it. An end
with a region takes them as what they say: up to where everything was sent (`Incoming.state`).

Must never know: frames' bytes, the store, what time it is.
"""

from __future__ import annotations

from collections.abc import Callable

from weft_engine.names import Position
from weft_engine.storage.cursors import Place
from weft_engine.storage.ledger import Stored
from weft_engine.sync.end.cursor_questions import KeepCursor, ReadRow
from weft_engine.sync.end.cursors import Keeping, Telling
from weft_engine.sync.end.incoming import Incoming
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.end.resuming import between
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.messages import Cursor, Hello
from weft_engine.sync.interest import Interest


class LinkCursors:
    """`keeps_cursors`: whether the store can be written to."""

    def __init__(
        self, hello: Hello, incoming: Incoming, outgoing: Outgoing, *, keeps_cursors: bool
    ) -> None:
        self._hello = hello
        self._incoming = incoming
        self._outgoing = outgoing
        self._keeps_cursors = keeps_cursors
        self._telling = Telling()
        self.moved: Callable[[Position], None] = self._telling.moved
        """A record of the link's contexts was journaled, or sent."""
        self._keeping = Keeping()
        self._peer_has_region = False
        self._row: ReadRow | None = None
        self._sent_upto: Position | None = None
        """When the link ended."""

    @property
    def is_awaited(self) -> bool:
        """The link was resumed, and the peer has not said yet that it sent all."""
        return self._keeping.is_awaited

    def greeted(self, peer: Hello, interest: Interest) -> None:
        self._peer_has_region = peer.region is not None
        self._telling.is_quiet = self._hello.region is None
        self._telling.is_on = self._peer_has_region or not self._telling.is_quiet
        self.restart(peer, interest)

    def restart(self, peer: Hello, interest: Interest) -> None:
        """The link is about `interest` from now on."""
        self._telling.restart()
        self._row = None
        is_kept = self._keeps_cursors and peer.region is not None and self._hello.region is None
        self._keeping.begin(between(self._hello, peer, interest) if is_kept else None, interest)

    def resumed(self, place: Place | None) -> None:
        """The link goes on from there, if from anywhere."""
        if place is not None:
            self._keeping.resumed(place)

    def renewed(self) -> None:
        """Our store has another identity: what is kept so far is not of this one."""
        self._keeping.begin(None)

    def receive(self, cursor: Cursor, *, was_listed: bool, is_listed: bool) -> None:
        """ProtocolViolation if it has no place here."""
        has_region = self._hello.region is not None
        if not was_listed or not (has_region or self._peer_has_region):
            raise ProtocolViolation("a cursor came where none is due")
        # Before the lists are over it is about what the link was about before.
        if not is_listed:
            return
        if has_region:
            self._incoming.state(cursor.position)
        else:
            self._keeping.receive(cursor, self._incoming.last_serial)

    # ---- what happens -------------------------------------------------------------------------

    def came(self, stored: list[Stored]) -> None:
        """The peer's, journaled just now."""
        self._keeping.came(one.position for one in stored)
        self._telling.moved(stored[-1].position)

    def want(self, position: Position) -> None:
        """The peer is to know when it has everything up to there."""
        self._telling.want(position)

    def kept(self, met: Position) -> None:
        self._keeping.kept(met)

    def tick(self, now_ms: int) -> None:
        self._telling.tick(now_ms)
        self._keeping.tick(now_ms)

    def ended(self, sent_upto: Position | None) -> None:
        self._sent_upto = sent_upto

    # ---- what to do ---------------------------------------------------------------------------

    @property
    def keeps(self) -> bool:
        """Whether this end keeps cursors of the peer."""
        return self._keeping.between is not None

    @property
    def asks(self) -> bool:
        """A cursor is to be told once the store has said what stands there."""
        return self._row is not None

    def next(self, sent_upto: Position | None) -> KeepCursor | ReadRow | None:
        """What to ask the store to tell a cursor, or to keep one. `sent_upto`, where it keeps them:
        up to where the peer holds all of our journal."""
        if self._row is not None:
            row, self._row = self._row, None
            return row
        return self._keeping.next(self._incoming.oldest_open, sent_upto, self._outgoing.head)

    def last(self) -> KeepCursor | None:
        """What to keep in our store now that the link has ended, and nothing that came over it is
        under way any more."""
        return self._keeping.last(self._incoming.oldest_open, self._sent_upto)

    def row_read(self, cursor: Cursor) -> Cursor | None:
        """What to tell the peer now that its row is known: nothing if it is out of date."""
        return cursor if self._telling.is_newest(cursor) else None

    def to_tell(self) -> Cursor | None:
        """What to tell the peer of how far it is, if that is due and known; else it is asked for,
        or nothing is to be told."""
        if not self._telling.is_due:
            return None
        said = self._telling.next(self._outgoing.told, self._outgoing.stated())
        if isinstance(said, ReadRow):
            self._row = said
            return None
        return said
