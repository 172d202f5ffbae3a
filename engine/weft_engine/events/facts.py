"""Facts: what the fact events of a context amount to, at its cut and at earlier moments.

Of the facts of one name, those that another one of that name replaces are beaten, and the merge
rule decides among the rest, which are concurrent. The rule is the one that the newest of them
names. A fact of the value null withdraws the name: it beats what it replaces and has no say in the
rest, so that what was said without knowledge of the withdrawal survives it. A revoked fact is not
there at all: what it replaced holds again. Facts that replace each other in a circle, which only a
forger can write, beat each other.

All of it follows from the set of events, whatever arrived first. Must never know: storage, views,
what time it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from weft_engine.errors import PolicyBroken, PolicyMissing
from weft_engine.events.event import Criticality, Fact
from weft_engine.events.merge_rules import Merged, merge
from weft_engine.names import EventId, Hlc
from weft_engine.records.clock import hlc_ms

WITHDRAWN: Final = "null"
"""The value that says that there is none any more."""
_LONG: Final = 256
"""Whoever puts this much white space around a null does not mean it."""
CRITICALITIES: Final = (
    Criticality.CRITICAL,
    Criticality.IMPORTANT,
    None,
    Criticality.ENHANCING,
    Criticality.OPTIONAL,
)
"""From what goes first to what goes last."""


@dataclass(frozen=True, slots=True)
class SaidFact:
    """A fact event that is not revoked. `key` = (time, id) in 32 bytes."""

    key: bytes
    id: EventId
    fact: Fact


@dataclass(frozen=True, slots=True)
class StandingFact:
    """What the facts of one name amount to: `value` as JSON text, decided by its merge rule.
    `others`: values of concurrent facts that the rule did not choose; empty if nobody disagrees.
    `key` and `id`: of the newest event that had a say in it."""

    key: bytes
    id: EventId
    name: str
    value: str
    others: tuple[str, ...] = ()
    crit: Criticality | None = None
    """The highest of the events that had a say."""
    expires: int | None = None
    """Milliseconds since 1970; the latest of the events that had a say, None if one has none."""
    rule: str = "last"
    merged: bool = True
    """False if this replica has no such rule, or it fails: then `value` is the newest and `others`
    are all others as they were said. See `settled`."""
    ids: tuple[EventId, ...] = ()
    """The events that had a say, oldest first: what a fact that is said now replaces."""


class FactBook:
    """All facts said in a context, as a value: equal sets give equal answers. Takes n log n steps
    for n events; asking for an earlier moment costs what was said since then."""

    __slots__ = ("_by_name", "_keys", "_said", "_standing")

    def __init__(self, said: Iterable[SaidFact] = ()) -> None:
        self._said = tuple(sorted(said, key=lambda one: one.key))
        self._keys = [one.key for one in self._said]
        by_name: dict[str, list[SaidFact]] = {}
        for one in self._said:
            by_name.setdefault(one.fact.key, []).append(one)
        self._by_name: Mapping[str, Sequence[SaidFact]] = by_name
        self._standing = {
            name: found for name in sorted(by_name) if (found := resolve(by_name[name])) is not None
        }

    def with_said(self, one: SaidFact) -> FactBook:
        """The book of these facts and one more. Takes time by what it holds, but little: only the
        facts of that name are resolved again."""
        at = bisect_left(self._keys, one.key)
        if self._keys[at : at + 1] == [one.key]:
            return self
        name = one.fact.key
        of_name = sorted((*self._by_name.get(name, ()), one), key=lambda said: said.key)
        standing = dict(self._standing)
        found = resolve(of_name)
        if found is None:
            standing.pop(name, None)
        else:
            standing[name] = found
        book = FactBook()
        book._said = (*self._said[:at], one, *self._said[at:])
        book._keys = [*self._keys[:at], one.key, *self._keys[at:]]
        book._by_name = {**self._by_name, name: of_name}
        book._standing = standing if name in self._standing else dict(sorted(standing.items()))
        return book

    def beyond(self, earlier: FactBook) -> tuple[StandingFact, ...] | None:
        """The events that it holds and `earlier` does not, oldest first, as they were said; None
        if these are not all newer than everything that `earlier` holds."""
        count = len(earlier._keys)
        if self._keys[:count] != earlier._keys:
            return None
        return tuple(_as_said(one) for one in self._said[count:])

    @property
    def standing(self) -> tuple[StandingFact, ...]:
        """What holds now, ascending by name."""
        return tuple(self._standing.values())

    @property
    def time_ms(self) -> int:
        """When the newest was said, in milliseconds since 1970; 0 if there is none."""
        return hlc_ms(Hlc(int.from_bytes(self._keys[-1][:8], "big"))) if self._keys else 0

    def named(self, name: str) -> StandingFact | None:
        return self._standing.get(name)

    def before(self, key: bytes) -> tuple[StandingFact, ...]:
        """What the events below `key` amount to, ascending by name."""
        since = self._said[bisect_left(self._keys, key) :]
        if not since:
            return self.standing
        standing = dict(self._standing)
        for name in dict.fromkeys(one.fact.key for one in since):
            earlier = [one for one in self._by_name[name] if one.key < key]
            found = resolve(earlier)
            if found is None:
                standing.pop(name, None)
            else:
                standing[name] = found
        return tuple(standing[name] for name in sorted(standing))

    def newest(self) -> Iterator[StandingFact]:
        """Each event as it was said, withdrawals included, from the newest by (time, id) back."""
        for one in reversed(self._said):
            yield _as_said(one)

    def since(self, key: bytes) -> tuple[StandingFact, ...]:
        """Those at and above `key`, oldest first."""
        return tuple(_as_said(one) for one in self._said[bisect_left(self._keys, key) :])


def _as_said(one: SaidFact) -> StandingFact:
    return StandingFact(
        key=one.key,
        id=one.id,
        name=one.fact.key,
        value=one.fact.value,
        crit=one.fact.crit,
        expires=one.fact.expires,
        rule=one.fact.rule,
        ids=(one.id,),
    )


def settled(fact: StandingFact) -> StandingFact:
    """`fact` as its rule decides it. PolicyMissing if this replica has no such rule, PolicyBroken
    if it fails: nothing is sent to a model that another replica would see otherwise."""
    if fact.merged:
        return fact
    merged = merge(fact.rule, (*fact.others, fact.value))
    return replace(fact, value=merged.value, others=merged.others, merged=True)


def is_withdrawal(value: str) -> bool:
    return len(value) < _LONG and value.strip() == WITHDRAWN


def resolve(said: Sequence[SaidFact]) -> StandingFact | None:
    """What facts of one name, ascending by key, amount to; None if nothing."""
    beaten = {target for one in said for target in one.fact.replaces if target != one.id}
    rest = [one for one in said if one.id not in beaten and not is_withdrawal(one.fact.value)]
    if not rest:
        return None
    newest = rest[-1]
    values = [one.fact.value for one in rest]
    rule = newest.fact.rule
    is_merged = True
    try:
        merged = merge(rule, values)
    except (PolicyMissing, PolicyBroken):
        merged, is_merged = Merged(values[-1], tuple(values[:-1])), False
    expiries = [one.fact.expires for one in rest]
    return StandingFact(
        key=newest.key,
        id=newest.id,
        name=newest.fact.key,
        value=merged.value,
        others=merged.others,
        crit=min((one.fact.crit for one in rest), key=CRITICALITIES.index),
        expires=None if None in expiries else max(when for when in expiries if when is not None),
        rule=rule,
        merged=is_merged,
        ids=tuple(one.id for one in rest),
    )


NO_FACTS: Final = FactBook()
