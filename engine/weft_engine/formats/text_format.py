"""A plain transcript, for people and for models that summarize.

A paragraph for each message, with who said it, what was called and what came of it. Only to be
read: nothing imports it. Must never know: budgets, windows, providers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, File, Part, Reasoning, Refusal, Result, Text
from weft_engine.formats.counting import MESSAGE_TOKENS, CountFile, CountText
from weft_engine.formats.outgoing import Outgoing

BETWEEN: Final = "\n\n"


class PlainText:
    name: ClassVar[str] = "text"

    def render(self, messages: Sequence[Message]) -> list[str]:
        """A paragraph a message; `transcript` joins them."""
        return [said for message in messages if (said := _paragraph(message))]

    def count(self, sent: object, count_text: CountText, count_file: CountFile) -> int:
        """Paragraph by paragraph: what they cost beside their text is more than the line between
        them does."""
        assert isinstance(sent, list)
        return sum(MESSAGE_TOKENS + count_text(said) for said in sent)


FORMAT_TEXT: Outgoing = PlainText()


def transcript(sent: object) -> str:
    """What `PlainText.render` gave, as one text."""
    assert isinstance(sent, list)
    return BETWEEN.join(sent)


def _paragraph(message: Message) -> str:
    who = message.role.value if message.name is None else f"{message.role.value} {message.name}"
    lines = list(_lines(message))
    if not lines:
        return ""
    head, *rest = lines
    if message.role is Role.TOOL and isinstance(message.parts[0], Result):
        return "\n".join(lines)
    return "\n".join([f"{who}: {head}", *rest])


def _lines(message: Message) -> Iterator[str]:
    for part in message.parts:
        match part:
            case Call():
                if message.role is Role.ASSISTANT:
                    yield f"[call {part.id}] {part.name}({part.args})"
            case Result():
                what = "error" if part.error else "result"
                yield f"[{what} {part.id}] {_out(part)}"
            case _:
                said = _said(part)
                if said is not None:
                    yield said


def _said(part: Part) -> str | None:
    match part:
        case Text(text) if text:
            return text
        case Refusal(text) if text:
            return f"[refusal] {text}"
        case File():
            return f"[file {part.media_type}{'' if part.name is None else ' ' + part.name}]"
        case Reasoning():
            return None  # for its provider, not for readers
        case _:
            return None


def _out(result: Result) -> str:
    if isinstance(result.out, str):
        return result.out
    return "\n".join(said for part in result.out if (said := _said(part)) is not None)
