"""Foreign JSON text as a value that can stand in what is sent.

A view needs one spelling of everything in it, and its levels around it. Must never know: what the
JSON means.
"""

from __future__ import annotations

from typing import Final

from weft_engine.canonical import canonical_json, parse_json
from weft_engine.errors import InvalidMessage
from weft_engine.json_depth import check_depth

LEVELS_AROUND_MAX: Final = 16
"""Arrays and objects of a format that may stand around a foreign value."""

_AROUND: Final = "[" * LEVELS_AROUND_MAX


def sendable(text: str) -> object:
    """The value of `text`. InvalidMessage if it is no strict JSON or nests too deep to be sent."""
    check_depth(_AROUND + text)
    return parse_json(text, floats=True)


def sendable_object(text: str) -> dict[str, object] | None:
    """As `sendable`, None for what is no object or can't be sent."""
    try:
        value = sendable(text)
    except InvalidMessage:
        return None
    return value if isinstance(value, dict) else None


def arguments_object(args: str, *, blank: bool) -> dict[str, object]:
    """Tool arguments where only an object is taken: what is none is wrapped as text, but nothing
    at all (`blank`) is an empty object."""
    if blank:
        return {}
    value = sendable_object(args)
    return {"arguments": args} if value is None else value


def json_text(value: object) -> str:
    """The one spelling of a value, for counting."""
    return canonical_json(value).decode()
