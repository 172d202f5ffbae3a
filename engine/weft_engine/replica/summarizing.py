"""What a summarizer is given, and what it gives back.

The messages are as a view would send them: valid for the provider, tool calls with their results.
More than fits into the context's budget is given in pieces. Must never know: where messages are
kept, what a summary covers.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from typing import Any, TypeAlias

from weft_engine.errors import InvalidMessage, LimitExceeded
from weft_engine.formats.registry import DEFAULT_FORMAT
from weft_engine.limits import SUMMARY_BYTES_MAX
from weft_engine.views.cache import Shelf, ViewCache
from weft_engine.views.entry import Entry
from weft_engine.views.labels import Labels
from weft_engine.views.media import DEFAULT_MEDIA
from weft_engine.views.plan import units_of
from weft_engine.views.shorten import shorten
from weft_engine.views.tokenizer import Tokenizer
from weft_engine.views.unit import Unit


@dataclass(frozen=True, slots=True)
class ToSummarize:
    """A piece of a conversation. `previous`: the summary of what stands before it, whose place the
    new text takes, so it is to be worked in; None at the beginning. `count`: how many messages
    this piece holds. `token_budget`: as long as this the text may be without being cut in views."""

    previous: str | None
    count: int
    token_budget: int
    _sent: bytes = field(repr=False)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """In the OpenAI chat format. A fresh copy each time, safe to change."""
        messages: list[dict[str, Any]] = json.loads(self._sent)
        return messages

    @property
    def text(self) -> str:
        """The same as plain text, a paragraph for each message."""
        return "\n\n".join(_paragraphs(self.messages))


Summarizer: TypeAlias = Callable[[ToSummarize], str | Awaitable[str]]
"""Gives the text of a summary. One that is not async holds up everything else meanwhile."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Messages that are given at once."""

    count: int
    sent: bytes

    def given(self, previous: str | None, token_budget: int) -> ToSummarize:
        return ToSummarize(previous, self.count, token_budget, self.sent)


async def summarize(
    summarizer: Summarizer,
    entries: Sequence[Entry],
    *,
    previous: str | None,
    tokenizer: Tokenizer,
    room: int,
    token_budget: int,
) -> str:
    """The text of a summary of `entries`, asked for in as many pieces as `room` tokens at a time
    make necessary; each piece after the first comes with the text so far.

    What the summarizer raises goes through. InvalidMessage if it gives no text, LimitExceeded if
    that is larger than SUMMARY_BYTES_MAX.
    """
    # A summary that takes all the room leaves half of it for what is new nevertheless.
    known = 0 if previous is None else tokenizer.count(previous)
    said = previous
    for piece in pieces(entries, tokenizer, max(room - max(known, token_budget), room // 2)):
        given = summarizer(piece.given(said, token_budget))
        said = _checked(await given if isawaitable(given) else given)
    assert said is not None, "there are entries"
    return said


def pieces(entries: Sequence[Entry], tokenizer: Tokenizer, room: int) -> list[Piece]:
    """`entries` in pieces of at most `room` tokens, tool calls with their results. A unit that is
    larger than that is shortened. BudgetTooSmall if that can't be done."""
    shelf = ViewCache().shelf(tokenizer, DEFAULT_MEDIA, DEFAULT_FORMAT)
    labels = Labels()
    found: list[Piece] = []
    taken: list[Unit] = []
    used = 0
    for unit in map(labels.label, units_of(entries, shelf)):
        fitting = unit if unit.tokens <= room else _shortened(unit, room, shelf)
        if taken and used + fitting.tokens > room:
            found.append(_piece(taken))
            taken, used = [], 0
        taken.append(fitting)
        used += fitting.tokens
    if taken:
        found.append(_piece(taken))
    return found


def _shortened(unit: Unit, room: int, shelf: Shelf) -> Unit:
    # Instructions are not shortened in views; in what is summarized they may be.
    return shorten(replace(unit, fixed=False), room, shelf)


def _piece(units: Sequence[Unit]) -> Piece:
    ids = dict.fromkeys(id_ for unit in units for id_ in unit.ids)
    sent = b",".join([said for unit in units for piece in unit.pieces if (said := piece.sent())])
    return Piece(len(ids), b"[%b]" % sent)


def _checked(text: object) -> str:
    if not isinstance(text, str):
        raise InvalidMessage(
            f"the summarizer gave {type(text).__name__}, not a text",
            hint="return the text of the summary; nothing was recorded",
        )
    if not text.strip():
        raise InvalidMessage(
            "the summarizer gave an empty text", hint="try again; nothing was recorded"
        )
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidMessage(
            "the summarizer gave a lone surrogate",
            hint="return well-formed Unicode; nothing was recorded",
        ) from None
    if size > SUMMARY_BYTES_MAX:
        raise LimitExceeded(
            f"the summarizer gave {size} bytes, SUMMARY_BYTES_MAX is {SUMMARY_BYTES_MAX}",
            hint="ask for about `token_budget` tokens; nothing was recorded",
        )
    return text


def _paragraphs(messages: Iterable[dict[str, Any]]) -> Iterable[str]:
    for message in messages:
        who = message["role"] if "name" not in message else f"{message['role']} {message['name']}"
        if message["role"] == "tool":
            who = "result"
        content = message.get("content")
        if isinstance(content, list):
            content = "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in content)
        lines = [f"{who}: {content}"] if content else []
        if message.get("refusal"):
            lines.append(f"{who}: {message['refusal']}")
        for call in message.get("tool_calls", ()):
            function = call["function"]
            lines.append(f"{who} calls {function['name']}({function['arguments']})")
        if lines:
            yield "\n".join(lines)
