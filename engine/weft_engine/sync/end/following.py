"""How one end of a link follows its journal: what the peer offered is acknowledged when it is
there, and what is new is sent, unless it came from the peer.

Must never know: frames' bytes, the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from weft_engine.names import ContextName, RecordHash
from weft_engine.storage.ledger import Stored
from weft_engine.sync.end.incoming import Incoming
from weft_engine.sync.end.link_cursors import LinkCursors
from weft_engine.sync.end.live import Body
from weft_engine.sync.end.pulse import Pulse
from weft_engine.sync.end.regions.neighbour import Neighbour
from weft_engine.sync.end.sending import Sending
from weft_engine.sync.end.subject import Subject
from weft_engine.sync.end.tickets import Tickets


class Following:
    def __init__(
        self,
        subject: Subject,
        sending: Sending,
        incoming: Incoming,
        cursors: LinkCursors,
        tickets: Tickets,
        pulse: Pulse,
    ) -> None:
        self._subject = subject
        self._sending = sending
        self._incoming = incoming
        self._cursors = cursors
        self._tickets = tickets
        self._pulse = pulse
        self._has_ended = False
        self.gathers_acks = False
        """Acknowledgements wait for `acknowledge`, or until there are many of them."""
        self.came: set[RecordHash] = set()
        """Committed just now, from the peer; `told` has not been called for them."""
        self.on_came: Callable[[ContextName, int], None] | None = None
        """Told of the context and the payload's bytes of each of them."""

    def end(self) -> None:
        """The link has ended: nothing is sent any more."""
        self._has_ended = True

    # ---- commits ------------------------------------------------------------------------------

    def committed(self, stored: Sequence[Stored]) -> None:
        """What the journal has just made durable, whoever wrote it, in its order."""
        self.journaled(stored)
        self.told(stored)
        self.handed_out()

    def journaled(self, stored: Sequence[Stored]) -> bool:
        """The first half of `committed`, for links that are told together (by a `Hub`): what the
        peer offered is here. Due where `Incoming.offered` names one of these, or while it
        `awaits_names`; before their admission is answered. Whether something is to be acknowledged
        for that."""
        if self._subject.comparison is None:
            return False
        came = [one for one in stored if self._incoming.committed(one.record.hash)]
        if came:
            # Behind the end, too: it may still be under way when the connection is gone.
            self._cursors.came(came)
        if self._has_ended:
            return False
        if came and self.on_came is not None:
            for one in came:
                self.on_came(one.record.envelope.context, len(one.record.payload))
        self.came.update([one.record.hash for one in came])
        return self._acknowledge()

    def told(self, stored: Sequence[Stored]) -> None:
        """The second half: what is new in our journal is to be sent, unless it came from there."""
        subject, outgoing = self._subject, self._sending.outgoing
        if subject.comparison is None or self._has_ended:
            return
        for one in stored:
            outgoing.head = one.position
            context = one.record.envelope.context
            if subject.interest.covers(context):
                self._cursors.moved(one.position)
                outgoing.committed(
                    context,
                    one.position,
                    from_peer=one.record.hash in self.came,
                    is_held=subject.moves(context),
                )

    def handed_out(self) -> None:
        """All links have been told of what was committed."""
        self.came.clear()

    def spare(self, stored: Sequence[Stored], sources: Sequence[Neighbour]) -> None:
        """One of `sources` sends the peer what is new here: it is announced, unless it came from
        the peer."""
        neighbour = self._sending.neighbour
        assert neighbour is not None, "only a region is spared anything"
        some = [one for one in stored if one.record.hash not in self.came]
        neighbour.gather(some, sources)
        for one in some:
            self._sending.outgoing.spare(one.record.envelope.context, one.position)

    # ---- as it is new -------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """Nothing is left to be sent or looked at, so what is new may go out as it is."""
        comparison = self._subject.comparison
        return (
            self._sending.is_settled
            and comparison is not None
            and comparison.is_done
            and self._tickets.may_send
            and not self._has_ended
        )

    def push(self, body: Body) -> bytes | None:
        """What stands before the shared bytes of `body`, which is sent with it now, behind all that
        is to leave already: where it `is_settled`. None if there is no room for it: the peer has to
        be told of it otherwise."""
        head = self._sending.push(body)
        if head is not None:
            self._cursors.moved(body.upto)
            self._pulse.has_sent = True
        return head

    # ---- acknowledgements ---------------------------------------------------------------------

    @property
    def owes_acks(self) -> bool:
        """Acknowledgements were gathered: call `acknowledge` within ACK_GATHER_S."""
        return not self._has_ended and self.gathers_acks and self._incoming.has_acks

    def acknowledge(self) -> None:
        """Acknowledge what is durable by now."""
        if not self._has_ended:
            self._acknowledge(at_once=True)

    def answered(self) -> None:
        """The gate has answered: acknowledge what is durable, or gather that."""
        self._acknowledge()

    def _acknowledge(self, *, at_once: bool = False) -> bool:
        if self.gathers_acks and not at_once and not self._incoming.is_filling:
            return False
        acks = self._incoming.acks()
        self._sending.acknowledge(acks)
        return bool(acks)
