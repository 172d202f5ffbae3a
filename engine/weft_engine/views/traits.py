"""The traits of a unit: what decides whether it is taken along when the window has moved on.

A tool call and its results are one unit: it is as critical and lasts as long as the most of its
messages, and takes its role and its expiry from the first. Must never know: budgets, policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from weft_engine.events.event import Criticality, Lifetime, Message, Role
from weft_engine.events.facts import CRITICALITIES
from weft_engine.names import event_id_hlc
from weft_engine.records.clock import hlc_ms
from weft_engine.views.unit import Unit

_LIFETIMES: Final = (Lifetime.PERSISTENT, Lifetime.SESSION, None, Lifetime.IMMEDIATE)
"""From what lasts longest."""


@dataclass(frozen=True, slots=True)
class Traits:
    """`time_ms`: milliseconds since 1970 in its id. `expires` likewise."""

    role: Role
    crit: Criticality | None
    life: Lifetime | None
    expires: int | None
    time_ms: int

    def is_expired(self, now_ms: int) -> bool:
        return self.expires is not None and self.expires <= now_ms


def traits_of(unit: Unit) -> Traits:
    """Of a unit that shows messages of the history."""
    said: list[Message] = [piece.source for piece in unit.pieces if piece.source is not None]
    said = said or [piece.message for piece in unit.pieces]
    return Traits(
        role=said[0].role,
        crit=min((message.crit for message in said), key=CRITICALITIES.index),
        life=min((message.life for message in said), key=_LIFETIMES.index),
        expires=said[0].expires,
        time_ms=hlc_ms(event_id_hlc(unit.ids[0])),
    )
