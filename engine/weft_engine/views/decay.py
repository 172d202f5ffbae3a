"""Decay: what stands before the window is forgotten by and by, and what weighs most comes along.

    weight = (weight of its criticality * weight of its role << 32) >> (age // half-life)

in whole numbers, so that every replica gets the same. The age is that of the view's moment, which
only moves when the window does. What weighs nothing any more is not taken along at all. Must never
know: budgets, windows, what time it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from weft_engine.canonical import canonical_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Criticality, PolicyChoice, Role
from weft_engine.limits import INTEGER_MAX
from weft_engine.views.entry import Entry
from weft_engine.views.policy import ALLOWANCE_DIVISOR, LOOK_BACK, UNEDITED, Edit
from weft_engine.views.recall import Moment
from weft_engine.views.traits import Traits, traits_of
from weft_engine.views.unit import Unit

WEIGHT_MAX: Final = 1_000_000
PLAIN: Final = "plain"
"""The criticality of a message that has none."""
DEFAULT_WEIGHTS: Final[Mapping[str, int]] = {
    Criticality.CRITICAL.value: 64,
    Criticality.IMPORTANT.value: 16,
    PLAIN: 4,
    Criticality.ENHANCING.value: 2,
    Criticality.OPTIONAL.value: 1,
    Role.SYSTEM.value: 4,
    Role.DEVELOPER.value: 4,
    Role.USER.value: 4,
    Role.ASSISTANT.value: 3,
    Role.TOOL.value: 2,
}
_SCALE_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class Decay:
    """The newest messages, and from before them what has decayed least. `half_life_ms`: after so
    many milliseconds a message weighs half. `weights` by criticality (critical, important, plain,
    enhancing, optional) and by role, 0 to 1,000,000; what is not named weighs as by default."""

    half_life_ms: int
    weights: Mapping[str, int] | tuple[tuple[str, int], ...] = ()

    name: ClassVar[str] = "decay"
    version: ClassVar[int] = 1
    limit: ClassVar[int | None] = None
    allowance_divisor: ClassVar[int] = ALLOWANCE_DIVISOR
    look_back: ClassVar[int] = LOOK_BACK
    keeps_all: ClassVar[bool] = False
    edits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if type(self.half_life_ms) is not int or not 1 <= self.half_life_ms <= INTEGER_MAX:
            raise InvalidMessage(
                f"decay needs milliseconds, 1 or more, not {self.half_life_ms!r}",
                path="$.half_life_ms",
            )
        weights = dict(self.weights)
        for name, weight in weights.items():
            if name not in DEFAULT_WEIGHTS:
                known = ", ".join(DEFAULT_WEIGHTS)
                raise InvalidMessage(f"{name!r} is none of {known}", path="$.weights")
            if type(weight) is not int or not 0 <= weight <= WEIGHT_MAX:
                raise InvalidMessage(
                    f"a weight is 0 to {WEIGHT_MAX}, not {weight!r}", path=f"$.weights.{name}"
                )
        object.__setattr__(self, "weights", tuple(sorted(weights.items())))

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Decay:
        half_life_ms = config.get("half_life_ms")
        weights = config.get("weights", {})
        if (
            not set(config) <= {"half_life_ms", "weights"}
            or not isinstance(half_life_ms, int)
            or not isinstance(weights, dict)
        ):
            raise InvalidMessage("decay takes half_life_ms and weights", path="$")
        return cls(half_life_ms, weights)

    def choice(self) -> PolicyChoice:
        config: dict[str, object] = {"half_life_ms": self.half_life_ms}
        if self.weights:
            config["weights"] = dict(self.weights)
        return PolicyChoice(self.name, self.version, canonical_json(config).decode())

    def edit(self, unit: Sequence[Entry], live: bool) -> Edit:
        return UNEDITED

    def recall(self, past: Sequence[Unit], moment: Moment) -> Sequence[Unit]:
        weights = dict(DEFAULT_WEIGHTS) | dict(self.weights)
        weighed = [
            (weight, index)
            for index, unit in enumerate(past)
            if (weight := self._weight(traits_of(unit), weights, moment.now_ms))
        ]
        # Of equal ones the newest first.
        return [past[index] for _, index in sorted(weighed, reverse=True)]

    def _weight(self, traits: Traits, weights: Mapping[str, int], now_ms: int) -> int:
        crit = PLAIN if traits.crit is None else traits.crit.value
        full = weights[crit] * weights[traits.role.value] << _SCALE_BITS
        return full >> max(0, now_ms - traits.time_ms) // self.half_life_ms
