"""The OpenAI chat format of views: what is sent, and what it costs.

Must never know: budgets, windows, files of conversations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from weft_engine.events.event import Message
from weft_engine.formats.counting import (
    AUDIO,
    CALL_TOKENS,
    FILE,
    IMAGE,
    MESSAGE_TOKENS,
    NAME_TOKENS,
    CountFile,
    CountText,
)
from weft_engine.formats.openai_export import render
from weft_engine.formats.outgoing import Outgoing
from weft_engine.formats.sendable import json_text


class OpenAIChat:
    name: ClassVar[str] = "openai"

    def render(self, messages: Sequence[Message]) -> list[dict[str, object]]:
        return [said for message in messages for said in render(message)]

    def count(self, sent: object, count_text: CountText, count_file: CountFile) -> int:
        assert isinstance(sent, list)
        return count_chat(sent, count_text, count_file)


FORMAT_OPENAI: Outgoing = OpenAIChat()


def count_chat(
    sent: Iterable[Mapping[str, object]], count_text: CountText, count_file: CountFile
) -> int:
    """What these chat messages cost by the rule."""
    return sum(_message(said, count_text, count_file) for said in sent)


def _message(said: Mapping[str, object], count_text: CountText, count_file: CountFile) -> int:
    tokens = MESSAGE_TOKENS
    for key, value in said.items():
        match key, value:
            case "content" | "refusal", str():
                tokens += count_text(value)
            case "content", list():
                tokens += sum(_content(part, count_text, count_file) for part in value)
            case "name", str():
                tokens += NAME_TOKENS + count_text(value)
            case "tool_calls", list():
                tokens += sum(_call(call, count_text) for call in value)
            case _:
                pass
    return tokens


def _content(part: object, count_text: CountText, count_file: CountFile) -> int:
    match part:
        case {"type": "text", "text": str(text), **rest} if not rest:
            return count_text(text)
        case {"type": "image_url"}:
            return count_file(IMAGE)
        case {"type": "input_audio"}:
            return count_file(AUDIO)
        case {"type": "file"}:
            return count_file(FILE)
        case _:
            # Of a part we don't know, everything may be read by the model.
            return count_text(json_text(part))


def _call(call: object, count_text: CountText) -> int:
    match call:
        case {"function": {"name": str(name), "arguments": str(arguments)}}:
            return CALL_TOKENS + count_text(name) + count_text(arguments)
        case _:
            return CALL_TOKENS + count_text(json_text(call))
