"""View policies: which of the history's units a view wants, before the budget cuts them.

A policy is pure and named by (name, version), with its settings as JSON, so that any replica
makes the same choice from a receipt. Must never know: tokens, formats, storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from weft_engine.canonical import canonical_json, parse_json
from weft_engine.errors import InvalidMessage, PolicyMissing
from weft_engine.events.event import PolicyChoice
from weft_engine.limits import INTEGER_MAX
from weft_engine.views.summarize import Summarize
from weft_engine.views.unit import Unit


class Policy(Protocol):
    name: ClassVar[str]
    version: ClassVar[int]

    def choice(self) -> PolicyChoice:
        """Its name, version and settings, as they stand in a spec and in a config event."""
        ...

    def select(self, units: Iterator[Unit]) -> Iterator[Unit]:
        """The wanted ones of `units`, which come newest first and without the leading system and
        developer messages (those are always kept). Takes from `units` only what it must see: each
        may cost reading further back."""
        ...


@dataclass(frozen=True, slots=True)
class LastN:
    """The newest messages, at most `limit` of them.

    A tool call counts with its results and is kept or left out with them. So fewer than `limit`
    messages come out where the next unit would exceed it, and more only where the newest unit
    alone does.
    """

    limit: int = 400

    name: ClassVar[str] = "last_n"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if type(self.limit) is not int or not 1 <= self.limit <= INTEGER_MAX:
            raise InvalidMessage(
                f"last_n keeps a whole number of messages, 1 or more, not {self.limit!r}",
                path="$.limit",
            )

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> LastN:
        limit = config.get("limit")
        if len(config) != 1 or not isinstance(limit, int):
            raise InvalidMessage("last_n takes one whole number, limit", path="$")
        return cls(limit)

    def choice(self) -> PolicyChoice:
        config = canonical_json({"limit": self.limit}).decode()
        return PolicyChoice(name=self.name, version=self.version, config=config)

    def select(self, units: Iterator[Unit]) -> Iterator[Unit]:
        kept = 0
        for unit in units:
            if kept and kept + len(unit.ids) > self.limit:
                return
            kept += len(unit.ids)
            yield unit
            if kept >= self.limit:
                return


_POLICIES: Final[Mapping[tuple[str, int], Callable[[Mapping[str, object]], Policy]]] = {
    (LastN.name, LastN.version): LastN.from_config,
    (Summarize.name, Summarize.version): Summarize.from_config,
}


def find_policy(choice: PolicyChoice) -> Policy:
    """The policy that `choice` names. PolicyMissing if this replica has none of that name and
    version, InvalidMessage if the policy refuses the settings."""
    make = _POLICIES.get((choice.name, choice.version))
    if make is None:
        known = ", ".join(f"{name} {version}" for name, version in sorted(_POLICIES))
        raise PolicyMissing(
            f"no view policy {choice.name!r} version {choice.version}",
            hint=f"this replica has {known}",
        )
    config = parse_json(choice.config)
    if not isinstance(config, dict):
        raise InvalidMessage("the settings of a policy are an object")
    return make(config)
