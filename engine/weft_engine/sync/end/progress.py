"""How far one end of a link is: what the peer holds durably, and whether everything came.

Must never know: frames, the store.
"""

from __future__ import annotations

from weft_engine.names import ContextName, Position
from weft_engine.sync.end.incoming import Incoming
from weft_engine.sync.end.link_cursors import LinkCursors
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.end.saved import Saved
from weft_engine.sync.end.subject import Subject


class Progress:
    def __init__(
        self, subject: Subject, outgoing: Outgoing, incoming: Incoming, cursors: LinkCursors
    ) -> None:
        self._subject = subject
        self._outgoing = outgoing
        self._incoming = incoming
        self._cursors = cursors
        self._saved: Saved | None = None
        self._durable: Position | None = None
        self._has_ended = False

    def end(self, *, is_kept: bool) -> None:
        """The link has ended: what is known now stays, if it `is_kept`, for it is told of no more
        commits."""
        self._saved = self.saved() if is_kept else None
        self._durable = self.durable_upto()
        self._has_ended = True

    def durable_upto(self) -> Position | None:
        """Up to which position of our journal the peer holds everything within the interest,
        durably. None before that is known. Once the link has ended, what was known then."""
        if self._has_ended:
            return self._durable
        if not self._subject.is_listed or self._subject.rounds.is_due:
            return None
        return self._outgoing.durable_upto()

    def saved_of(self, context: ContextName) -> Position | None:
        """Up to which position of our journal the peer holds all of one context, durably. None
        before that is known, or if the link is not about it."""
        if self._has_ended:
            return None if self._saved is None else self._saved.of(context)
        subject = self._subject
        if not subject.was_listed or not subject.interest.covers(context):
            return None
        return None if subject.is_held(context) else self._outgoing.saved_of(context)

    def saved(self) -> Saved | None:
        """As `saved_of`, of all contexts at once. None before both have listed theirs. Once the
        link has ended, what was known then."""
        if self._has_ended:
            return self._saved
        if not self._subject.is_listed:
            return None
        return Saved(self._subject.interest, self._outgoing.head, self._outgoing.lagging())

    @property
    def is_compared(self) -> bool:
        """All differences are known in both directions, or were when the link ended."""
        return self._subject.is_compared

    @property
    def has_received_all(self) -> bool:
        """Everything that the peer announced, and sent since, is durable here."""
        return (
            self._subject.is_compared
            and self._incoming.idle
            and not self._cursors.is_awaited
            and not self._subject.rounds.is_due
        )

    @property
    def is_synced(self) -> bool:
        """Both directions: nothing is left to send, to acknowledge or to come."""
        return self.has_received_all and self._outgoing.idle
