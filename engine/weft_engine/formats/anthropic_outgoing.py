"""The Anthropic Messages format of views: what is sent, and what it costs.

The API wants turns that alternate, the user's first; the results of a turn's tool calls at the
start of the very next one, before any text, and the calls themselves behind all text (a text behind
them counts as if it stood between them and their results); thinking only where a turn begins; no
blank text, and no turn of the assistant that ends in white space. Whatever one message makes
depends on that message alone, so what was sent stays as it was when a view grows; only the last
turn may get more blocks.

Must never know: budgets, windows, files of conversations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, Reasoning, Refusal, Result, Text
from weft_engine.formats.anthropic_blocks import Json, sendable_blocks, text_block, thinking_block
from weft_engine.formats.attachments import remarks_of
from weft_engine.formats.counting import (
    CALL_TOKENS,
    FILE,
    IMAGE,
    MESSAGE_TOKENS,
    CountFile,
    CountText,
)
from weft_engine.formats.fitting import (
    ANTHROPIC_ID_CHARS_MAX,
    ANTHROPIC_NAME_CHARS_MAX,
    Labels,
    fit_plain_id,
    fit_tool_name,
    is_blank,
    without_trailing_space,
)
from weft_engine.formats.outgoing import Outgoing
from weft_engine.formats.sendable import arguments_object, json_text

BEGINNING: Final = "[beginning of what is shown]"
"""Said by the user where the first turn would be the assistant's, or where there is none."""
INSTRUCTION: Final = "[system]"
"""Stands before instructions in the middle of the conversation, where the API has no such role. It
costs no more than BEGINNING as a message does, which instructions that stand alone come with: so a
view is never dearer than its messages."""

FAILED: Final = "[failed]"
"""The content of an error that says nothing."""

_INSTRUCTIONS: Final = (Role.SYSTEM, Role.DEVELOPER)
_THINKING: Final = ("thinking", "redacted_thinking")


class AnthropicMessages:
    name: ClassVar[str] = "anthropic"

    def render(self, messages: Sequence[Message]) -> dict[str, object]:
        """``{"system"?: [text blocks], "messages": [...]}``; without any message if nothing of the
        view can be said."""
        labels = Labels(fit_plain_id, ANTHROPIC_ID_CHARS_MAX)
        system: list[Json] = []
        turns = _Turns()
        leading = True
        for message in messages:
            leading = leading and message.role in _INSTRUCTIONS
            if leading:
                system += _texts(message)
            else:
                _add(turns, message, labels)
        said = turns.all
        if (said and said[0]["role"] != "user") or (system and not said):
            said.insert(0, {"role": "user", "content": [text_block(BEGINNING)]})
        return {"system": system, "messages": said} if system else {"messages": said}

    def count(self, sent: object, count_text: CountText, count_file: CountFile) -> int:
        assert isinstance(sent, Mapping)
        system = sent.get("system", ())
        return sum(MESSAGE_TOKENS + count_text(block["text"]) for block in system) + sum(
            MESSAGE_TOKENS + sum(_block(block, count_text, count_file) for block in said["content"])
            for said in sent["messages"]
        )


FORMAT_ANTHROPIC: Outgoing = AnthropicMessages()


class _Turns:
    """Messages that alternate, put together block by block."""

    def __init__(self) -> None:
        self.all: list[Json] = []
        self._blocks: list[Json] = []

    def add(self, role: str, blocks: list[Json]) -> None:
        if not blocks:
            return
        if self.all and self.all[-1]["role"] == role:
            self._blocks += [block for block in blocks if block["type"] not in _THINKING]
        else:
            self._blocks = list(blocks)
            self.all.append({"role": role, "content": self._blocks})


def _add(turns: _Turns, message: Message, labels: Labels) -> None:
    if message.role is Role.ASSISTANT:
        turns.add("assistant", _assistant_blocks(message, labels))
    results = [_result_block(part, labels) for part in message.parts if isinstance(part, Result)]
    turns.add("user", results)
    if message.role is Role.USER:
        blocks = sendable_blocks(message.parts)
        if not blocks and (remarks := remarks_of(message.parts)):
            blocks = [text_block(remarks)]
        turns.add("user", blocks)
    elif message.role in _INSTRUCTIONS:
        said = _texts(message)
        turns.add("user", [text_block(INSTRUCTION), *said] if said else [])


def _texts(message: Message) -> list[Json]:
    return [block for block in sendable_blocks(message.parts) if block["type"] == "text"]


def _assistant_blocks(message: Message, labels: Labels) -> list[Json]:
    """Thinking, then what was said, then the calls."""
    thinking: list[Json | None] = []
    said: list[Json] = []
    calls: list[Json] = []
    for part in message.parts:
        match part:
            case Reasoning(provider="anthropic") if not said and not calls:
                thinking.append(thinking_block(part))
            case Text(text) | Refusal(text) if not is_blank(text):
                said.append(text_block(text))
            case Call():
                calls.append(_call_block(part, labels))
            case _:
                pass
    if not said and not calls:
        return []
    if said and not calls:
        last = said[-1]["text"]
        assert isinstance(last, str)
        said[-1] = text_block(without_trailing_space(last))
    # A sequence of thinking is taken whole or not at all.
    known = [block for block in thinking if block is not None]
    return [*(known if len(known) == len(thinking) else ()), *said, *calls]


def _call_block(call: Call, labels: Labels) -> Json:
    return {
        "type": "tool_use",
        "id": labels.of_call(call.id),
        "name": fit_tool_name(call.name, ANTHROPIC_NAME_CHARS_MAX),
        "input": arguments_object(call.args, blank=is_blank(call.args)),
    }


def _result_block(result: Result, labels: Labels) -> Json:
    said: Json = {"type": "tool_result", "tool_use_id": labels.of_result(result.id)}
    if isinstance(result.out, str):
        if not is_blank(result.out):
            said["content"] = result.out
    else:
        blocks = sendable_blocks(result.out)
        if result.error:
            blocks = [block for block in blocks if block["type"] == "text"]
        if blocks:
            said["content"] = blocks
    if result.error:
        # The API takes no error without content, and nothing but text in one.
        said.setdefault("content", FAILED)
        said["is_error"] = True
    return said


# ---- counting -------------------------------------------------------------------------------


def _block(block: Json, count_text: CountText, count_file: CountFile) -> int:
    match block:
        case {"type": "text", "text": str(text)}:
            return count_text(text)
        case {"type": "thinking", "thinking": str(text)}:
            return count_text(text)  # a signature is checked, not read
        case {"type": "redacted_thinking", "data": str(data)}:
            return count_text(data)
        case {"type": "tool_use", "name": str(name), "input": args}:
            return CALL_TOKENS + count_text(name) + count_text(json_text(args))
        case {"type": "tool_result"}:
            content = block.get("content", "")
            if isinstance(content, str):
                return count_text(content)
            assert isinstance(content, list)
            return sum(_block(inner, count_text, count_file) for inner in content)
        case {"type": "image"}:
            return count_file(IMAGE)
        case _:
            return count_file(FILE)
