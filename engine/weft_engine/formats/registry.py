"""The formats of views by name, and a view's messages in any of them.

Must never know: budgets, windows, contexts.
"""

from __future__ import annotations

from typing import Final

from weft_engine.errors import InvalidMessage
from weft_engine.formats.anthropic_outgoing import FORMAT_ANTHROPIC
from weft_engine.formats.openai_outgoing import FORMAT_OPENAI
from weft_engine.formats.outgoing import Outgoing
from weft_engine.formats.responses_outgoing import FORMAT_RESPONSES
from weft_engine.formats.text_format import FORMAT_TEXT
from weft_engine.formats.ui_outgoing import FORMAT_UI

DEFAULT_FORMAT: Final = FORMAT_OPENAI.name

_FORMATS: Final = {
    known.name: known
    for known in (FORMAT_OPENAI, FORMAT_RESPONSES, FORMAT_ANTHROPIC, FORMAT_UI, FORMAT_TEXT)
}
FORMAT_NAMES: Final = tuple(_FORMATS)


def outgoing(name: str) -> Outgoing:
    """The format of this name. InvalidMessage that lists the names for an unknown one."""
    known = _FORMATS.get(name)
    if known is None:
        raise InvalidMessage(
            f"there is no format {name!r}", hint=f"the formats are {', '.join(FORMAT_NAMES)}"
        )
    return known
