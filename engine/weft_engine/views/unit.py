"""A unit: what a view takes or leaves as a whole.

A message, or a message that calls tools together with the results of its calls: providers refuse
one without the other. Must never know: budgets, policies, where units come from.
"""

from __future__ import annotations

from dataclasses import dataclass

from weft_engine.names import EventId
from weft_engine.views.piece import Piece
from weft_engine.views.shown import Rule


@dataclass(frozen=True, slots=True)
class Unit:
    """`ids`: the entries it shows, its own first. `fixed`: it may not be shortened. `label` names
    it in errors. `rules`: why it is shown otherwise than it was said."""

    ids: tuple[EventId, ...]
    pieces: tuple[Piece, ...]
    tokens: int
    fixed: bool
    label: str
    rules: frozenset[Rule] = frozenset()
