"""Which format an object is of, told by its shape, and the messages it holds.

An SDK's object is what its `model_dump(exclude_unset=True)` gives. In this order:

    object "response"                         the answer of the OpenAI Responses API
    object "chat.completion"                  the answer of the OpenAI chat API: its one choice
    a role and parts, no content              a UIMessage of the Vercel AI SDK
    type "message", a role, content in blocks the answer of the Anthropic API, if it tells the model
                                              or why it stopped; else an item of the Responses API
    another type, and no role                 an item of the Responses API
    a role and content in which a block has   Anthropic: tool_use, tool_result, thinking,
    a type that only one format knows         redacted_thinking, document, search_result,
                                              server_tool_use, image with a source;
                                              Responses: input_text, output_text, input_image,
                                              input_file
    anything else                             an OpenAI chat message

So a role with a text as content is an OpenAI chat message, which says the same in all of them.
Items of the Responses API that stand side by side are read together: what a model gave in one go
is one message. Must never know: contexts, files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message
from weft_engine.formats import anthropic_import, responses_import, ui_import
from weft_engine.formats.openai_import import SupportsModelDump, import_message
from weft_engine.formats.verbatim_json import Verbatim, verbatim


class Shape(Enum):
    OPENAI = "openai"
    RESPONSE = "response"
    ITEM = "item"
    ANTHROPIC = "anthropic"
    ANTHROPIC_REPLY = "anthropic reply"
    UI = "ui"


_ONLY_ANTHROPIC: Final = frozenset(
    {"tool_use", "tool_result", "thinking", "redacted_thinking", "document", "search_result"}
    | {"server_tool_use"}
)
_ONLY_RESPONSES: Final = frozenset({"input_text", "output_text", "input_image", "input_file"})
_OF_A_REPLY: Final = ("model", "stop_reason")


def shape_of(members: Mapping[str, object]) -> Shape:
    if members.get("object") == "response" and "output" in members:
        return Shape.RESPONSE
    if "role" not in members:
        is_item = isinstance(members.get("type"), str)
        return Shape.ITEM if is_item else Shape.OPENAI
    if isinstance(members.get("parts"), (list, tuple)) and "content" not in members:
        return Shape.UI
    content = members.get("content")
    if members.get("type") == "message":
        is_reply = any(key in members for key in _OF_A_REPLY)
        return Shape.ANTHROPIC_REPLY if is_reply else Shape.ITEM
    if isinstance(content, (list, tuple)):
        for block in content:
            known = _shape_of_block(block)
            if known is not None:
                return known
    return Shape.OPENAI


def read_messages(
    said: Iterable[str | Mapping[str, object] | Message | SupportsModelDump],
) -> list[Message]:
    """The messages that these hold, in order: a text is a user's, a `Message` is itself.
    InvalidMessage with the path within the object that is no message."""
    messages: list[Message] = []
    items: list[Verbatim] = []

    def close() -> None:
        if items:
            messages.extend(responses_import.import_items(items, "$"))
            items.clear()

    for one in said:
        if isinstance(one, str):
            close()
            messages.append(import_message({"role": "user", "content": one}))
        elif isinstance(one, Message):
            close()
            messages.append(one)
        else:
            members = _members(one)
            shape = shape_of(members)
            if shape is Shape.ITEM:
                items.append(verbatim(members))
                continue
            close()
            if shape is Shape.OPENAI:
                messages.append(import_message(members))
            else:
                messages += _read(members, shape)
    close()
    return messages


def _read(members: Mapping[str, object], shape: Shape) -> list[Message]:
    match shape:
        case Shape.RESPONSE:
            return [responses_import.import_reply(verbatim(members))]
        case Shape.ITEM:
            return responses_import.import_items([verbatim(members)], "$")
        case Shape.ANTHROPIC:
            return [anthropic_import.import_tree(verbatim(members))]
        case Shape.ANTHROPIC_REPLY:
            return [anthropic_import.import_reply(verbatim(members))]
        case Shape.UI:
            return ui_import.import_tree(verbatim(members))
        case Shape.OPENAI:
            return [import_message(members)]


def _members(said: object) -> Mapping[str, object]:
    """`said` as a mapping. An application may put an SDK's blocks into a mapping of its own."""
    if isinstance(said, Mapping):
        if said.get("object") == "chat.completion":
            return _chosen(said)
        content = said.get("content")
        if isinstance(content, (list, tuple)) and not all(isinstance(b, Mapping) for b in content):
            return {**said, "content": [_dumped(block) for block in content]}
        return said
    dumped = _dumped(said)
    if isinstance(dumped, Mapping):
        return _chosen(dumped) if dumped.get("object") == "chat.completion" else dumped
    raise InvalidMessage(
        f"{type(said).__name__} is no message",
        hint="give text, a mapping, a Message or an object with model_dump()",
    )


def _chosen(completion: Mapping[str, object]) -> Mapping[str, object]:
    """The message of an answer of the chat API."""
    choices = completion.get("choices")
    if not isinstance(choices, (list, tuple)) or len(choices) != 1:
        many = len(choices) if isinstance(choices, (list, tuple)) else "no list"
        raise InvalidMessage(
            f"of an answer with one choice its message is taken, this has {many}",
            path="$.choices",
            hint="give the message of one choice",
        )
    choice = _dumped(choices[0])
    message = _dumped(choice.get("message")) if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping):
        raise InvalidMessage("an object was expected", path="$.choices[0].message")
    return message


def _dumped(value: object) -> object:
    if isinstance(value, SupportsModelDump):
        return value.model_dump(exclude_unset=True)
    return value


def _shape_of_block(block: object) -> Shape | None:
    """What a content block is a sure sign of."""
    if not isinstance(block, Mapping):
        return None
    kind = block.get("type")
    if not isinstance(kind, str):
        return None
    if kind in _ONLY_ANTHROPIC or (kind == "image" and "source" in block):
        return Shape.ANTHROPIC
    return Shape.ITEM if kind in _ONLY_RESPONSES else None
