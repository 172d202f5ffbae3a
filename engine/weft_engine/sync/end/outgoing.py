"""What is still to be sent to a peer, and what was sent and is not acknowledged yet.

Of each context that is not settled there are positions to send (from the comparison) followed by
everything after a position. What came from the peer never goes back to it.

Invariant: a message is closed. Each of its records is covered by a signature in that message, and
its parents are at the peer, or in this message or an earlier one. A record that can't be sent so
yet is withheld, with whatever depends on it, and tried again when its context grows. So the peer
can journal every message when it comes: its acknowledgement waits for nothing that is still to be
sent, and a window of any size can't deadlock.

Must never know: frames' bytes, the store.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sequence
from itertools import islice

from weft_engine.limits import (
    CONTEXTS_PER_QUESTION,
    KNOWN_POSITIONS_MAX,
    RECORDS_BYTES,
    RECORDS_PER_FRAME,
    WITHHELD_BYTES_MAX,
    WITHHELD_RECORDS_MAX,
)
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import Stored
from weft_engine.sync.end.closure import closed, needed
from weft_engine.sync.end.composed import Composed, beside, firsts, not_at_peer
from weft_engine.sync.end.head import Head
from weft_engine.sync.end.live import Sent, Whole
from weft_engine.sync.end.pending import Pending
from weft_engine.sync.end.record_questions import Part, ReadRecords, RecordsRead
from weft_engine.sync.framing.messages import Window
from weft_engine.sync.interest import Interest

_FLOOR_CONTEXTS_MAX = 256


class Outgoing:
    """`told`: what all links were told of, if there are others."""

    def __init__(self, told: Head | None = None) -> None:
        self._told = told or Head(Position(0))
        self._head = Position(0)
        self.unacked: dict[int, Sent] = {}
        self.gathered: dict[ContextName, Position] = {}
        """Where the first record of each context stands that waits to be announced."""
        self._unacked_bytes = 0
        self.records_sent = 0
        self.unsettled: dict[ContextName, Pending] = {}
        """What is left to be sent, or to be looked at, of each context of which something is."""
        self._ready: dict[ContextName, None] = {}
        self._comparing = 0

    @property
    def head(self) -> Position:
        """The newest position of the journal that we were told of."""
        return max(self._head, self._told.position)

    @head.setter
    def head(self, position: Position) -> None:
        self._head = max(self._head, position)

    @property
    def journaled(self) -> Position:
        """The end of the journal, as far as it is known: nothing stands behind it that came before
        now."""
        return max(self.head, self._told.committed)

    def saw(self, position: Position) -> None:
        """So much is committed; links may not have been told yet."""
        self._told.committed = max(self._told.committed, position)

    @property
    def told(self) -> Head:
        """`head`, and the row there if it is at hand."""
        told = self._told
        return told if told.position >= self._head else Head(self._head)

    # ---- the comparison -----------------------------------------------------------------------

    def listed(self, context: ContextName, position: Position) -> None:
        """The fingerprint that the peer will see covers everything up to `position`."""
        pending = self.unsettled.get(context)
        if pending is None:
            if position <= self.head:
                return
            pending = self.unsettled[context] = Pending(position, position)
        pending.after = max(pending.after, position)
        self._settle(context, pending)

    def absent(self, context: ContextName, position: Position) -> None:
        """The peer has nothing of a context that was listed, or found different, at `position`."""
        pending = self.unsettled.setdefault(context, Pending(position, position))
        self._comparing -= pending.comparing
        pending.comparing = False
        pending.newest = max(pending.newest, position)
        pending.after = Position(0)
        self._settle(context, pending)

    def differs(self, context: ContextName, position: Position) -> None:
        """The peer has other records of it: nothing is sent before `lacking` says what."""
        pending = self.unsettled.setdefault(context, Pending(position, position))
        pending.held = False
        pending.comparing = True
        self._comparing += 1
        self._settle(context, pending)

    def lacking(
        self,
        context: ContextName,
        positions: list[Position],
        after: Position,
        newest: Position,
        *,
        waits: bool = False,
    ) -> None:
        """The peer lacks these and all behind `after`, of which there is something up to `newest`.
        `waits`: of what comes behind that it is said later what it lacks, by calling this again
        once nothing is `ready`."""
        pending = self.unsettled.get(context)
        if pending is None or not (pending.comparing or pending.limit is not None):
            return  # It was not here when the lists were made: all of it is new.
        self._comparing -= pending.comparing
        pending.comparing = False
        pending.limit = newest if waits else None
        pending.after = after
        pending.newest = max(pending.newest, newest)
        left_out = pending.known | pending.spared
        pending.lacks(p for p in positions if p not in left_out)
        if pending.known:
            pending.known = {p for p in pending.known if p > pending.after}
        pending.pass_spared()
        self._settle(context, pending)

    def behind(
        self, context: ContextName, positions: Iterable[Position], after: Position, newest: Position
    ) -> None:
        """The link resumes: the peer may lack what stands at these positions and what comes after
        `after`, up to `newest` and beyond."""
        pending = self.unsettled.setdefault(context, Pending(after, newest))
        pending.newest = max(pending.newest, newest)
        pending.after = after
        pending.lacks(positions)
        self._settle(context, pending)

    def moving(self) -> set[ContextName]:
        """Contexts of which not everything is durable at the peer, as far as we were told."""
        return {*self.unsettled, *self.gathered}.union(*(s.firsts for s in self.unacked.values()))

    def release(self) -> None:
        """What was held because its comparison had not begun is held no longer."""
        for context in [name for name, pending in self.unsettled.items() if pending.held]:
            self.unsettled[context].held = False
            self._settle(context, self.unsettled[context])

    def narrow(self, interest: Interest) -> None:
        """Forget what is not covered any more."""
        for context in [name for name in self.unsettled if not interest.covers(name)]:
            self._comparing -= self.unsettled.pop(context).comparing
            self._ready.pop(context, None)

    # ---- what is new --------------------------------------------------------------------------

    def committed(
        self,
        context: ContextName,
        position: Position,
        *,
        from_peer: bool,
        is_held: bool = False,
    ) -> None:
        """A record of the interest is in the journal; `head` is at or behind it already.
        `is_held`: its context is not compared yet."""
        pending = self.unsettled.get(context)
        if pending is None:
            if from_peer:
                return
            pending = Pending(Position(position - 1), position, held=is_held)
            self.unsettled[context] = pending
        elif position > pending.after:
            if not from_peer:
                pending.newest = position
            elif pending.withheld:
                # It may say that the peer has what is withheld: look at that again, with it.
                pending.know(position)
                pending.newest = position
            elif (
                pending.newest <= pending.after and not pending.comparing and pending.limit is None
            ):
                pending.after = position
            else:
                pending.know(position)
        elif from_peer and (pending.comparing or pending.positions or pending.withheld):
            # What the peer lacks was read from a journal that was ahead of what we were told.
            pending.know(position)
        self._settle(context, pending)

    def spare(self, context: ContextName, position: Position) -> None:
        """It is announced instead of being sent."""
        pending = self.unsettled.get(context)
        if pending is None or position <= pending.after:
            return
        if len(pending.spared) >= KNOWN_POSITIONS_MAX:
            self.committed(context, position, from_peer=False)
        else:
            pending.spare(position)

    def unspare(self, context: ContextName, position: Position) -> None:
        """It is to be sent after all, and something before it is, too."""
        pending = self.unsettled.get(context)
        assert pending is not None, "something of it is to be sent"
        pending.unspare(position)
        if position > pending.after:
            pending.newest = max(pending.newest, position)
        else:
            pending.lacks(sorted({*pending.positions, position}))
        self._settle(context, pending)

    def sent_upto(self, context: ContextName) -> Position | None:
        """Up to where all of a context was sent, but for what waits to be announced; None: all."""
        pending = self.unsettled.get(context)
        if pending is None:
            return None
        return Position(0) if pending.comparing or pending.held else pending.floor

    # ---- reading ------------------------------------------------------------------------------

    @property
    def ready(self) -> int:
        """How many contexts have something to send now."""
        return len(self._ready)

    def has_room(self, window: Window) -> bool:
        return len(self.unacked) < window.frames and self._unacked_bytes < window.bytes

    def next_read(self, window: Window) -> ReadRecords | None:
        """What to read for the next message, if there is something and the window is open."""
        if not self._ready or not self.has_room(window):
            return None
        parts: list[Part] = []
        again_records = again_bytes = 0
        for context in self._ready:
            pending = self.unsettled[context]
            # What is withheld is read again, beside one more frame of what may cover it.
            again_records += len(pending.withheld)
            again_bytes += pending.withheld_bytes
            is_too_much = again_records > WITHHELD_RECORDS_MAX or again_bytes > WITHHELD_BYTES_MAX
            if parts and (is_too_much or len(parts) == CONTEXTS_PER_QUESTION):
                break
            positions = tuple(islice(pending.positions, RECORDS_PER_FRAME))
            upto = self.head if pending.limit is None else min(self.head, pending.limit)
            parts.append(Part(context, pending.withheld, positions, pending.after, upto))
        return ReadRecords(tuple(parts), RECORDS_PER_FRAME, RECORDS_BYTES)

    def pass_on(self, question: ReadRecords, whole: Whole, known: Collection[RecordHash]) -> bool:
        """Move on behind all that was read, if the peer is to get all of it: then it may be sent as
        it is. False if it has to be composed."""
        reached = list(zip(question.parts, whole.lasts, strict=False))
        for part, _ in reached:
            pending = self.unsettled.get(part.context)
            if pending is None or not pending.goes_on_from(part.after):
                return False
        if not whole.hashes.isdisjoint(known):
            return False
        for part, last in reached:
            pending = self.unsettled[part.context]
            pending.after = last
            self._ready.pop(part.context, None)
            self._settle(part.context, pending)
        return True

    def compose(self, read: RecordsRead, known: Container[RecordHash]) -> Composed | None:
        """The message in what was read; moves on behind it. `known` came from the peer just now."""
        assert isinstance(read.question, ReadRecords)
        chosen: list[Stored] = []
        for part, stored in zip(read.question.parts, read.stored, strict=False):
            chosen += self._advance(part, stored, read.items, known)
        if not chosen:
            return None
        return Composed(
            tuple(one.record for one in chosen),
            needed(chosen, read.items),
            firsts(chosen),
            beside(chosen, read),
        )

    def _advance(
        self,
        part: Part,
        stored: Sequence[Stored],
        items: Sequence[SignatureItem],
        known: Container[RecordHash],
    ) -> list[Stored]:
        context = part.context
        pending = self.unsettled.get(context)
        if pending is None:
            return []  # It is not the link's any more.
        again, new = stored[: len(part.again)], stored[len(part.again) :]
        later = new[len(part.positions) :]
        # Positions come first; those that were not reached are still to be sent.
        pending.reached(len(new) - len(later))
        if later:
            pending.after = later[-1].position
        wanted = not_at_peer((*again, *new), pending.known, known)
        if pending.spared:
            wanted = [one for one in wanted if one.position not in pending.spared]
            pending.pass_spared()
        sendable = closed(wanted, items)
        kept = {one.position for one in sendable}
        withheld = [one for one in wanted if one.position not in kept]
        size = sum(one.record.size for one in withheld)
        if len(withheld) > WITHHELD_RECORDS_MAX or size > WITHHELD_BYTES_MAX:
            sendable, withheld, size = wanted, [], 0
        pending.withheld = tuple(one.position for one in withheld)
        pending.withheld_bytes = size
        pending.pass_known()
        # To the end of the queue, for fairness, if something is left.
        self._ready.pop(context, None)
        self._settle(context, pending)
        return sendable

    # ---- sent and acknowledged ----------------------------------------------------------------

    def push(self, serial: int, sent: Sent, window: Window) -> bool:
        """As `sent`, if there is room for it: whether that was so."""
        if len(self.unacked) >= window.frames or self._unacked_bytes >= window.bytes:
            return False
        self.unacked[serial] = sent
        self._unacked_bytes += sent.size
        self.records_sent += sent.records
        return True

    def sent(self, serial: int, sent: Sent) -> None:
        self.unacked[serial] = sent
        self._unacked_bytes += sent.size
        self.records_sent += sent.records

    def acked(self, serial: int) -> bool:
        """False if no such message is open."""
        sent = self.unacked.pop(serial, None)
        if sent is None:
            return False
        self._unacked_bytes -= sent.size
        return True

    def stated(self) -> Position | None:
        """Up to where everything was sent or announced, or None while that can't be said
        cheaply."""
        if self._comparing or len(self.unsettled) > _FLOOR_CONTEXTS_MAX:
            return None
        return self._floor()

    def durable_upto(self) -> Position | None:
        """Up to where everything is durable at the peer; None before the comparison."""
        if self._comparing:
            return None
        return Position(min([self._floor(), *(sent.first - 1 for sent in self.unacked.values())]))

    def saved_of(self, context: ContextName) -> Position | None:
        """As `durable_upto`, for what one context has; None before that is compared."""
        pending = self.unsettled.get(context)
        if pending is not None and (pending.comparing or pending.held):
            return None
        floor = None if pending is None else pending.floor
        sent = [s.firsts[context] - 1 for s in self.unacked.values() if context in s.firsts]
        if context in self.gathered:
            sent.append(self.gathered[context] - 1)
        return Position(min([self.head if floor is None else floor, *sent]))

    def lagging(self) -> dict[ContextName, Position]:
        """The contexts of which not everything up to `head` is durable at the peer, and up to where
        it is; 0 of those that are not compared yet."""
        contexts = dict.fromkeys((*self.unsettled, *self.gathered))
        for sent in self.unacked.values():
            contexts.update(dict.fromkeys(sent.firsts))
        found = {context: self.saved_of(context) or Position(0) for context in contexts}
        return {context: upto for context, upto in found.items() if upto < self.head}

    @property
    def idle(self) -> bool:
        """Nothing is left to send and all that was sent is acknowledged."""
        return not self.unacked and not self._comparing and self._floor() == self.head

    def _floor(self) -> Position:
        least = self.head
        for pending in self.unsettled.values():
            floor = pending.floor
            if floor is not None and floor < least:
                least = floor
        if self.gathered:
            least = min(least, Position(min(self.gathered.values()) - 1))
        return least

    def _settle(self, context: ContextName, pending: Pending) -> None:
        """Queue the context if it has something to send, forget it if it has nothing left."""
        if pending.has_more:
            self._ready.setdefault(context)
            return
        self._ready.pop(context, None)
        waits = pending.comparing or pending.held or pending.limit is not None
        # Read ahead of what we were told: kept, so that being told sends nothing twice.
        if not (waits or pending.withheld or pending.after > self.head):
            del self.unsettled[context]
