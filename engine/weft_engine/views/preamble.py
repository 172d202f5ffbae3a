"""The preamble: what a view takes along from before its window.

It stands between the head and the window: messages in reading order, then the facts, then the
summary. It is evaluated as of the window's start, so it changes when the window moves, when
something late turns up before it, or when somebody pins, hides, revokes or sums up.

What goes first when there is not room for all (within a class the newest first):

    1  the summary
    2  pinned messages, whatever their lifetime
    3  messages that are critical
    4  facts: critical, important, without, enhancing, optional
    5  messages that are persistent, in the same five steps
    6  messages of the session, in the same five steps
    7  what the policy recalls, in its own order

    crit        where it goes in its class; critical is a class of its own
    persistent  taken along, from however far back
    session     taken along if it is among the newest that are looked at and no close event stands
                after it; so is a critical one
    immediate   never taken along, unless it is pinned
    expires     from this moment on it is left out, pinned or not

The room is A tokens, by the spec alone. What is too big for its share of A is shortened, by the
event and A and never by the room left: the summary to three quarters, a message to a half, a fact
to an eighth, or to 64 tokens if these are not above a half. What does not fit then is left out;
what comes behind it and does, is taken. Must never know: storage, what time it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeAlias

from weft_engine.errors import BudgetTooSmall
from weft_engine.events.event import Criticality, Lifetime, Message, Role
from weft_engine.events.facts import CRITICALITIES, StandingFact, settled
from weft_engine.events.part import Text
from weft_engine.events.row import id_bytes
from weft_engine.names import EventId
from weft_engine.views.cache import Shelf
from weft_engine.views.fact_text import HEADING, fact_line, fact_notice
from weft_engine.views.marks import Marks, StandingSummary
from weft_engine.views.recall import Moment, Recalls
from weft_engine.views.shorten import shorten
from weft_engine.views.shown import Rule
from weft_engine.views.traits import Traits, traits_of
from weft_engine.views.unit import Unit

__all__ = ["LOOK_BACK_UNITS", "fact_notice", "preamble"]

LOOK_BACK_UNITS: Final = 512
"""Units right before the window among which session messages are found and a policy recalls. What
is pinned, critical or persistent is taken along from any depth."""
FACTS_TRIED_MAX: Final = 4_096
MESSAGES_TRIED_MAX: Final = 1_024
"""So many are looked at in the order above to fill the room; a forger may have written more."""
_NOBODY: Final[Mapping[EventId, str]] = MappingProxyType({})
_SUMMARY_SHARE: Final = (3, 4)
_UNIT_SHARE: Final = (1, 2)
_FACT_SHARE: Final = (1, 8)
_FACT_TOKENS: Final = 64
_CHARS_PER_TOKEN: Final = 4
_KEEP_LEAST: Final = 8


def preamble(
    marks: Marks,
    past: Sequence[Unit],
    policy: object,
    now_ms: int,
    room: int,
    shelf: Shelf,
    *,
    start: bytes | None = None,
    shown: Set[EventId] = frozenset(),
    authors: Mapping[EventId, str] = _NOBODY,
) -> tuple[Unit, ...]:
    """What stands between head and window, in at most `room` tokens; the units' `rules` say why.

    `past`: units from before the window in reading order: all that are pinned, critical or
    persistent, and the newest LOOK_BACK_UNITS of any kind. `start`: the key of the window's first
    message; facts from there on are not here (`fact_notice`). `shown`: messages that stand in the
    head or the window and not here. `now_ms`: the view's moment. `policy` is asked if it `Recalls`;
    `authors`, for that, of messages by their ids.

    Raises PolicyMissing and PolicyBroken for facts whose rule can't decide, and for such a policy.
    """
    budget = _Room(room, shelf)
    summary = None if marks.summary is None else budget.take(_summary(marks.summary, shelf))
    candidates = _Candidates(marks, past, now_ms, shown)
    taken = _take(candidates.first(), budget)
    facts = marks.facts if start is None else marks.book.before(start)
    listed = _facts([fact for fact in facts if not _is_expired(fact, now_ms)], budget)
    taken |= _take(candidates.second(), budget)
    if isinstance(policy, Recalls):
        pinned = frozenset(pin.target for pin in marks.pins)
        moment = Moment(now_ms, max(0, room), shelf, pinned, authors)
        taken |= _take(candidates.recalled(policy, moment), budget)
    found = [taken[index] for index in sorted(taken)]
    return tuple(unit for unit in (*found, listed, summary) if unit is not None)


class _Room:
    """The tokens that are left of A."""

    __slots__ = ("left", "shelf", "whole")

    def __init__(self, room: int, shelf: Shelf) -> None:
        self.whole = self.left = max(0, room)
        self.shelf = shelf

    def share(self, share: tuple[int, int]) -> int:
        return self.whole * share[0] // share[1]

    def take(self, unit: Unit, share: tuple[int, int] = _SUMMARY_SHARE) -> Unit | None:
        """`unit`, shortened if it is above its share; None if there is no room for that."""
        allowed = self.share(share)
        if unit.tokens > allowed and not (unit.fixed and unit.tokens <= self.whole):
            try:
                unit = shorten(unit, allowed, self.shelf)
            except BudgetTooSmall:
                return None  # It can't be cut to its share, so it is left out.
        if unit.tokens > self.left:
            return None
        self.left -= unit.tokens
        return unit


_Name: TypeAlias = tuple[tuple[EventId, ...], Role]


@dataclass(frozen=True, slots=True)
class _Candidate:
    index: int
    unit: Unit
    rule: Rule


class _Candidates:
    """The units of `past` that may be taken along, in their classes."""

    __slots__ = ("_by_class", "_plain")

    def __init__(
        self, marks: Marks, past: Sequence[Unit], now_ms: int, shown: Set[EventId]
    ) -> None:
        pinned = {pin.target for pin in marks.pins}
        closed = marks.closes[-1][8:] if marks.closes else b""
        recent = len(past) - LOOK_BACK_UNITS
        self._by_class: dict[tuple[int, int], list[_Candidate]] = {}
        self._plain: list[tuple[int, Unit]] = []
        seen: set[_Name] = set()
        for index, unit in enumerate(past):
            name = _name(unit)
            if unit.ids[0] in shown or name in seen or marks.hides(unit.ids):
                continue
            seen.add(name)
            traits = traits_of(unit)
            if traits.is_expired(now_ms):
                continue
            if not pinned.isdisjoint(unit.ids):
                self._add((2, 0), _Candidate(index, unit, Rule.PINNED))
                continue
            is_over = traits.life is Lifetime.SESSION and id_bytes(unit.ids[0]) < closed
            if traits.life is Lifetime.IMMEDIATE or is_over:
                continue
            rank = _rank(traits, is_recent=index >= recent)
            if rank is not None:
                self._add(rank, _Candidate(index, unit, Rule.CARRIED))
            elif index >= recent:
                self._plain.append((index, unit))

    def _add(self, rank: tuple[int, int], candidate: _Candidate) -> None:
        self._by_class.setdefault(rank, []).append(candidate)

    def first(self) -> Iterator[_Candidate]:
        """Those before the facts."""
        return self._of((2, 3))

    def second(self) -> Iterator[_Candidate]:
        """Those behind the facts."""
        return self._of((5, 6))

    def recalled(self, policy: Recalls, moment: Moment) -> Iterator[_Candidate]:
        places = {_name(unit): index for index, unit in self._plain}
        for unit in policy.recall([unit for _, unit in self._plain], moment):
            place = places.pop(_name(unit), None)
            if place is not None:
                yield _Candidate(place, unit, Rule.RECALLED)

    def _of(self, classes: tuple[int, ...]) -> Iterator[_Candidate]:
        for rank in sorted(self._by_class):
            if rank[0] in classes:
                yield from reversed(self._by_class[rank])


def _name(unit: Unit) -> _Name:
    """What tells units apart: a message that calls tools and holds results of calls that are not
    shown is two of them."""
    return unit.ids, unit.pieces[0].message.role


def _rank(traits: Traits, *, is_recent: bool) -> tuple[int, int] | None:
    """The class of a message that nobody pinned, and its step in it."""
    if traits.crit is Criticality.CRITICAL:
        return (3, 0)
    if traits.life is Lifetime.PERSISTENT:
        return (5, CRITICALITIES.index(traits.crit))
    if traits.life is Lifetime.SESSION and is_recent:
        return (6, CRITICALITIES.index(traits.crit))
    return None


def _take(candidates: Iterator[_Candidate], room: _Room) -> dict[int, Unit]:
    """As many as there is room for, by their places."""
    taken: dict[int, Unit] = {}
    for tried, candidate in enumerate(candidates):
        if tried == MESSAGES_TRIED_MAX or room.left == 0:
            break
        unit = room.take(candidate.unit, _UNIT_SHARE)
        if unit is not None:
            rules = unit.rules | {candidate.rule}
            if unit is not candidate.unit:
                rules |= {Rule.SHORTENED}
            taken[candidate.index] = replace(unit, rules=rules)
    return taken


def _summary(summary: StandingSummary, shelf: Shelf) -> Unit:
    noun = "message" if summary.count == 1 else "messages"
    heading = f"[summary of {summary.count} earlier {noun}]"
    return _own(f"{heading}\n{summary.text}", "the summary", Rule.SUMMARY, shelf)


def _own(text: str, label: str, rule: Rule, shelf: Shelf) -> Unit:
    """Something that we say ourselves."""
    piece = shelf.priced(Message(Role.USER, (Text(text),)), None)
    return Unit((), (piece,), piece.tokens, False, label, frozenset({rule}))


# ---- facts ------------------------------------------------------------------------------------


def _is_expired(fact: StandingFact, now_ms: int) -> bool:
    return fact.expires is not None and fact.expires <= now_ms


def _facts(facts: Sequence[StandingFact], room: _Room) -> Unit | None:
    """The facts that there is room for, in one message; they stand by name."""
    if not facts:
        return None
    ranked = sorted(facts, key=lambda fact: fact.key, reverse=True)
    ranked.sort(key=lambda fact: CRITICALITIES.index(fact.crit))
    count = room.shelf.tokenizer.count
    left = room.left - _own(HEADING, HEADING, Rule.FACTS, room.shelf).tokens
    lines: list[tuple[StandingFact, str]] = []
    for fact in ranked[:FACTS_TRIED_MAX]:
        if left <= 0:
            break
        line = _line(settled(fact), room)
        if line is not None and (tokens := count(f"\n{line}")) <= left:
            lines.append((fact, line))
            left -= tokens
    # Joined, lines may cost more than each for itself. Then fewer are tried, by halves.
    best: Unit | None = None
    fits, tried, too_many = 0, len(lines), len(lines) + 1
    while tried > fits:
        by_name = sorted(lines[:tried], key=lambda line: line[0].name)
        text = "\n".join((HEADING, *(line for _, line in by_name)))
        unit = _own(text, "the facts", Rule.FACTS, room.shelf)
        if unit.tokens <= room.left:
            best, fits = unit, tried
        else:
            too_many = tried
        tried = (fits + too_many) // 2
    if best is not None:
        room.left -= best.tokens
    return best


def _line(fact: StandingFact, room: _Room) -> str | None:
    """The line of a fact, cut to its share; None if nothing sensible is left of it then."""
    allowed = max(room.share(_FACT_SHARE), min(_FACT_TOKENS, room.share(_UNIT_SHARE)))
    keep = allowed * _CHARS_PER_TOKEN
    while keep >= _KEEP_LEAST:
        line = fact_line(fact, keep)
        if room.shelf.tokenizer.count(line) <= allowed:
            return line
        keep = keep * 3 // 4
    return None
