"""Summaries: what exactly one covers, which of several goes first, and whether calls are settled.

A summary covers the messages of its branch in the causal past of the records it names: a set that
is closed downwards and the same on every replica, whatever came later or in which order. So it can
be checked by counting them and by a digest of their ids. Imports of one class count once.
Must never know: SQL, tokens, views.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from weft_engine.events.event import Event, Message, Role, Summary
from weft_engine.events.part import Call, CallRef, Result
from weft_engine.events.row import Row
from weft_engine.names import EventId, Position

DIGEST_BYTES: Final = 32
_PERSON: Final = b"weft-summary"


def covered_digest(ids: Iterable[bytes]) -> str:
    """BLAKE2b-256, person ``weft-summary``, in hex: of the ids of the covered messages in 24 bytes
    each (hlc and incarnation), ascending, one after the other. A class of imports goes by that
    member with the least (time, id) among those that lie in the covered past: members which
    arrive later change nothing."""
    return blake2b(b"".join(sorted(ids)), digest_size=DIGEST_BYTES, person=_PERSON).hexdigest()


@dataclass(frozen=True, slots=True)
class Extent:
    """The past that a summary names, as places in one journal: every record but those `outside`,
    and of the record `split` only events whose ids (24 bytes) are not above `end`."""

    outside: frozenset[Position]
    split: Position | None = None
    end: bytes = b""

    def holds(self, row: Row) -> bool:
        if row.position in self.outside:
            return False
        return row.position != self.split or row.key[8:] <= self.end


@dataclass(frozen=True, slots=True)
class Candidate:
    """A summary event of a reading order that nobody has revoked, applying or not."""

    row: Row
    summary: Summary
    author: str


def by_preference(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that go before others first: larger count, then least id. (One that covers all that
    another does and more has the larger count, too.)"""
    return sorted(candidates, key=lambda candidate: (-candidate.summary.count, candidate.row.id))


class WaitingCalls:
    """The calls that wait for results their authors may still go by, while events are taken in
    reading order. A call is settled by its result, or given up by a later generation of its own
    author: a result that comes after that is shown as text."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[CallRef, str] = {}

    def take(self, id_: EventId, event: Event) -> None:
        body = event.body
        if not isinstance(body, Message):
            return
        if body.role is Role.ASSISTANT:
            self._waiting = {
                ref: author for ref, author in self._waiting.items() if author != event.author
            }
        for index, part in enumerate(body.parts):
            if isinstance(part, Result) and part.call is not None:
                self._waiting.pop(part.call, None)
            elif isinstance(part, Call) and body.role is Role.ASSISTANT:
                self._waiting[CallRef(id_, index)] = event.author

    def __bool__(self) -> bool:
        return bool(self._waiting)


def has_pending_calls(events: Iterable[tuple[EventId, Event]]) -> bool:
    """Whether a call waits at the end of these events, in reading order."""
    waiting = WaitingCalls()
    for id_, event in events:
        waiting.take(id_, event)
    return bool(waiting)
