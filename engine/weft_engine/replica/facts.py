"""Facts of a context as an application says and reads them: JSON values under names.

Must never know: how facts are shown to a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

from weft_engine.canonical import canonical_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Criticality, Fact, Lifetime, Message
from weft_engine.events.facts import WITHDRAWN, FactBook, StandingFact
from weft_engine.events.merge_rules import known_rule
from weft_engine.names import EventId

E = TypeVar("E", bound=StrEnum)

REPLACED_MAX: Final = 1024
"""Concurrent facts of one name that a new one replaces: the newest. An honest history has a few."""


@dataclass(frozen=True, slots=True)
class KnownFact:
    """What is known under a name. `value` and `others` are JSON values; `others` are those of
    concurrent facts that the rule did not choose, empty if nobody disagrees. `merged` is False if
    this replica has no such rule: then `value` is the newest, and views of it raise. `ids`: the
    events that had a say, oldest first; `expires` in milliseconds since 1970."""

    name: str
    value: object
    others: tuple[object, ...]
    rule: str
    crit: Criticality | None
    expires: int | None
    merged: bool
    ids: tuple[EventId, ...]


def new_fact(
    book: FactBook,
    name: str,
    value: object,
    *,
    rule: str | None,
    crit: Criticality | str | None,
    expires: int | None,
) -> Fact:
    """The fact event's body that says `value` under `name`, in the place of what `book` holds.
    InvalidMessage for what is no JSON value or no choice, PolicyMissing for an unknown rule."""
    standing = book.named(name)
    if rule is None:
        rule = "last" if standing is None else standing.rule
    return Fact(
        key=name,
        value=canonical_json(value).decode(),
        rule=known_rule(rule),
        replaces=() if standing is None else tuple(sorted(standing.ids[-REPLACED_MAX:])),
        crit=None if crit is None else _choice(Criticality, crit, "crit"),
        expires=expires,
    )


def withdrawal(book: FactBook, name: str) -> Fact | None:
    """The body that takes back what `book` holds under `name`; None if that is nothing."""
    standing = book.named(name)
    if standing is None:
        return None
    replaced = tuple(sorted(standing.ids[-REPLACED_MAX:]))
    return Fact(key=name, value=WITHDRAWN, rule=standing.rule, replaces=replaced)


def known_facts(book: FactBook) -> Mapping[str, KnownFact]:
    return {fact.name: _known(fact) for fact in book.standing}


def weighted(
    message: Message,
    crit: Criticality | str | None,
    life: Lifetime | str | None,
    expires: int | None,
) -> Message:
    """`message` with what is given. InvalidMessage for what is no choice."""
    if crit is None and life is None and expires is None:
        return message
    return replace(
        message,
        crit=message.crit if crit is None else _choice(Criticality, crit, "crit"),
        life=message.life if life is None else _choice(Lifetime, life, "life"),
        expires=message.expires if expires is None else expires,
    )


def _choice(choices: type[E], wanted: str, name: str) -> E:
    try:
        return choices(wanted)
    except ValueError:
        known = ", ".join(choices)
        raise InvalidMessage(f"must be one of {known}, not {wanted!r}", path=f"$.{name}") from None


def _known(fact: StandingFact) -> KnownFact:
    return KnownFact(
        name=fact.name,
        value=json.loads(fact.value),
        others=tuple(json.loads(other) for other in fact.others),
        rule=fact.rule,
        crit=fact.crit,
        expires=fact.expires,
        merged=fact.merged,
        ids=fact.ids,
    )
