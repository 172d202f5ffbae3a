"""What goes to the peer: messages in their order, and the records that the window has room for.

Between two regions what the peer asks for has a window of its own, as large as the other: that may
be full of what waits at the peer for just this. What is asked for never waits itself: it is all
that was announced and not acknowledged in that context, in journal order (`end.regions.neighbour`),
so its acknowledgements come, and room for the next.

Must never know: what comes, the store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice

from weft_engine.limits import (
    RECORDS_BYTES,
    WANTED_HASHES_MAX,
    WANTED_IN_VAIN_MAX,
    WANTED_PER_FRAME_MAX,
)
from weft_engine.names import Position, RecordHash
from weft_engine.storage.ledger import Stored
from weft_engine.sync.end.acks import Acks
from weft_engine.sync.end.closure import needed
from weft_engine.sync.end.composed import Composed, beside, firsts
from weft_engine.sync.end.head import Head
from weft_engine.sync.end.live import Body, Sent, head_of, said_of, whole_head
from weft_engine.sync.end.outbox import Outbox
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.end.record_questions import ReadRecords, ReadWanted, RecordsRead
from weft_engine.sync.end.regions.neighbour import Neighbour
from weft_engine.sync.faults import LimitBroken, ProtocolViolation
from weft_engine.sync.framing.messages import Ack, Records, Tips, Want, Window
from weft_engine.sync.interest import Interest


class Sending:
    """`told` is what all links of the store were told of, where they are told together.
    `outbox_bytes`: nothing is read for the peer while more than this waits to leave."""

    def __init__(self, window: Window, told: Head | None, *, outbox_bytes: int) -> None:
        self.outbox = Outbox()
        self._acks = Acks()
        self._outbox_bytes = outbox_bytes
        self.outgoing = Outgoing(told)
        self.window = window
        self._serial = 0
        self._wanted: dict[RecordHash, None] = {}
        self._answers: dict[int, int] = {}
        """Serials and sizes of messages that answer wants and are not acknowledged."""
        self._passed_over = 0
        """Records that were asked for and not sent."""
        self.neighbour: Neighbour | None = None
        """The peer, if both ends are regions."""

    def greeted(self, window: Window, region: str | None) -> None:
        """The peer's window is as large as this; between regions, it is this one."""
        ours = self.window
        self.window = Window(min(ours.frames, window.frames), min(ours.bytes, window.bytes))
        if region is not None:
            self.neighbour = Neighbour(region, self.outgoing.gathered)

    @property
    def is_settled(self) -> bool:
        """Nothing is left to be sent or looked at."""
        return not (self.outgoing.unsettled or self._wanted)

    @property
    def is_full(self) -> bool:
        """Too much waits to leave."""
        return self.outbox.size > self._outbox_bytes

    @property
    def has_frames(self) -> bool:
        """Whether something waits to leave, presence left out."""
        return not (self.outbox.is_empty and self._acks.is_empty)

    def acknowledge(self, acks: Iterable[Ack]) -> None:
        """Behind `tell_acks` they leave before everything else."""
        for ack in acks:
            self._acks.add(ack)

    def tell_acks(self) -> None:
        """What is to be sent leaves now: what is acknowledged, with it."""
        if not self._acks.is_empty:
            for ack in self._acks.take():
                self.outbox.put_first(ack)

    def clear(self) -> None:
        """Nothing of what waits is to be sent any more."""
        self.outbox.clear()
        self._acks.clear()

    def wanted(self, message: Want) -> None:
        """The peer asks for these."""
        if len(self._wanted.keys() | message.hashes) > WANTED_HASHES_MAX:
            raise LimitBroken(f"more than {WANTED_HASHES_MAX} records were asked for")
        hashes: Iterable[RecordHash] = message.hashes
        if self.neighbour is not None:
            hashes, later = self.neighbour.asked_for(hashes, self.outgoing.sent_upto)
            for context, position in later:
                self.outgoing.unspare(context, position)
        self._wanted.update(dict.fromkeys(hashes))

    def acked(self, ack: Ack) -> None:
        """ProtocolViolation if the peer can't know what it says."""
        for serial in range(ack.first, ack.last + 1):
            if not self.outgoing.acked(serial):
                raise ProtocolViolation(f"serial {serial} was acknowledged and is not open")
            self._answers.pop(serial, None)
            if self.neighbour is not None:
                self.neighbour.acked(serial)
        for region, position in ack.regions:
            if position > self.outgoing.head:
                raise ProtocolViolation(
                    f"region {region} holds position {position} of our journal, which ends at"
                    f" {self.outgoing.head}"
                )

    # ---- what was read ------------------------------------------------------------------------

    def next_wanted(self) -> ReadWanted | None:
        """What to read of what the peer asked for."""
        if not self._wanted or not self._has_room_for_wanted:
            return None
        return ReadWanted(tuple(islice(self._wanted, WANTED_PER_FRAME_MAX)), RECORDS_BYTES)

    def next_read(self) -> ReadRecords | None:
        return self.outgoing.next_read(self.window)

    def wanted_read(self, answer: RecordsRead, question: ReadWanted, interest: Interest) -> None:
        """PeerError if the peer asks and asks for what it can't get: whoever goes by what was sent
        to it asks for what is held, and once."""
        left = set(answer.left)
        for hash_ in question.hashes:
            if hash_ not in left:
                self._wanted.pop(hash_, None)
        stored = [s for s in answer.all if interest.covers(s.record.envelope.context)]
        known = left.union(one.record.hash for one in stored)
        self._passed_over += sum(hash_ not in known for hash_ in question.hashes)
        if self._passed_over > WANTED_IN_VAIN_MAX:
            raise LimitBroken(f"more than {WANTED_IN_VAIN_MAX} records were asked for in vain")
        if self.neighbour is not None:
            stored = [one for one in stored if not self._is_to_come(one)]
        if stored:
            records = tuple(one.record for one in stored)
            items = needed(stored, answer.items)
            erasers = beside(stored, answer)
            composed = Composed(records, items, firsts(stored), erasers)
            self._send(composed, None)
            self._answers[self._serial] = composed.size

    def _is_to_come(self, one: Stored) -> bool:
        """Whether it is sent when its turn comes, behind what it may depend on."""
        upto = self.outgoing.sent_upto(one.record.envelope.context)
        return upto is not None and one.position > upto

    def records_read(
        self, answer: RecordsRead, known: Collection[RecordHash], *, states: bool
    ) -> None:
        """`known` came from the peer just now. `states`: the peer is told up to where it was sent
        everything."""
        whole = answer.whole
        assert isinstance(answer.question, ReadRecords), "who supplies it has looked"
        if whole is not None and self.outgoing.pass_on(answer.question, whole, known):
            upto = self.outgoing.stated() if states else None
            self._serial += 1
            self.outgoing.sent(self._serial, whole.sent)
            self.outbox.put_encoded(whole_head(self._serial, upto), whole.shared)
            return
        composed = self.outgoing.compose(answer, known)
        if composed is not None:
            self._send(composed, self.outgoing.stated() if states else None)

    def push(self, body: Body) -> bytes | None:
        """What stands before the shared bytes of `body`, which is sent with it now; None if there
        is no room for it."""
        outgoing, serial = self.outgoing, self._serial + 1
        if not outgoing.push(serial, body.sent, self.window):
            return None
        self._serial = serial
        said = body.said
        if outgoing.gathered:
            # What was spared before is neither sent nor announced yet.
            said = said_of(min(body.upto, Position(min(outgoing.gathered.values()) - 1)))
        return head_of(serial) + said

    def announce(self) -> None:
        """Tell the peer of what others send it, as far as there is room: announcements take a
        quarter of the window."""
        neighbour, outgoing = self.neighbour, self.outgoing
        if neighbour is None:
            return
        most = max(1, self.window.frames // 4)
        while neighbour.unacked < most and outgoing.has_room(self.window):
            one = neighbour.next(outgoing.sent_upto)
            if one is None:
                return
            self._serial += 1
            neighbour.announced(self._serial)
            outgoing.sent(self._serial, Sent(min(one.firsts.values()), 0, one.firsts))
            self.outbox.put(Tips(self._serial, outgoing.stated(), one.hashes))

    @property
    def _has_room_for_wanted(self) -> bool:
        if self.neighbour is None:
            return self.outgoing.has_room(self.window)
        bytes_ = sum(self._answers.values())
        return len(self._answers) < self.window.frames and bytes_ < self.window.bytes

    def _send(self, composed: Composed, upto: Position | None) -> None:
        self._serial += 1
        records = tuple((r.envelope_bytes, r.payload) for r in composed.records)
        sent = Sent(composed.first, composed.size, composed.firsts, len(records))
        self.outgoing.sent(self._serial, sent)
        erasers = tuple(
            (e.record.envelope_bytes, e.record.payload, e.item) for e in composed.erasers
        )
        self.outbox.put(Records(self._serial, upto, records, composed.items, erasers))
