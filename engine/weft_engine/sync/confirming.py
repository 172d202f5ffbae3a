"""Confirmations of erasures on one link: what was told, and what is to be told yet.

A confirmation is told when the peer holds its eraser durably, so that it is never told in vain,
and all of them again on every link. What the peer does not hold it passes over. Must never know:
the store, frames' bytes.
"""

from __future__ import annotations

from weft_engine.limits import ERASED_PER_FRAME_MAX
from weft_engine.names import Position, RecordHash
from weft_engine.sync.interest import Interest
from weft_engine.sync.messages import Erased
from weft_engine.sync.questions import ConfirmationsRead, ReadConfirmations


class Confirming:
    def __init__(self) -> None:
        self.is_due = True
        """There may be something in the store that the peer has not been told."""
        self._after = 0
        self._blocked_by = Position(0)
        """The peer has to hold this position before anything can go on."""
        self._received: list[tuple[RecordHash, tuple[bytes, ...]]] = []

    def told(self) -> None:
        """There are new confirmations of erasures in our store."""
        self.is_due = True

    def next_read(self, interest: Interest, durable: Position | None) -> ReadConfirmations | None:
        """What to ask the store now. `durable`: what the peer holds of our journal."""
        if not self.is_due or durable is None or durable < self._blocked_by:
            return None
        self.is_due = False  # What comes while this is answered may not be in the answer.
        return ReadConfirmations(interest, self._after)

    def take(self, read: ConfirmationsRead, durable: Position | None) -> list[Erased]:
        """How the peer is told of what was read."""
        told: dict[RecordHash, set[bytes]] = {}
        self.is_due = self.is_due or not read.is_last
        for one in read.confirmations:
            if durable is None or one.position > durable:
                self._blocked_by, self.is_due = one.position, True
                break
            told.setdefault(one.eraser, set()).add(one.store)
            self._after = one.id
        else:
            self._after = read.upto
        entries = [(eraser, tuple(sorted(stores))) for eraser, stores in sorted(told.items())]
        assert len(entries) <= ERASED_PER_FRAME_MAX, "a page is no more than a frame"
        return [Erased(tuple(entries))] if entries else []

    def again(self) -> None:
        """The link is about more than before: look at all of them again."""
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
