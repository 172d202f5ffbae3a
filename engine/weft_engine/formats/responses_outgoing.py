"""The OpenAI Responses format of views: the input items that are sent, and what they cost.

An item for each text, call, result and piece of reasoning, in their order. Reasoning goes back only
with its encrypted content and in front of the item it belongs to; the id of a call only beside its
reasoning, because the API knows the two as a pair. Must never know: budgets, windows, files of
conversations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, Opaque, Reasoning, Refusal, Result, Text
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
    OPENAI_NAME_CHARS_MAX,
    RESPONSES_ID_CHARS_MAX,
    Labels,
    fit_id,
    fit_tool_name,
)
from weft_engine.formats.outgoing import Outgoing
from weft_engine.formats.responses_content import PROVIDER, Json, input_content, text_or_list

_REASONING_ID: Final = re.compile(r"rs_[A-Za-z0-9_-]{1,125}", re.ASCII)
_CALL_ID: Final = re.compile(r"fc_[A-Za-z0-9_-]{1,61}", re.ASCII)


class OpenAIResponses:
    name: ClassVar[str] = "responses"

    def render(self, messages: Sequence[Message]) -> list[Json]:
        """The array for `input`."""
        taken: set[str] = set()
        labels = Labels(fit_id, RESPONSES_ID_CHARS_MAX)
        return [item for message in messages for item in _items(message, labels, taken)]

    def count(self, sent: object, count_text: CountText, count_file: CountFile) -> int:
        assert isinstance(sent, list)
        return sum(MESSAGE_TOKENS + _item(item, count_text, count_file) for item in sent)


FORMAT_RESPONSES: Outgoing = OpenAIResponses()


def _items(message: Message, labels: Labels, taken: set[str]) -> list[Json]:
    """`taken`: ids of items that this view has already; the API takes each once."""
    results = [_result(part, labels) for part in message.parts if isinstance(part, Result)]
    match message.role:
        case Role.ASSISTANT:
            return [*_answer(message, labels, taken), *results]
        case Role.TOOL:
            return results
        case Role.USER | Role.SYSTEM | Role.DEVELOPER:
            content = input_content(message.parts, files=message.role is Role.USER)
            if not content and message.role is Role.USER and (said := remarks_of(message.parts)):
                content = [{"type": "input_text", "text": said}]
            if not content:
                return results
            return [*results, {"role": message.role.value, "content": text_or_list(content)}]


def _answer(message: Message, labels: Labels, taken: set[str]) -> list[Json]:
    items: list[Json] = []
    waiting: Json | None = None
    goes_back = False
    for part in message.parts:
        match part:
            case Reasoning():
                waiting = _reasoning(part, taken)
                continue
            case Text(text) | Refusal(text) if text:
                item: Json = {"role": "assistant", "content": text}
            case Opaque(format="responses"):
                said = input_content((part,), files=False)
                if not said:
                    continue
                item = {"role": "assistant", "content": said[0]["text"]}
            case Call():
                paired = goes_back or waiting is not None
                item = _call(part, labels, taken if paired else None)
            case _:
                continue
        if waiting is not None:
            taken.add(str(waiting["id"]))
            items.append(waiting)
            waiting = None
            goes_back = True
        items.append(item)
    return items


def _reasoning(part: Reasoning, taken: set[str]) -> Json | None:
    """What can go back: it has its encrypted content and the id of its item."""
    id_ = part.item_id
    if part.provider != PROVIDER or not part.data or id_ is None or id_ in taken:
        return None
    if not _REASONING_ID.fullmatch(id_):
        return None
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    said: Json = {"type": "reasoning", "id": id_, "summary": summary}
    said["encrypted_content"] = part.data
    return said


def _call(call: Call, labels: Labels, taken: set[str] | None) -> Json:
    """With the id of its item if there is a set of `taken` ids and the id is free."""
    said: Json = {"type": "function_call"}
    id_ = call.item_id
    if taken is not None and id_ is not None and id_ not in taken and _CALL_ID.fullmatch(id_):
        taken.add(id_)
        said["id"] = id_
    said["call_id"] = labels.of_call(call.id)
    said["name"] = fit_tool_name(call.name, OPENAI_NAME_CHARS_MAX)
    said["arguments"] = call.args
    return said


def _result(result: Result, labels: Labels) -> Json:
    out: object = result.out
    if not isinstance(result.out, str):
        # A call needs its answer, even if nothing of it can be said here.
        out = input_content(result.out, files=True) or ""
    call_id = labels.of_result(result.id)
    return {"type": "function_call_output", "call_id": call_id, "output": out}


# ---- counting -------------------------------------------------------------------------------


def _item(item: Mapping[str, object], count_text: CountText, count_file: CountFile) -> int:
    match item:
        case {"type": "function_call", "name": str(name), "arguments": str(args)}:
            return CALL_TOKENS + count_text(name) + count_text(args)
        case {"type": "function_call_output", "output": out}:
            return _content(out, count_text, count_file)
        case {"type": "reasoning", "summary": list(summary), "encrypted_content": str(data)}:
            return count_text(data) + sum(count_text(said["text"]) for said in summary)
        case {"content": content}:
            return _content(content, count_text, count_file)
        case _:
            raise AssertionError("an item that render does not make")


def _content(content: object, count_text: CountText, count_file: CountFile) -> int:
    if isinstance(content, str):
        return count_text(content)
    assert isinstance(content, list)
    tokens = 0
    for part in content:
        match part:
            case {"text": str(text)}:
                tokens += count_text(text)
            case {"type": "input_image"}:
                tokens += count_file(IMAGE)
            case _:
                tokens += count_file(FILE)
    return tokens
