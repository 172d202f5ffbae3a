"""The UIMessages of views: what a client of the Vercel AI SDK shows, and what it costs.

Must never know: budgets, windows, files of conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message
from weft_engine.formats.counting import (
    AUDIO,
    CALL_TOKENS,
    FILE,
    IMAGE,
    MESSAGE_TOKENS,
    CountFile,
    CountText,
)
from weft_engine.formats.outgoing import Outgoing
from weft_engine.formats.sendable import json_text, sendable
from weft_engine.formats.ui_messages import Assembly
from weft_engine.formats.ui_parts import TOOL
from weft_engine.formats.verbatim_json import Verbatim, write_verbatim


class UIMessages:
    name: ClassVar[str] = "ui"

    def render(self, messages: Sequence[Message]) -> list[dict[str, object]]:
        """UIMessages, built from parts alone; their ids are their places."""
        assembly = Assembly(originals=False)
        assembly.add(messages)
        return [_sendable_message(tree) for tree in assembly.all]

    def count(self, sent: object, count_text: CountText, count_file: CountFile) -> int:
        assert isinstance(sent, list)
        return sum(
            MESSAGE_TOKENS + sum(_part(part, count_text, count_file) for part in said["parts"])
            for said in sent
        )


FORMAT_UI: Outgoing = UIMessages()


def _sendable_message(tree: Verbatim) -> dict[str, object]:
    assert isinstance(tree, dict)
    parts = tree["parts"]
    assert isinstance(parts, list)
    said = [value for part in parts if (value := _sendable_part(part)) is not None]
    return {**tree, "parts": said}


def _sendable_part(part: Verbatim) -> object | None:
    """The part with one spelling. The input of a tool that has none is its text; other parts that
    have none are left out."""
    try:
        return sendable(write_verbatim(part))
    except InvalidMessage:
        if not isinstance(part, dict) or "toolCallId" not in part:
            return None
    return {key: _sendable_member(value) for key, value in part.items()}


def _sendable_member(value: Verbatim) -> object:
    text = write_verbatim(value)
    try:
        return sendable(text)
    except InvalidMessage:
        return text


# ---- counting -------------------------------------------------------------------------------


def _part(part: object, count_text: CountText, count_file: CountFile) -> int:
    match part:
        case {"type": "step-start"}:
            return 0
        case {"type": "text", "text": str(text)}:
            return count_text(text)
        case {"type": "reasoning", "text": str(text), **rest}:
            told = rest.get("providerMetadata")
            return count_text(text) + (count_text(json_text(told)) if told else 0)
        case {"type": str(kind), "toolCallId": str(), "input": given, **rest}:
            name = str(rest.get("toolName", kind.removeprefix(TOOL)))
            out = rest.get("errorText", rest.get("output"))
            counted = CALL_TOKENS + count_text(name) + count_text(json_text(given))
            return counted + (0 if out is None else count_text(_text(out)))
        case {"type": "file", "mediaType": str(media_type)}:
            kind = media_type.partition("/")[0]
            return count_file(kind if kind in (IMAGE, AUDIO) else FILE)
        case _:
            return count_text(json_text(part))


def _text(out: object) -> str:
    return out if isinstance(out, str) else json_text(out)
