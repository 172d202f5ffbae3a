"""Foreign JSON that was kept as text, as trees again.

Any replica may have written the text, so it may be no JSON, or of another shape than its format
says; then it is as if nothing had been kept. Must never know: what a format looks like.
"""

from __future__ import annotations

from typing import Final

from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Message
from weft_engine.formats.verbatim_json import Pairs, Verbatim, parse_verbatim
from weft_engine.json_depth import check_depth

LEVELS_AROUND_MAX: Final = 8
"""Arrays and objects of a file that may stand around a kept value."""

_AROUND: Final = "[" * LEVELS_AROUND_MAX


def kept_original(message: Message, format_: str) -> Verbatim:
    """The original of a message that came from this format; None if none is kept."""
    if message.src is None or message.src.format != format_:
        return None
    try:
        return parse_verbatim(message.src.json)
    except InvalidMessage:
        return None


def kept_tree(text: str) -> Verbatim:
    """The value that `text` is. InvalidMessage if it is no JSON, or nests so deep that what it
    would stand in could not be read again."""
    check_depth(_AROUND + text)
    return parse_verbatim(text)


def kept_object(text: str) -> Verbatim:
    """As `kept_tree`; None for what is no object or can't be read."""
    try:
        tree = kept_tree(text)
    except InvalidMessage:
        return None
    return tree if isinstance(tree, (dict, Pairs)) else None
