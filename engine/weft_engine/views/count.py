"""The counting rule: what messages and tools cost in tokens, in the OpenAI chat format.

Counted on the strings that are sent, because joining two strings can cost more than the two.

    view     3 + its messages
    message  4 + [1 + n(name)] + its parts
    part     text n(text); call 8 + n(name) + n(arguments); result n(out); file by the media table
    tools    n of their RFC 8785 JSON

A message that brings its own `tokens` counts as that. Must never know: budgets, windows, order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from weft_engine.canonical import canonical_json
from weft_engine.events.event import Message
from weft_engine.formats.openai_chat import render
from weft_engine.views.media import DEFAULT_MEDIA, MediaTable
from weft_engine.views.tokenizer import TokenizerId

VIEW_TOKENS: Final = 3
MESSAGE_TOKENS: Final = 4
NAME_TOKENS: Final = 1
CALL_TOKENS: Final = 8


class Counter(Protocol):
    """What counts: a `Tokenizer`, whose vocabulary is loaded by the first count."""

    @property
    def id(self) -> TokenizerId: ...

    def count(self, text: str) -> int: ...


@dataclass(frozen=True, slots=True)
class ToolSet:
    """The tool definitions of a call: `digest` = BLAKE2b-256 of their RFC 8785 JSON in hex."""

    digest: str
    tokens: int


def count_message(message: Message, tokenizer: Counter, media: MediaTable = DEFAULT_MEDIA) -> int:
    """What `message` costs as it stands, whole and alone; 0 if nothing of it is sent."""
    sent = render(message)
    if not sent:
        return 0
    return count_sent(sent, tokenizer, media) if message.tokens is None else message.tokens


def count_sent(sent: Sequence[Mapping[str, object]], tokenizer: Counter, media: MediaTable) -> int:
    """What these OpenAI chat messages cost by the rule."""
    return sum(_message(said, tokenizer, media) for said in sent)


def tool_set(tools: Sequence[Mapping[str, object]], tokenizer: Counter) -> ToolSet | None:
    """The digest and cost of tool definitions; None if there are none. They are the same for most
    calls of an agent, so keep the answer."""
    if not tools:
        return None
    text = canonical_json(tools)
    return ToolSet(
        digest=hashlib.blake2b(text, digest_size=32).hexdigest(),
        tokens=tokenizer.count(text.decode()),
    )


def _message(said: Mapping[str, object], tokenizer: Counter, media: MediaTable) -> int:
    tokens = MESSAGE_TOKENS
    for key, value in said.items():
        match key, value:
            case "content" | "refusal", str():
                tokens += tokenizer.count(value)
            case "content", list():
                tokens += sum(_content(part, tokenizer, media) for part in value)
            case "name", str():
                tokens += NAME_TOKENS + tokenizer.count(value)
            case "tool_calls", list():
                tokens += sum(_call(call, tokenizer) for call in value)
            case _:
                pass
    return tokens


def _content(part: object, tokenizer: Counter, media: MediaTable) -> int:
    match part:
        case {"type": "text", "text": str(text), **rest} if not rest:
            return tokenizer.count(text)
        case {"type": "image_url"}:
            return media.image
        case {"type": "input_audio"}:
            return media.audio
        case {"type": "file"}:
            return media.file
        case _:
            # Of a part we don't know, everything may be read by the model.
            return _json(part, tokenizer)


def _call(call: object, tokenizer: Counter) -> int:
    match call:
        case {"function": {"name": str(name), "arguments": str(arguments)}}:
            return CALL_TOKENS + tokenizer.count(name) + tokenizer.count(arguments)
        case _:
            return CALL_TOKENS + _json(call, tokenizer)


def _json(value: object, tokenizer: Counter) -> int:
    return tokenizer.count(canonical_json(value).decode())
