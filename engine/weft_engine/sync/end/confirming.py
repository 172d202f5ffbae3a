"""Confirmations of erasures on one link: what was told, and what is to be told yet.

A confirmation is told when the peer holds its eraser durably, so that it is never told in vain,
once on every link. What the peer does not hold it passes over. Must never know: the store, frames'
bytes.
"""

from __future__ import annotations

from weft_engine.limits import ERASED_PER_FRAME_MAX
from weft_engine.names import Position, RecordHash
from weft_engine.sync.end.questions import ConfirmationsRead, ReadConfirmations
from weft_engine.sync.framing.messages import Erased
from weft_engine.sync.interest import NOTHING, Interest


class Confirming:
    def __init__(self) -> None:
        self.is_due = True
        """There may be something in the store that the peer has not been told."""
        self._after = 0
        self._blocked_by = Position(0)
        """The peer has to hold this position before anything can go on."""
        self._told = NOTHING
        self._told_upto = 0
        """In the rounds before all of these were told that have an id up to here."""
        self._is_reading = self._is_outdated = False
        """Whether an answer is on its way, and is about what the link was about before."""
        self._received: list[tuple[RecordHash, tuple[bytes, ...]]] = []

    def told(self) -> None:
        """There are new confirmations of erasures in our store."""
        self.is_due = True

    def next_read(self, interest: Interest, durable: Position | None) -> ReadConfirmations | None:
        """What to ask the store now. `durable`: what the peer holds of our journal."""
        if not self.is_due or durable is None or durable < self._blocked_by:
            return None
        self.is_due = False  # What comes while this is answered may not be in the answer.
        self._is_reading = True
        return ReadConfirmations(interest, self._after)

    def take(self, read: ConfirmationsRead, durable: Position | None) -> list[Erased]:
        """How the peer is told of what was read."""
        is_outdated, self._is_reading, self._is_outdated = self._is_outdated, False, False
        if is_outdated:
            return []
        told: dict[RecordHash, set[bytes]] = {}
        self.is_due = self.is_due or not read.is_last
        for one in read.confirmations:
            if durable is None or one.position > durable:
                self._blocked_by, self.is_due = one.position, True
                break
            if one.id > self._told_upto or not self._told.covers(one.context):
                told.setdefault(one.eraser, set()).add(one.store)
            self._after = one.id
        else:
            self._after = read.upto
        entries = [(eraser, tuple(sorted(stores))) for eraser, stores in sorted(told.items())]
        assert len(entries) <= ERASED_PER_FRAME_MAX, "a page is no more than a frame"
        return [Erased(tuple(entries))] if entries else []

    def again(self, before: Interest) -> None:
        """The link is about something else than `before`: look at all of them again, and tell those
        that were not told."""
        if self._after > self._told_upto:
            # Where rounds follow each other too quickly for this, some are told twice.
            self._told, self._told_upto = before, self._after
        self._is_outdated = self._is_reading
        self.is_due = True
        self._after = 0
        self._blocked_by = Position(0)

    def receive(self, message: Erased) -> None:
        self._received.extend(message.entries)

    @property
    def has_received(self) -> bool:
        return bool(self._received)

    def take_received(self) -> list[tuple[RecordHash, tuple[bytes, ...]]]:
        received, self._received = self._received, []
        return received
