"""What the store is asked about tickets, and the answers (`sync.end.tickets`).

Must never know: frames, the session.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from weft_engine.storage import tickets


@dataclass(frozen=True, slots=True)
class ReadTicket:
    """The ticket that the store `peer` gave us last."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class TicketRead:
    """`is_shown` False: another link of ours to that store shows it."""

    ticket: bytes | None
    is_shown: bool = True


@dataclass(frozen=True, slots=True)
class KeepTicket:
    peer: bytes
    ticket: bytes


@dataclass(frozen=True, slots=True)
class TicketKept:
    pass


@dataclass(frozen=True, slots=True)
class IssueTicket:
    """Whether `store` shows the last ticket it was given; then it is offered `fresh`."""

    store: bytes
    shown: bytes | None
    fresh: bytes


@dataclass(frozen=True, slots=True)
class TicketIssued:
    """`is_known`: it shows nothing that we know nothing of."""

    is_current: bool
    is_known: bool


@dataclass(frozen=True, slots=True)
class ConfirmTicket:
    """`store` keeps the ticket that it was offered."""

    store: bytes
    ticket: bytes


@dataclass(frozen=True, slots=True)
class TicketConfirmed:
    pass


@dataclass(frozen=True, slots=True)
class RenewIdentity:
    """What we showed is old: go by another store id. Who drives the link
    has its replica do that; a store that has no identity to change has nothing to do."""


@dataclass(frozen=True, slots=True)
class IdentityRenewed:
    pass


TicketQuestion = ReadTicket | KeepTicket | IssueTicket | ConfirmTicket | RenewIdentity
TicketAnswer = TicketRead | TicketKept | TicketIssued | TicketConfirmed | IdentityRenewed


def answer_ticket(connection: sqlite3.Connection, question: TicketQuestion) -> TicketAnswer:
    match question:
        case ReadTicket():
            return TicketRead(tickets.held(connection, question.peer))
        case KeepTicket():
            tickets.keep(connection, question.peer, question.ticket)
            return TicketKept()
        case IssueTicket():
            store, shown = question.store, question.shown
            is_known = shown is None or tickets.is_known(connection, store)
            return TicketIssued(tickets.issue(connection, store, shown, question.fresh), is_known)
        case ConfirmTicket():
            tickets.confirm(connection, question.store, question.ticket)
            return TicketConfirmed()
        case RenewIdentity():
            return IdentityRenewed()
