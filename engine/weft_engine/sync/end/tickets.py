"""The exchange of tickets at the beginning of a link (`weft_engine.storage.tickets` says why).

The end without a region shows what it holds; the other says whether that is the last it gave, and
offers a fresh one; this is kept before the first record is sent, and the other is told. Between two
regions this goes on in both directions, each by itself.

Must never know: where tickets are kept, what an old one leads to.
"""

from __future__ import annotations

from enum import Enum, auto

from weft_engine.sync.end.ticket_questions import (
    ConfirmTicket,
    IdentityRenewed,
    IssueTicket,
    KeepTicket,
    ReadTicket,
    RenewIdentity,
    TicketConfirmed,
    TicketIssued,
    TicketKept,
    TicketQuestion,
    TicketRead,
)
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.messages import Hello, Issue, Kept, Ticket


class _Shown(Enum):
    """How far the showing of our own ticket is."""

    NOTHING = auto()
    """The peer hands out none, or another link of ours shows it."""
    SOON = auto()
    YES = auto()
    ANSWERED = auto()


class Tickets:
    """`fresh` is what this end hands out, if it has a region: random, 16 bytes."""

    def __init__(self, fresh: bytes | None) -> None:
        self._fresh = fresh
        self._peer = b""
        self._shown = _Shown.NOTHING
        self.may_send = True
        """Whether records may be sent already."""
        self._was_shown = False
        self._awaits_kept = False
        self._questions: list[TicketQuestion] = []
        self.peer_is_current = False
        """The peer has shown the last ticket that was given to its store."""

    @property
    def awaited(self) -> str | None:
        """The message of the peer that this end waits for before it sends records."""
        return "issue" if self._shown is _Shown.YES else None

    def greeted(self, peer: Hello) -> None:
        self._peer = peer.store
        if peer.region is not None:
            self._shown = _Shown.SOON
            self.may_send = False
            self._questions.append(ReadTicket(peer.store))

    def next_question(self) -> TicketQuestion | None:
        return self._questions.pop(0) if self._questions else None

    def receive(self, message: Ticket | Issue | Kept) -> None:
        """ProtocolViolation if it has no place here."""
        match message:
            case Ticket(shown):
                if self._fresh is None:
                    raise ProtocolViolation("a ticket came to an end that has no region")
                if self._was_shown:
                    raise ProtocolViolation("a second ticket came")
                self._was_shown = True
                self._questions.append(IssueTicket(self._peer, shown, self._fresh))
            case Issue(fresh):
                if self._shown is not _Shown.YES:
                    raise ProtocolViolation("an issue came, and no ticket was shown")
                self._shown = _Shown.ANSWERED
                if fresh is None:
                    self._questions.append(RenewIdentity())
                else:
                    self._questions.append(KeepTicket(self._peer, fresh))
            case Kept():
                if not self._awaits_kept or self._fresh is None:
                    raise ProtocolViolation("a ticket was kept that was not issued")
                self._awaits_kept = False
                self._questions.append(ConfirmTicket(self._peer, self._fresh))

    def supply(
        self,
        answer: TicketRead | TicketIssued | TicketKept | TicketConfirmed | IdentityRenewed,
    ) -> Ticket | Issue | Kept | None:
        """The answer to a question; what the peer is told then."""
        match answer:
            case TicketRead(ticket, is_shown):
                if is_shown:
                    self._shown = _Shown.YES
                    return Ticket(ticket)
                self._shown = _Shown.NOTHING
                self.may_send = True
            case TicketIssued(is_current, is_known):
                self._awaits_kept = is_current
                self.peer_is_current = is_current and is_known
                return Issue(self._fresh if is_current else None)
            case TicketKept():
                self.may_send = True
                return Kept()
            case IdentityRenewed():
                self.may_send = True
            case TicketConfirmed():
                pass
        return None
