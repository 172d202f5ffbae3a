"""What is kept of a view for the next one of the same history and spec: it mostly only grows.

Changes how long a view takes, never what comes out. Must never know: contexts, stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from weft_engine.names import EventId
from weft_engine.views.digest import Digest, fingerprint
from weft_engine.views.labels import Labels
from weft_engine.views.marks import Marks
from weft_engine.views.piece import sayable
from weft_engine.views.plan import Plan
from weft_engine.views.shown import Area, Shown
from weft_engine.views.start import Start
from weft_engine.views.unit import Unit

_CONCATENATING: Final = frozenset({"openai", "text"})
"""What a view says in these formats is what its messages say each for itself, in a row. In others
turns are joined, or ids depend on those before."""


@dataclass(slots=True)
class Standing:
    """`front`: the units of head (`heads` of them), preamble and opening. `taken`: how many entries
    of the source's tail the window has taken in; `head` how many its head had; `marks`: what stood
    beside them."""

    plan: Plan
    front: tuple[Unit, ...]
    heads: int
    start: Start
    taken: int
    head: int
    marks: Marks
    units: list[Unit] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    ids: dict[EventId, None] = field(default_factory=dict)
    tokens: int = 0
    _labels: Labels = field(default_factory=Labels)
    _digest: Digest = field(default_factory=Digest)

    def renew(self) -> str:
        """Bring `units` and what follows from them up with the window; the fingerprint."""
        window = self.start.window
        kept = 0
        new: Sequence[Unit] = self.front
        if self.units:
            kept = len(self.front) + window.changed_from
            new = ()
        if kept < len(self.units):
            # What stood behind these is no more, so its ids are free again.
            new = self.units[:kept]
            self.units, self.shown, self.ids, self.tokens = [], [], {}, 0
            self._labels = Labels()
        self._append(new)
        self._append(window.units())
        return self._fingerprint(kept)

    def _append(self, units: Iterable[Unit]) -> None:
        for unit in units:
            place = len(self.units)
            self.units.append(self._labels.label(unit))
            self.ids.update(dict.fromkeys(unit.ids))
            self.tokens += unit.tokens
            if place < self.heads:
                area = Area.HEAD
            else:
                area = Area.PREAMBLE if place < len(self.front) else Area.WINDOW
            self.shown.append(Shown(unit.ids, area, unit.tokens, unit.rules))

    def _fingerprint(self, unchanged: int) -> str:
        spec = self.plan.spec.canonical()
        if self.plan.spec.format in _CONCATENATING:
            return self._digest.of(self.units, unchanged, spec)
        messages = [piece.message for unit in self.units for piece in unit.pieces]
        return fingerprint(sayable(self.plan.shelf.form, messages), spec)
