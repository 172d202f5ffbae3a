"""A view: what the model is sent, as a pure function of the history and a spec.

    | reserved | 3 | head | preamble, opening | window: from a milestone to the newest message |

The head is the leading system and developer messages, kept whole. Before the window, within an
allowance, stands what is recalled, and the user message that opens the turn in the middle of
which the window begins. used + reserved <= budget, always. Must never know: where entries are
stored, what time it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, cast

from weft_engine.errors import OverBudget
from weft_engine.events.event import Message
from weft_engine.formats.registry import outgoing
from weft_engine.formats.text_format import FORMAT_TEXT, transcript
from weft_engine.names import ContextName, EventId, RecordHash
from weft_engine.views.causes import Shape
from weft_engine.views.count import VIEW_TOKENS
from weft_engine.views.piece import Pricing, sayable
from weft_engine.views.receipt import Receipt
from weft_engine.views.shown import Shown
from weft_engine.views.spec import ViewSpec
from weft_engine.views.tokenizer import Tokenizer

DEFAULT_TRIGGER: Final = 700


@dataclass(frozen=True, slots=True)
class Settings:
    """When a context asks to be compacted; no part of the spec, for it changes nothing that is
    sent. `trigger` in thousandths of the budget, `clear_at_least` in tokens."""

    trigger: int = DEFAULT_TRIGGER
    clear_at_least: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """What the model is sent. `ids`: the entries it shows, oldest first; `shown`: what is shown of
    which of them, where and by which rule; `used_tokens`: in a format that joins messages, at most
    so many; `left_out`: how many messages it does not show, None if that is not known;
    `fingerprint` in hex; `trace_id`: the application's name for this call; `changed_because`: why
    it does not begin with all of the view before it, of the same context here; empty if it does.
    """

    context: ContextName
    cut: tuple[RecordHash, ...]
    spec: ViewSpec
    used_tokens: int
    needs_compaction: bool
    fingerprint: str
    ids: tuple[EventId, ...] = field(repr=False)
    shown: tuple[Shown, ...] = field(repr=False)
    left_out: int | None = field(compare=False)
    shape: Shape = field(repr=False, compare=False)
    trace_id: str = field(default="", compare=False)
    changed_because: tuple[str, ...] = field(default=(), compare=False)

    def openai(self) -> list[dict[str, Any]]:
        """The messages for the OpenAI chat API. A fresh copy each time, safe to change; so in the
        other formats. In another format than the spec's the view is counted again: OverBudget if
        it does not fit in that."""
        return cast("list[dict[str, Any]]", self.rendered("openai"))

    def responses(self) -> list[dict[str, Any]]:
        """The input items for the OpenAI Responses API."""
        return cast("list[dict[str, Any]]", self.rendered("responses"))

    def anthropic(self) -> dict[str, Any]:
        """`system` and `messages` for the Anthropic API."""
        return cast("dict[str, Any]", self.rendered("anthropic"))

    def ui_messages(self) -> list[dict[str, Any]]:
        """UI messages, as the AI SDK shows them."""
        return cast("list[dict[str, Any]]", self.rendered("ui"))

    def text(self) -> str:
        """For people, and for models that take text alone."""
        return cast("str", self.rendered("text"))

    @property
    def messages(self) -> tuple[dict[str, Any], ...]:
        return tuple(self.openai())

    @property
    def said(self) -> tuple[Message, ...]:
        """The messages that are sent, whatever the format."""
        return tuple(piece.message for unit in self.shape.units for piece in unit.pieces)

    @property
    def first(self) -> EventId | None:
        """The oldest entry it shows, None if it is empty."""
        return self.ids[0] if self.ids else None

    @property
    def receipt(self) -> Receipt:
        """What it can be rebuilt from."""
        return Receipt(
            trace_id=self.trace_id,
            context=self.context,
            cut=self.cut,
            spec=self.spec,
            fingerprint=self.fingerprint,
        )

    def rendered(self, format: str) -> object:  # noqa: A002 - the field's word
        """The messages in the format of this name; of text the transcript."""
        form = outgoing(format)
        messages = self.said
        if format != self.spec.format:
            pricing = Pricing(form, Tokenizer(self.spec.tokenizer).count, self.spec.media)
            sent = form.render(messages)
            used = VIEW_TOKENS + form.count(sent, pricing.count_text, self.spec.media.tokens)
            if used > self.spec.room:
                raise OverBudget(
                    f"in the format {format!r} the view is {used} tokens, the budget has room for"
                    f" {self.spec.room}",
                    hint=f"ask for a view in this format: view(format={format!r})",
                )
        sent = json.loads(sayable(form, messages))
        return transcript(sent) if format == FORMAT_TEXT.name else sent
