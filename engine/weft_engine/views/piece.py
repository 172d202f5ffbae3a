"""A piece: a message as a view sends it, with its cost and its bytes.

Mostly a message of the history as it stands. Where that would not be valid for the provider or
not fit, it is another message made from it. Must never know: budgets, windows, caches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from weft_engine.canonical import canonical_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message
from weft_engine.events.part import Opaque
from weft_engine.formats.openai_chat import render
from weft_engine.views.count import Counter, count_sent
from weft_engine.views.media import MediaTable


@dataclass(frozen=True, slots=True)
class Scale:
    """How pieces of one message cost: `declared` tokens for what the rule counts as `counted`.

    A message may say what it costs as a whole. A piece of it costs its share, rounded up, so that
    all its pieces never cost less than the whole and cutting it makes it cheaper.
    """

    declared: int
    counted: int

    def cost(self, counted: int) -> int:
        if counted == 0 or self.counted == 0:
            return counted
        return max(1, -(-counted * self.declared // self.counted))


def scale_of(source: Message | None, tokenizer: Counter, media: MediaTable) -> Scale | None:
    """None if the rule alone says what pieces of `source` cost."""
    if source is None or source.tokens is None:
        return None
    return Scale(source.tokens, count_sent(render(source), tokenizer, media))


class Piece:
    """`source` is the message of the history that it was made from, None if we wrote it ourselves.
    Immutable; the bytes are made when they are first asked for."""

    __slots__ = ("_sent", "message", "source", "tokens")

    def __init__(self, message: Message, *, source: Message | None, tokens: int) -> None:
        self.message = message
        self.source = source
        self.tokens = tokens
        self._sent: bytes | None = None

    def sent(self) -> bytes:
        """The chat messages as RFC 8785 JSON with commas between; empty if nothing is sent."""
        if self._sent is None:
            self._sent = _sent(self.message)
        return self._sent


def price(message: Message, scale: Scale | None, tokenizer: Counter, media: MediaTable) -> int:
    counted = count_sent(render(message), tokenizer, media)
    return counted if scale is None else scale.cost(counted)


def _sent(message: Message) -> bytes:
    try:
        return b",".join([canonical_json(said) for said in render(message)])
    except InvalidMessage:
        # A foreign part may nest so deep that the levels around it are too many for our JSON. It
        # is left out like others that can't be said: no message may make its context unreadable.
        known = tuple(part for part in message.parts if not isinstance(part, Opaque))
        return b",".join([canonical_json(said) for said in render(replace(message, parts=known))])
