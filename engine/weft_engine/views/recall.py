"""Recalling: what a policy takes along from before the window, beside what is pinned or critical.

Must never know: which policies there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from weft_engine.names import EventId
from weft_engine.views.cache import Shelf
from weft_engine.views.unit import Unit


@dataclass(frozen=True, slots=True)
class Moment:
    """What a policy may take into account: the view's moment in milliseconds since 1970; the room
    of the whole preamble in tokens; which messages are pinned; who said what, as far as known."""

    now_ms: int
    room: int
    shelf: Shelf
    pinned: Set[EventId] = frozenset()
    authors: Mapping[EventId, str] = field(default_factory=dict)


@runtime_checkable
class Recalls(Protocol):
    """A policy that chooses from before the window."""

    def recall(self, past: Sequence[Unit], moment: Moment) -> Sequence[Unit]:
        """The wanted ones of `past`, which stand right before the window, oldest first; what is
        wanted most comes first. A unit may say something else than it did, under the same ids. As
        many are taken as there is room for. Depends on nothing else."""
        ...
