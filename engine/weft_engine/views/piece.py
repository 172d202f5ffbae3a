"""A piece: a message as a view sends it, with its cost and its bytes.

Mostly a message of the history as it stands. Where that would not be valid for the provider or
not fit, it is another message made from it. Must never know: budgets, windows, caches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from weft_engine.canonical import canonical_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message
from weft_engine.events.part import Opaque
from weft_engine.formats.outgoing import Outgoing
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


@dataclass(frozen=True, slots=True)
class Pricing:
    """What a message costs in one format."""

    form: Outgoing
    count_text: Callable[[str], int]
    media: MediaTable

    def count(self, message: Message) -> int:
        """By the rule alone; 0 if nothing of it is sent."""
        return self.form.count(self.form.render([message]), self.count_text, self.media.tokens)

    def whole(self, message: Message) -> int:
        """What `message` costs as it stands. One that says what it costs is only looked at for
        whether anything of it is sent."""
        if message.tokens is None:
            return self.count(message)
        return message.tokens if self.form.count(*self._nothing_counted(message)) else 0

    def scale(self, source: Message | None) -> Scale | None:
        """None if the rule alone says what pieces of `source` cost."""
        if source is None or source.tokens is None:
            return None
        return Scale(source.tokens, self.count(source))

    def price(self, message: Message, scale: Scale | None) -> int:
        counted = self.count(message)
        return counted if scale is None else scale.cost(counted)

    def _nothing_counted(
        self, message: Message
    ) -> tuple[object, Callable[[str], int], Callable[[str], int]]:
        # Every text counts as one token: enough to know whether there is any.
        return self.form.render([message]), lambda text: 1 if text else 0, self.media.tokens


class Piece:
    """`source` is the message of the history that it was made from, None if we wrote it ourselves.
    Immutable; the bytes are made when they are first asked for."""

    __slots__ = ("_form", "_sent", "message", "source", "tokens")

    def __init__(
        self, message: Message, *, source: Message | None, tokens: int, form: Outgoing
    ) -> None:
        self.message = message
        self.source = source
        self.tokens = tokens
        self._form = form
        self._sent: bytes | None = None

    def saying(self, message: Message) -> Piece:
        """A piece of the same cost that says the same under other call ids, which cost nothing."""
        return Piece(message, source=self.source, tokens=self.tokens, form=self._form)

    def sent(self) -> bytes:
        """What is sent of it as RFC 8785 JSON: in a format that is an array, what goes into it,
        with commas between; empty if nothing is."""
        if self._sent is None:
            text = sayable(self._form, [self.message])
            self._sent = text[1:-1] if text[:1] == b"[" else text
        return self._sent


def sayable(form: Outgoing, messages: Sequence[Message]) -> bytes:
    """The RFC 8785 JSON of `messages` in a format."""
    try:
        return canonical_json(form.render(messages))
    except InvalidMessage:
        return canonical_json(form.render([_known(form, message) for message in messages]))


def _known(form: Outgoing, message: Message) -> Message:
    """`message`, without its foreign parts if one of them nests so deep that the levels around it
    are too many for our JSON. They are left out like others that can't be said: no message may
    make its context unreadable."""
    try:
        canonical_json(form.render([message]))
    except InvalidMessage:
        parts = tuple(part for part in message.parts if not isinstance(part, Opaque))
        return replace(message, parts=parts)
    return message
