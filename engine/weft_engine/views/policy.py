"""What a view policy is: what it leaves out, how many messages it keeps, how it is found.

A policy is pure and named by (name, version), with its settings as JSON, so that any replica
makes the same choice from a receipt. Must never know: budgets, formats, storage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from weft_engine.canonical import parse_json
from weft_engine.errors import CallerError, InvalidMessage, PolicyMissing
from weft_engine.events.event import PolicyChoice
from weft_engine.events.part import CallRef
from weft_engine.names import EventId
from weft_engine.views.entry import Entry

ALLOWANCE_DIVISOR: Final = 8
"""The preamble may take this part of the room, unless a policy lives by its preamble."""
LOOK_BACK: Final = 512
"""Messages right before the window that a policy which recalls some of them looks at."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What a policy changes of a unit. `left_out`: parts by event and index; a call and its result
    go together. `replaced`: other texts for whole messages, if they neither call nor answer."""

    left_out: frozenset[CallRef] = frozenset()
    replaced: Mapping[EventId, str] = field(default_factory=dict)


UNEDITED: Final = Edit()


class Policy(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def limit(self) -> int | None:
        """The window holds at most so many messages."""

    @property
    def allowance_divisor(self) -> int:
        """The preamble gets this part of the room: 8 or 4."""

    @property
    def look_back(self) -> int:
        """How many messages right before the window the preamble may choose from."""

    @property
    def keeps_all(self) -> bool:
        """Whether nothing ever goes by itself: then what does not fit raises OverBudget."""

    @property
    def edits(self) -> bool:
        """Whether `edit` ever changes anything."""

    def choice(self) -> PolicyChoice:
        """Its name, version and settings, as they stand in a spec and in a config event."""

    def edit(self, unit: Sequence[Entry], live: bool) -> Edit:
        """What to change of a unit of the window: a message, behind it the results of its calls.
        `live`: it belongs to the newest turn. Depends on nothing else."""


def choice_of(policy: Policy) -> PolicyChoice:
    """The choice of a policy that an application gives. CallerError if it is none."""
    if isinstance(policy, type):
        name = policy.__name__
        raise CallerError(f"{name} is a class, no policy", hint=f"make one of it: {name}(...)")
    if not callable(getattr(policy, "choice", None)):
        raise CallerError(
            f"{type(policy).__name__} is no policy",
            hint="give such as weft.LastN(40), weft.Summarize() or weft.Custom(name, version)",
        )
    return policy.choice()


Maker = Callable[[Mapping[str, object]], Policy]


class Policies:
    """The policies of this process, by name and version."""

    def __init__(self) -> None:
        self._makers: dict[tuple[str, int], Maker] = {}

    def register(self, name: str, version: int, make: Maker) -> None:
        """`make` gives the policy for a config, or raises InvalidMessage. One that is there under
        this name and version stays what it is: views of it must come out the same again."""
        if self._makers.setdefault((name, version), make) is not make:
            raise InvalidMessage(f"there is a view policy {name!r} version {version} already")

    def find(self, choice: PolicyChoice) -> Policy:
        """The policy that `choice` names. PolicyMissing if this replica has none of that name and
        version, InvalidMessage if the policy refuses the settings."""
        make = self._makers.get((choice.name, choice.version))
        if make is None:
            known = ", ".join(f"{name} {version}" for name, version in sorted(self._makers))
            raise PolicyMissing(
                f"no view policy {choice.name!r} version {choice.version}",
                hint=f"this replica has {known}",
            )
        config = parse_json(choice.config)
        if not isinstance(config, dict):
            raise InvalidMessage("the settings of a policy are an object")
        return make(config)


POLICIES: Final = Policies()
"""Those that are always there are put in by `all_policies`, which also finds them."""
