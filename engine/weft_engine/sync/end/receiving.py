"""Which part of a session a message of the peer goes to, once both ends have said hello.

Must never know: frames' bytes, the store, how a link begins and ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from weft_engine.limits import POSITIONS_PER_ACK_MAX
from weft_engine.names import Position
from weft_engine.sync.end.comparison import Comparison
from weft_engine.sync.end.confirming import Confirming
from weft_engine.sync.end.following import Following
from weft_engine.sync.end.incoming import Incoming
from weft_engine.sync.end.link_cursors import LinkCursors
from weft_engine.sync.end.reaching import Reaching
from weft_engine.sync.end.regions.between_regions import BetweenRegions
from weft_engine.sync.end.regions.reconciling import Reconciling
from weft_engine.sync.end.sending import Sending
from weft_engine.sync.end.showing import Showing
from weft_engine.sync.end.subject import Subject
from weft_engine.sync.end.tickets import Tickets
from weft_engine.sync.faults import LimitBroken, ProtocolViolation
from weft_engine.sync.framing.messages import (
    Ack,
    Branches,
    Bye,
    Check,
    Clock,
    Compared,
    Contexts,
    Cursor,
    Erased,
    Fragment,
    Frontier,
    Frontiers,
    Heartbeat,
    Hello,
    Issue,
    Kept,
    Live,
    Message,
    PresenceTold,
    Reach,
    Records,
    Resume,
    Resumed,
    Sample,
    Subscribe,
    Ticket,
    Tips,
    Tree,
    Want,
    Zoom,
    Zooms,
)

COMPARING = (Contexts, Frontier, Frontiers, Tree, Branches, Compared, Zoom, Zooms, Sample)
"""What a comparison consists of."""


@dataclass(slots=True)
class Receiving:
    """`showing`, `reaching`: None: this end has no share in them."""

    subject: Subject
    sending: Sending
    incoming: Incoming
    following: Following
    between: BetweenRegions
    cursors: LinkCursors
    tickets: Tickets
    confirming: Confirming
    showing: Showing | None
    reaching: Reaching | None
    regions: dict[str, Position] = field(default_factory=dict)
    """Up to which position of our journal a region holds everything within the interest."""
    acks: int = 0
    """Acknowledgements that came."""

    def receive(
        self,
        message: Message,
        peer: Hello,
        comparison: Comparison | Reconciling,
        *,
        size: int,
    ) -> None:
        """`size`: bytes that it took. PeerError if it has no place here."""
        subject = self.subject
        if isinstance(message, COMPARING):
            subject.cost.received(size)
        match message:
            case Contexts():
                subject.receive_list(message)
            case Frontier():
                self._announced(message, comparison)
            case Records():
                self.incoming.receive(message, subject.accepts)
                self.between.progressed()
            case Ack():
                self._acked(message)
            case Want():
                self.sending.wanted(message)
            case Ticket() | Issue() | Kept():
                self.tickets.receive(message)
            case Erased():
                self.confirming.receive(message)
            case PresenceTold():
                if self.showing is not None:
                    self.showing.heard(message)
            case Resume() | Resumed():
                subject.resuming.receive(message)
                self.cursors.resumed(subject.begin())
            case Cursor():
                self.cursors.receive(
                    message, was_listed=subject.was_listed, is_listed=subject.is_listed
                )
            case Subscribe():
                subject.receive_round(message, peer)
                self.round_began(peer)
            case Tree() | Branches() | Compared():
                subject.receive_tree(message)
            case Reach():
                if self.reaching is not None:
                    # Before the lists are over it is about what the link was about before.
                    self.reaching.receive(message, counts=subject.is_listed)
            case Frontiers(entries):
                if not isinstance(comparison, Reconciling):
                    raise ProtocolViolation("frontiers came, and only regions say them together")
                for frontier in entries:
                    self._announced(frontier, comparison)
            case Tips() | Live() | Zoom() | Zooms() | Sample() | Check() | Clock():
                self.between.receive(message)
            case Heartbeat() | Fragment() | Hello() | Bye():
                pass

    def _announced(self, message: Frontier, comparison: Comparison | Reconciling) -> None:
        comparison.receive_frontier(message)
        self.incoming.announce(message.context, message.frontier)

    def round_began(self, peer: Hello) -> None:
        """The link is about something else now, as the peer asked."""
        interest = self.subject.interest
        self.incoming.restate(interest)
        self.regions.clear()
        self.confirming.again(self.subject.before)
        self.cursors.restart(peer, interest)
        if self.showing is not None:
            self.showing.follow(interest)
        if self.reaching is not None:
            self.reaching.restart(interest)

    def _acked(self, ack: Ack) -> None:
        self.acks += 1
        self.sending.acked(ack)
        if self.reaching is not None:
            self.reaching.acknowledged()
        if self.subject.is_listed:  # Else it is about another interest.
            for region, position in ack.regions:
                self.regions[region] = max(self.regions.get(region, Position(0)), position)
            if len(self.regions) > POSITIONS_PER_ACK_MAX:
                raise LimitBroken(f"more than {POSITIONS_PER_ACK_MAX} regions were named in acks")
