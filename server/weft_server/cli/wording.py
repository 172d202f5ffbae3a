"""How messages, events and times read to people.

Must never know: where they come from, where they are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from weft_engine.events.event import Event
    from weft_engine.events.part import Part

_LINES_MAX: Final = 12
_CHARS_MAX: Final = 1_200
_INDENT: Final = "    "


def counted(count: int, noun: str) -> str:
    """``1 message``, ``2,000 messages``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def utc_time(time_ms: int) -> str:
    """``2026-11-20 13:05:09Z``; a clock that is wildly wrong shows as its number."""
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"
    except (OverflowError, ValueError):
        return f"{time_ms} ms"


def body(text: str, *, full: bool) -> str:
    """`text`, indented; cut to its first lines unless `full`."""
    shown = text
    if not full:
        lines = text[:_CHARS_MAX].split("\n")[:_LINES_MAX]
        shown = "\n".join(lines)
        if len(shown) < len(text):
            shown = f"{shown.rstrip()} … ({len(text):,} characters)"
    return "\n".join(_INDENT + line if line else "" for line in shown.split("\n"))


def message_text(parts: Sequence[Part]) -> str:
    """What a message says, a line for each part that is no text."""
    return "\n".join(_part_text(part) for part in parts) or "(nothing)"


def chat_text(message: dict[str, object]) -> str:
    """What a message of the OpenAI chat format says."""
    return "\n".join(_chat_lines(message)) or "(nothing)"


def event_text(event: Event) -> str:
    """What an event says, whatever its kind."""
    from weft_engine.events.codec import encode_event
    from weft_engine.events.event import Message, Unknown

    match event.body:
        case Message():
            return message_text(event.body.parts)
        case Unknown():
            return "(of a kind that this version does not know)"
        case _:
            return encode_event(event).decode()


def _part_text(part: Part) -> str:
    from weft_engine.events.part import (
        Call,
        Data,
        File,
        Opaque,
        Reasoning,
        Refusal,
        Result,
        Source,
        Text,
    )

    match part:
        case Text(text):
            return text
        case Refusal(text):
            return f"[refusal] {text}"
        case Reasoning():
            return f"[reasoning] {part.text or ''}"
        case Call():
            return f"[call {part.name}] {part.args}"
        case Result():
            out = part.out if isinstance(part.out, str) else message_text(part.out)
            return f"[{'error' if part.error else 'result'}] {out}"
        case File():
            return f"[file {part.media_type}] {part.name or (part.url or '')[:100]}"
        case Source() | Data() | Opaque():
            return f"[{type(part).__name__.lower()}] {part.json}"


def _chat_lines(message: dict[str, object]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield part["text"] if part.get("type") == "text" else f"[{part.get('type')}]"
    if message.get("refusal"):
        yield f"[refusal] {message['refusal']}"
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") or call.get("custom") or {}
        yield f"[call {function.get('name')}] {function.get('arguments', function.get('input'))}"
