"""Whether a link begins where an earlier one ended, instead of with lists.

An end without a region asks to resume at the cursor that it kept, if it kept one of this peer; the
other, which has a region, waits for that and says whether the cursor is one of its journal. Then
each knows by itself what it has to send: the one what its journal holds behind the cursor, the
other what was written there and is not known to be sent. Between two ends that both have a region,
or both none, everything is compared.

Must never know: where cursors are kept, how contexts are listed.
"""

from __future__ import annotations

from enum import Enum, auto

from weft_engine.names import Position
from weft_engine.storage.cursors import Between, Place, Unsent
from weft_engine.sync.end.cursor_questions import BehindRead, CursorRead, ReadBehind, ReadCursor
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.messages import Cursor, Hello, Resume, Resumed
from weft_engine.sync.interest import NOTHING, Interest


class _Step(Enum):
    GREETING = auto()
    READING = auto()
    """Our own store is asked."""
    ASKING = auto()
    """The peer is asked, or has to ask."""
    SETTLED = auto()


class Resuming:
    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._step = _Step.GREETING
        self._is_client = False
        self._interest = NOTHING
        self._question: ReadCursor | ReadBehind | None = None
        self._unsent: Unsent | None = None
        self._after = Position(0)
        self.place: Place | None = None
        """Where this link resumes, at an end without a region."""
        self.is_resumed = False

    @property
    def is_settled(self) -> bool:
        """Whether it is known how the link begins."""
        return self._step is _Step.SETTLED

    @property
    def awaited(self) -> str | None:
        """The message of the peer that this end waits for before it begins."""
        if self._step is not _Step.ASKING:
            return None
        return "resumed" if self._is_client else "resume"

    def greeted(self, ours: Hello, peer: Hello, interest: Interest) -> None:
        self._interest = interest
        if (ours.region is None) == (peer.region is None):
            self._step = _Step.SETTLED
        elif ours.region is None:
            self._is_client = True
            self._step = _Step.READING
            self._question = ReadCursor(between(ours, peer, interest), interest)
        else:
            self._step = _Step.ASKING

    def next_question(self) -> ReadCursor | ReadBehind | None:
        question, self._question = self._question, None
        return question

    def receive(self, message: Resume | Resumed) -> None:
        """ProtocolViolation if it has no place here."""
        match message:
            case Resume(cursor):
                if self._is_client or self._step is not _Step.ASKING:
                    raise ProtocolViolation("a resume came where none is due")
                if cursor is None:
                    self._step = _Step.SETTLED
                else:
                    self._step = _Step.READING
                    self._after = cursor.position
                    self._question = ReadBehind(self._interest, cursor)
            case Resumed(is_resumed):
                if not self._is_client or self._step is not _Step.ASKING:
                    raise ProtocolViolation("a resumed came where none is due")
                self._step = _Step.SETTLED
                self.is_resumed = is_resumed
                if is_resumed:
                    self._send_unsent()
                else:
                    self.place = None
                self._unsent = None

    def supply(self, answer: CursorRead | BehindRead) -> Resume | Resumed:
        """The answer to a question; what the peer is told then."""
        match answer:
            case CursorRead(place, unsent):
                self.place, self._unsent = place, unsent
                self._step = _Step.SETTLED if place is None else _Step.ASKING
                return Resume(None if place is None else Cursor(place.position, place.row))
            case BehindRead(contexts, position):
                self._step = _Step.SETTLED
                self.is_resumed = contexts is not None
                if contexts is not None:
                    self._outgoing.head = max(self._outgoing.head, position)
                    for context, newest in contexts:
                        self._outgoing.behind(context, (), self._after, newest)
                return Resumed(self.is_resumed)

    def _send_unsent(self) -> None:
        unsent = self._unsent
        assert unsent is not None, "a cursor was read with what is behind it"
        self._outgoing.head = max(self._outgoing.head, unsent.upto)
        for context, positions in unsent.positions.items():
            self._outgoing.behind(context, positions, unsent.upto, unsent.upto)


def between(ours: Hello, peer: Hello, interest: Interest) -> Between:
    """What a cursor of this link belongs to."""
    return Between(peer.store, peer.epoch, interest.digest, ours.store, ours.epoch)
