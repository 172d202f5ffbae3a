"""What an API's answer says of the call, beside the message itself.

Must never know: any format.
"""

from __future__ import annotations

from collections.abc import Iterable

from weft_engine.canonical import parse_json
from weft_engine.errors import InvalidMessage
from weft_engine.formats.foreign import Members
from weft_engine.formats.verbatim_json import Verbatim, write_verbatim


def reply_meta(members: Members, keys: Iterable[str]) -> str | None:
    """Those of `keys` that have a value, as the JSON text of a message's `meta`. None if there are
    none, or if what stands there is no strict JSON, which a `meta` must be."""
    kept: dict[str, Verbatim] = {
        key: value for key in keys if (value := members.get(key)) is not None
    }
    text = write_verbatim(kept)
    try:
        parse_json(text, floats=True)
    except InvalidMessage:
        return None
    return text if kept else None
