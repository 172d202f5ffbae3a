"""Policies of the application: functions that choose what comes along from before the window, and
may say it in other words.

Named by (name, version) like every policy, so that any replica that registered the same function
makes the same view from a receipt. The function is given frozen values, when the window moves, and
answers with ids and texts; it is asked twice and the answers are compared. Whatever it says, a view
stays within its room, whole units are kept or left out, and what it puts in the place of a unit is
one message of that role. Must never know: storage, formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Final, TypeAlias

from weft_engine.canonical import canonical_json, lone_surrogate, parse_json
from weft_engine.errors import CallerError, Conflict, InvalidMessage, PolicyBroken, PolicyMissing
from weft_engine.events.event import Message, PolicyChoice
from weft_engine.events.part import Call, Part, Reasoning, Refusal, Result, Text
from weft_engine.limits import INTEGER_MAX
from weft_engine.names import EventId
from weft_engine.views.cache import Shelf
from weft_engine.views.entry import Entry
from weft_engine.views.policy import ALLOWANCE_DIVISOR, LOOK_BACK, POLICIES, UNEDITED, Edit
from weft_engine.views.recall import Moment
from weft_engine.views.shown import Rule
from weft_engine.views.traits import traits_of
from weft_engine.views.unit import Unit


@dataclass(frozen=True, slots=True)
class Item:
    """A unit as a policy sees it: a message, or a message with calls and its results. `id`: of the
    first message; `ids`: of all. `text`: all that is said in it, tool calls and results included.
    `time_ms` in milliseconds since 1970; `crit` and `life` by their names."""

    id: EventId
    ids: tuple[EventId, ...]
    role: str
    author: str
    text: str
    tokens: int
    time_ms: int
    crit: str | None
    life: str | None
    pinned: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """What a policy chooses from: `items`, the newest before the window, oldest first; `room` of
    the preamble in tokens; `config` as JSON text. What is pinned, critical or persistent comes
    along anyway and goes first."""

    items: tuple[Item, ...]
    room: int
    config: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a policy answers: the ids of the items to keep, in any order, and for some of these the
    text that is to stand in their place."""

    keep: Sequence[str]
    replace: Mapping[str, str] = field(default_factory=dict)


PolicyFunction: TypeAlias = Callable[[Selection], Chosen]

_registered: Final[dict[tuple[str, int], PolicyFunction]] = {}


def register_policy(name: str, version: int, policy: PolicyFunction) -> None:
    """Make a policy known in this process, for `Custom(name, version)`.

    It must be pure and the same on every replica that makes such views. Conflict if another one is
    registered under this name and version.
    """
    if not name or type(version) is not int or not 0 <= version <= INTEGER_MAX:
        raise CallerError(
            f"{name!r} version {version!r} can't name a policy",
            hint="use a name of your own, and a whole number from 0",
        )
    known = _registered.get((name, version))
    if known is None:
        POLICIES.register(name, version, partial(_configured, name, version))
        _registered[name, version] = policy
    elif known is not policy:
        raise Conflict(
            f"another policy {name} {version} is registered",
            hint="a policy that chooses otherwise needs another version",
        )


@dataclass(frozen=True, slots=True)
class Custom:
    """A registered policy with its settings, JSON text."""

    name: str
    version: int
    config: str = "{}"

    limit: ClassVar[int | None] = None
    allowance_divisor: ClassVar[int] = ALLOWANCE_DIVISOR
    look_back: ClassVar[int] = LOOK_BACK
    keeps_all: ClassVar[bool] = False
    edits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.config, str) or not isinstance(parse_json(self.config), dict):
            raise InvalidMessage(
                "the settings of a policy are JSON text, of an object", path="$.config"
            )
        self._function()

    def choice(self) -> PolicyChoice:
        return PolicyChoice(self.name, self.version, self.config)

    def edit(self, unit: Sequence[Entry], live: bool) -> Edit:
        """What stands in the window stands as it was said."""
        return UNEDITED

    def recall(self, past: Sequence[Unit], moment: Moment) -> Sequence[Unit]:
        """What the function keeps of `past`, the newest first, in its own words where it says so.

        PolicyMissing if the function is not registered, PolicyBroken if it fails, answers twice
        differently, or names what it was not given.
        """
        if not past:
            return ()
        items = tuple(_item(unit, moment) for unit in past)
        keep, texts = self._ask(Selection(items, moment.room, self.config))
        kept: list[Unit] = []
        said: set[EventId] = set()
        for unit in reversed(past):
            id_ = unit.ids[0]
            if id_ not in keep or id_ in said:
                continue
            text = texts.get(id_)
            if text is not None:
                said.add(id_)
                unit = _replaced(unit, text, moment.shelf)
            kept.append(unit)
        return kept

    def _ask(self, selection: Selection) -> tuple[Set[str], Mapping[str, str]]:
        function = self._function()
        try:
            answers = [function(selection) for _ in range(2)]
            keep = [frozenset(answer.keep) for answer in answers]
            texts = [dict(answer.replace) for answer in answers]
        except Exception as error:
            raise PolicyBroken(f"the policy {self._label} failed: {error!r}") from error
        if keep[0] != keep[1] or texts[0] != texts[1]:
            raise PolicyBroken(f"the policy {self._label} gave two answers to one question")
        known = {item.id for item in selection.items}
        if not keep[0] <= known or not texts[0].keys() <= keep[0]:
            raise PolicyBroken(
                f"the policy {self._label} named items that it was not given or kept"
            )
        for text in texts[0].values():
            if not isinstance(text, str) or lone_surrogate(text):
                raise PolicyBroken(f"the policy {self._label} gave a replacement that is no text")
        return keep[0], texts[0]

    def _function(self) -> PolicyFunction:
        function = _registered.get((self.name, self.version))
        if function is None:
            known = ", ".join(f"{name} {version}" for name, version in sorted(_registered))
            raise PolicyMissing(
                f"no policy {self.name!r} version {self.version} is registered",
                hint=f"register it before asking for the view; there is {known or 'none'}",
            )
        return function

    @property
    def _label(self) -> str:
        return f"{self.name} {self.version}"


def _configured(name: str, version: int, config: Mapping[str, object]) -> Custom:
    return Custom(name, version, canonical_json(config).decode())


def _item(unit: Unit, moment: Moment) -> Item:
    traits = traits_of(unit)
    return Item(
        id=unit.ids[0],
        ids=unit.ids,
        role=traits.role.value,
        author=moment.authors.get(unit.ids[0], ""),
        text="\n".join(
            text for piece in unit.pieces for part in piece.message.parts for text in _texts(part)
        ),
        tokens=unit.tokens,
        time_ms=traits.time_ms,
        crit=None if traits.crit is None else traits.crit.value,
        life=None if traits.life is None else traits.life.value,
        pinned=not moment.pinned.isdisjoint(unit.ids),
    )


def _texts(part: Part) -> list[str]:
    match part:
        case Text(text) | Refusal(text):
            return [text]
        case Call(name=name, args=args):
            return [f"{name} {args}"]
        case Result(out=str(out)):
            return [out]
        case Result(out=tuple(inner)):
            return [text for one in inner for text in _texts(one)]
        case Reasoning(text=str(text)):
            return [text]
        case _:
            return []


def _replaced(unit: Unit, text: str, shelf: Shelf) -> Unit:
    message = Message(unit.pieces[0].message.role, (Text(text),))
    piece = shelf.priced(message, None)
    rules = unit.rules | {Rule.REPLACED}
    return Unit(unit.ids, (piece,), piece.tokens, unit.fixed, unit.label, rules)
