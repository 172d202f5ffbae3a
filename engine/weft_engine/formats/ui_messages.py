"""Putting UIMessages together: one holds a whole answer, step by step, its tools with outputs.

A message of a system or user is one. What the assistant says and what its tools return become one
until somebody else speaks, a step for each message of the assistant. Where an original is kept (see
`ui_import`) that is given back. Must never know: contexts, budgets, where messages came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, Result
from weft_engine.formats.kept import kept_original
from weft_engine.formats.ui_parts import (
    FORMAT,
    Members,
    answer,
    call_part,
    orphan_part,
    said_part,
    step_start,
)
from weft_engine.formats.verbatim_json import Verbatim

WHOLE: Final = "message"
PARTS: Final = "parts"
OUTPUTS: Final = "outputs"
"""The keys of an original: a whole UIMessage that can't be taken apart; the parts of a step (and in
the first, all else of the UIMessage; null where the parts of ours say them); the members taken out
of the step's tool parts, one object for each that was answered."""
_UI_ROLES: Final = {
    Role.SYSTEM: "system",
    Role.DEVELOPER: "system",
    Role.USER: "user",
    Role.ASSISTANT: "assistant",
    Role.TOOL: "assistant",
}


class Assembly:
    """UIMessages from messages, in their order. With `originals`, those that are kept are used."""

    def __init__(self, *, originals: bool) -> None:
        self.all: list[Verbatim] = []
        self._originals = originals
        self._answer: list[Verbatim] | None = None
        """The parts of the answer that what comes next belongs to."""
        self._waiting: list[Members] = []
        """Tool parts of the last step that we made and that have no output yet."""
        self._opened: list[Members] = []
        """Tool parts of the last step that stand as they came, their outputs taken out."""

    def add(self, messages: Iterable[Message]) -> None:
        for message in messages:
            original = self._original(message)
            match message.role:
                case Role.TOOL:
                    self._add_results(message, original)
                case Role.ASSISTANT:
                    self._add_step(message, original)
                    self._add_results(message, {})
                case _:
                    self._add_results(message, {})
                    self._add_other(message, original)

    def _original(self, message: Message) -> Members:
        tree = kept_original(message, FORMAT) if self._originals else None
        return tree if isinstance(tree, dict) else {}

    def _open(self, message: Message, original: Members, parts: list[Verbatim]) -> None:
        """A new UIMessage: all that its original says, or an id of its own."""
        if "role" in original:
            self.all.append({**original, PARTS: parts})
        else:
            id_ = f"msg-{len(self.all)}"
            self.all.append({"id": id_, "role": _UI_ROLES[message.role], PARTS: parts})

    def _add_other(self, message: Message, original: Members) -> None:
        if WHOLE in original:
            self.all.append(original[WHOLE])
        else:
            kept = original.get(PARTS)
            parts = kept if isinstance(kept, list) else _said(message)
            if not parts and not original:
                return
            self._open(message, original, parts)
        self._answer = None

    def _add_step(self, message: Message, original: Members) -> None:
        if WHOLE in original:
            self.all.append(original[WHOLE])
            self._answer = None
            return
        self._waiting, self._opened = [], []
        kept = original.get(PARTS)
        if isinstance(kept, list):
            parts = list(kept)
            self._opened = [part for part in parts if isinstance(part, dict) and is_answered(part)]
        else:
            parts = self._step(message)
        if "role" in original or (parts and self._answer is None):
            self._answer = parts
            self._open(message, original, parts)
        elif self._answer is not None:
            self._answer += parts

    def _step(self, message: Message) -> list[Verbatim]:
        parts: list[Verbatim] = []
        for part in message.parts:
            said = said_part(part)
            if isinstance(part, Call):
                said = call_part(part)
                self._waiting.append(said)
            if said is not None:
                parts.append(said)
        return [step_start(), *parts] if parts else []

    def _add_results(self, message: Message, original: Members) -> None:
        outputs = original.get(OUTPUTS)
        if isinstance(outputs, list) and len(outputs) == len(self._opened):
            for part, members in zip(self._opened, outputs, strict=True):
                part |= members if isinstance(members, dict) else {}
            self._opened = []
            return
        for result in message.parts:
            if isinstance(result, Result):
                self._add_result(message, result)

    def _add_result(self, message: Message, result: Result) -> None:
        for parts in (self._waiting, self._opened):
            for index, part in enumerate(parts):
                if part.get("toolCallId") == result.id:
                    answer(part, result)
                    del parts[index]
                    return
        if self._answer is None:
            self._answer = []
            self.all.append(
                {"id": f"msg-{len(self.all)}", "role": "assistant", PARTS: self._answer}
            )
        self._answer.append(orphan_part(result))


def is_answered(part: Members) -> bool:
    return part.get("state") in ("output-available", "output-error") and "toolCallId" in part


def _said(message: Message) -> list[Verbatim]:
    return [said for part in message.parts if (said := said_part(part)) is not None]


def export_conversation(messages: Iterable[Message]) -> list[Verbatim]:
    """The UIMessages that stand for these messages in a file."""
    assembly = Assembly(originals=True)
    assembly.add(messages)
    return assembly.all
