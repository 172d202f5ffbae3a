"""Remarks: what a view says of its own, as user messages with a heading in brackets.

Must never know: why something is said.
"""

from __future__ import annotations

from typing import Final

from weft_engine.events.facts import FactBook, StandingFact
from weft_engine.events.part import Text
from weft_engine.views.cache import Shelf
from weft_engine.views.fact_text import fact_notice
from weft_engine.views.shown import Rule
from weft_engine.views.unit import Unit

LATE: Final = "[late]"


def remark(text: str, rule: Rule, shelf: Shelf) -> Unit:
    piece = shelf.remark(text)
    return Unit(
        ids=(),
        pieces=(piece,),
        tokens=piece.tokens,
        fixed=False,
        label=f"the remark {text.splitlines()[0]}",
        rules=frozenset({rule}),
    )


def notice(fact: StandingFact, shelf: Shelf) -> Unit:
    """What was just said of a fact."""
    (part,) = fact_notice(fact).parts
    assert isinstance(part, Text), "a notice is text"
    return remark(part.text, Rule.FACTS, shelf)


def notices(
    book: FactBook, room: int, shelf: Shelf
) -> tuple[tuple[tuple[bytes, Unit], ...], bytes | None]:
    """What was said of facts, each with its key, ascending: the newest that fit into `room`; and
    the key of the newest that does not."""
    said: list[tuple[bytes, Unit]] = []
    untold: bytes | None = None
    for fact in book.newest():
        unit = notice(fact, shelf)
        room -= unit.tokens
        if room < 0:
            untold = fact.key
            break
        said.append((fact.key, unit))
    return tuple(reversed(said)), untold
