"""Views that are given out on the way: whether each may be sent, and how one follows on the other.

Must never know: how views are made.
"""

from __future__ import annotations

import json
import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from tests.validators import VALIDATORS
from weft_engine.errors import BudgetTooSmall, OverBudget
from weft_engine.events.event import Message, Role
from weft_engine.formats.openai_chat import render
from weft_engine.replica.context import Context
from weft_engine.replica.sent import SentViews
from weft_engine.views.decay import Decay
from weft_engine.views.policies import LastN, Manual, SkipParts
from weft_engine.views.receipt import Receipt
from weft_engine.views.spec import ViewSpec
from weft_engine.views.summarize import Summarize
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, Tokenizer
from weft_engine.views.view import View

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.world import World

FORMATS: Final = ("openai", "responses", "anthropic", "ui", "text")
_POLICIES: Final = (
    LastN(5),
    Summarize(50),
    Decay(1000, {"optional": 1}),
    SkipParts(("tool",), 30),
    Manual(),
)
_SPECS_KEPT: Final = 4
"""Of so many the view before is known; of another one the last of all stands before."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A view that was given out on the way: it has to come out the same for ever."""

    receipt: Receipt
    sent: str
    by: str


@dataclass(slots=True)
class _Given:
    """What one context has given out, by spec."""

    kept: OrderedDict[ViewSpec, View] = field(default_factory=OrderedDict)
    last: View | None = None


class Views:
    def __init__(self, world: World) -> None:
        self._world = world
        self.taken: list[Taken] = []
        self._given: dict[SentViews, _Given] = {}

    def ask(self, rng: random.Random) -> Mapping[str, Any]:
        """What a view is asked for with."""
        asked: dict[str, Any] = {"budget": rng.choice((None, 200, 300, 2000))}
        if rng.random() < 0.4:
            asked["format"] = rng.choice(FORMATS)
        if rng.random() < 0.3:
            asked["policy"] = rng.choice(_POLICIES)
        return asked

    async def take(
        self, machine: Machine, context: Context, asked: Mapping[str, Any]
    ) -> View | None:
        """A view as asked for; None if it does not fit."""
        try:
            view = await context.view(**asked)
        except (BudgetTooSmall, OverBudget):
            return None
        # Nobody else has run since the view was made.
        given = self._given.setdefault(context._sent, _Given())
        self._follows(machine, given, view)
        self._check(machine, view)
        self.taken.append(Taken(view.receipt, sent(view), machine.name))
        return view

    def _check(self, machine: Machine, view: View) -> None:
        for wrong in wrong_with(view):
            self._world.fail(f"{machine.name} gives a view of {view.context} {wrong}")
        self._world.counts["views checked"] += 1

    def _follows(self, machine: Machine, given: _Given, view: View) -> None:
        """A view that names no cause of change begins with all of the one before it."""
        key = replace(view.spec, reserved=0, surplus=0, tools=None)
        before = given.kept.get(key, given.last)
        given.last = given.kept[key] = view
        given.kept.move_to_end(key)
        if len(given.kept) > _SPECS_KEPT:
            given.kept.popitem(last=False)
        if before is None or before.spec.format != view.spec.format:
            return
        format_ = view.spec.format
        was, now = spread(before.rendered(format_)), spread(view.rendered(format_))
        begins = now[: len(was)] == was
        if not begins and not view.changed_because:
            self._world.fail(
                f"{machine.name} gives a view of {view.context} that does not begin as the one"
                f" before it and says no cause: {was!r}, then {now!r}"
            )
        self._world.counts["views that went on" if begins else "views that changed"] += 1


def wrong_with(view: View) -> Iterator[str]:
    """Why a view may not be sent."""
    spec = view.spec
    what = f"in the format {spec.format}"
    value = view.rendered(spec.format)
    used = used_by(view) if spec.format == "openai" else view.used_tokens
    if max(used, view.used_tokens) + spec.reserved > spec.budget:
        yield f"{what} of {used} tokens, {spec.reserved} of {spec.budget} reserved"
    if used != view.used_tokens:
        yield f"{what} of {used} tokens, and counts {view.used_tokens}"
    # Before anybody has said anything there is nothing to send.
    is_said = any(message.role not in (Role.SYSTEM, Role.DEVELOPER) for message in view.said)
    if is_said and spec.format in VALIDATORS and (wrong := VALIDATORS[spec.format](value)):
        yield f"{what} that is refused: {wrong[0]}"


def sent(view: View) -> str:
    return json.dumps(view.rendered(view.spec.format))


def spread(value: object) -> str | list[object]:
    """What is sent one after the other, whatever messages it is joined to."""
    if isinstance(value, dict):
        return [value.get("system"), *spread(value["messages"])]
    if not isinstance(value, list):
        assert isinstance(value, str)
        return value
    found: list[object] = []
    for message in value:
        inner = message.get("parts", message.get("content"))
        if not isinstance(inner, list) or "type" in message:
            found.append(message)
        else:
            found += [(message["role"], part) for part in inner]
    return found


def used_by(view: View) -> int:
    """The tokens of a view in the format openai, by the rule that is promised: on the strings that
    are sent, but what is made of a message that says its own cost costs its share of that."""
    used = recount(view.openai())
    for piece in (piece for unit in view.shape.units for piece in unit.pieces):
        whole = piece.source
        if whole is None or whole.tokens is None:
            continue
        counted, of = _cost(piece.message), _cost(whole)
        if counted and of:
            # Rounded up, and never nothing.
            used += max(1, (counted * whole.tokens + of - 1) // of) - counted
    return used


def _cost(message: Message) -> int:
    return recount(render(message)) - recount(())


def recount(value: Any) -> int:
    """The tokens of messages of the OpenAI chat API, by what they say alone."""
    count = Tokenizer(DEFAULT_TOKENIZER).count
    used = 3
    for message in value:
        used += 4
        if "name" in message:
            used += 1 + count(message["name"])
        content = message.get("content") or ""
        texts = [content] if isinstance(content, str) else [part["text"] for part in content]
        used += sum(map(count, texts))
        for call in message.get("tool_calls", ()):
            function = call["function"]
            used += 8 + count(function["name"]) + count(function["arguments"])
    return used
