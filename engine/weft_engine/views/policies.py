"""The policies that decide by the window alone: `last_n`, `skip_parts`, `manual`.

Must never know: tokens, formats, what stands before the window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from weft_engine.canonical import canonical_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import PolicyChoice
from weft_engine.events.part import (
    Call,
    CallRef,
    Data,
    File,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Result,
    Source,
    Text,
)
from weft_engine.limits import INTEGER_MAX
from weft_engine.views.entry import Entry
from weft_engine.views.policy import ALLOWANCE_DIVISOR, UNEDITED, Edit

LIMIT_DEFAULT: Final = 400
SKIPPED_DEFAULT: Final = ("reasoning", "tool")


@dataclass(frozen=True, slots=True)
class LastN:
    """The newest messages, at most `limit` of them.

    A tool call counts with its results and is kept or left out with them; more than `limit` come
    out only where the newest unit alone is more. The window moves in steps, so there are mostly
    fewer: after a step about five eighths of `limit`.
    """

    limit: int = LIMIT_DEFAULT

    name: ClassVar[str] = "last_n"
    version: ClassVar[int] = 1
    allowance_divisor: ClassVar[int] = ALLOWANCE_DIVISOR
    look_back: ClassVar[int] = 0
    keeps_all: ClassVar[bool] = False
    edits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_limit(self.limit, self.name)

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> LastN:
        limit = config.get("limit")
        if len(config) != 1 or not isinstance(limit, int):
            raise InvalidMessage("last_n takes one whole number, limit", path="$")
        return cls(limit)

    def choice(self) -> PolicyChoice:
        return _choice(self.name, self.version, {"limit": self.limit})

    def edit(self, unit: Sequence[Entry], live: bool) -> Edit:
        return UNEDITED


@dataclass(frozen=True, slots=True)
class SkipParts:
    """As `LastN`, without parts of some kinds, but for those of the newest turn, from its user
    message on: a running loop of tool calls is never cut.

    `skip_kinds` are the beginnings of part types as in a UI message: text, reasoning, tool-search,
    file, source, data-weather. A call goes with its result.
    """

    skip_kinds: tuple[str, ...] = SKIPPED_DEFAULT
    limit: int = LIMIT_DEFAULT

    name: ClassVar[str] = "skip_parts"
    version: ClassVar[int] = 1
    allowance_divisor: ClassVar[int] = ALLOWANCE_DIVISOR
    look_back: ClassVar[int] = 0
    keeps_all: ClassVar[bool] = False
    edits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_limit(self.limit, self.name)
        kinds = self.skip_kinds
        if type(kinds) is not tuple or not all(type(kind) is str and kind for kind in kinds):
            raise InvalidMessage("skip_parts takes texts that are not empty", path="$.skip_kinds")
        object.__setattr__(self, "skip_kinds", tuple(sorted(set(kinds))))

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> SkipParts:
        kinds, limit = config.get("skip_kinds"), config.get("limit")
        if len(config) != 2 or not isinstance(kinds, list) or not isinstance(limit, int):
            raise InvalidMessage("skip_parts takes skip_kinds, a list, and limit", path="$")
        return cls(tuple(kinds), limit)

    def choice(self) -> PolicyChoice:
        config = {"limit": self.limit, "skip_kinds": list(self.skip_kinds)}
        return _choice(self.name, self.version, config)

    def edit(self, unit: Sequence[Entry], live: bool) -> Edit:
        if live:
            return UNEDITED
        left_out = [
            CallRef(entry.id, index)
            for entry in unit
            for index, part in enumerate(entry.message.parts)
            if kind_of(part).startswith(self.skip_kinds)
        ]
        return Edit(frozenset(left_out)) if left_out else UNEDITED


@dataclass(frozen=True, slots=True)
class Manual:
    """Nothing goes by itself: everything is sent that is not hidden or summarized. What does not
    fit raises OverBudget."""

    name: ClassVar[str] = "manual"
    version: ClassVar[int] = 1
    limit: ClassVar[int | None] = None
    allowance_divisor: ClassVar[int] = ALLOWANCE_DIVISOR
    look_back: ClassVar[int] = 0
    keeps_all: ClassVar[bool] = True
    edits: ClassVar[bool] = False

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Manual:
        if config:
            raise InvalidMessage("manual takes no settings", path="$")
        return cls()

    def choice(self) -> PolicyChoice:
        return _choice(self.name, self.version, {})

    def edit(self, unit: Sequence[Entry], live: bool) -> Edit:
        return UNEDITED


def kind_of(part: Part) -> str:
    """The type of a part, as a UI message names it."""
    match part:
        case Text():
            return "text"
        case Refusal():
            return "refusal"
        case Reasoning():
            return "reasoning"
        case Call(name=name):
            return f"tool-{name}"
        case Result(name=name):
            return "tool" if name is None else f"tool-{name}"
        case File():
            return "file"
        case Source():
            return "source"
        case Data(name=name):
            return f"data-{name}"
        case Opaque():
            return "opaque"


def _check_limit(limit: object, policy: str) -> None:
    if type(limit) is not int or not 1 <= limit <= INTEGER_MAX:
        raise InvalidMessage(
            f"{policy} keeps a whole number of messages, 1 or more, not {limit!r}", path="$.limit"
        )


def _choice(name: str, version: int, config: Mapping[str, object]) -> PolicyChoice:
    return PolicyChoice(name=name, version=version, config=canonical_json(config).decode())
