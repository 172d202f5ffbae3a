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
from functools import partial
from typing import Final, Protocol

from weft_engine.canonical import canonical_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message
from weft_engine.formats.counting import MESSAGE_TOKENS as MESSAGE_TOKENS
from weft_engine.formats.openai_chat import render
from weft_engine.formats.openai_outgoing import count_chat
from weft_engine.views.media import DEFAULT_MEDIA, MediaTable
from weft_engine.views.tokenizer import TokenizerId

VIEW_TOKENS: Final = 3


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
    return count_chat(sent, tokenizer.count, partial(getattr, media))


def tool_set(tools: Sequence[Mapping[str, object]], tokenizer: Counter) -> ToolSet | None:
    """The digest and cost of tool definitions; None if there are none. They are the same for most
    calls of an agent, so keep the answer."""
    if not tools:
        return None
    if isinstance(tools, (str, bytes)) or not isinstance(tools, Sequence):
        raise InvalidMessage(f"tools are a list of definitions, not {type(tools).__name__}")
    for index, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise InvalidMessage(
                f"tools[{index}] is {type(tool).__name__}, no definition",
                hint="give what the provider is given: a mapping for each tool",
            )
    text = canonical_json(tools)
    return ToolSet(
        digest=hashlib.blake2b(text, digest_size=32).hexdigest(),
        tokens=tokenizer.count(text.decode()),
    )
