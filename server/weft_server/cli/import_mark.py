"""What a context remembers of the line it was imported from: the keys beside its messages.

It stands in the context's metadata, as the text it had, under a key of its own. Pure.
Must never know: stores, files, what the other keys mean.
"""

from __future__ import annotations

from typing import Final

from weft_engine.errors import CallerError
from weft_engine.formats.verbatim_json import Verbatim, parse_verbatim, write_verbatim

_KEY: Final = "import"


def with_rest(metadata: str | None, rest: str | None) -> str | None:
    """The metadata of a context whose line has this rest (None: nothing worth keeping). None if it
    is so already."""
    members = _members(metadata)
    if members.get(_KEY) == rest:
        return None
    if rest is None:
        return write_verbatim({key: value for key, value in members.items() if key != _KEY})
    return write_verbatim({**members, _KEY: rest})


def rest_of(metadata: str | None) -> str | None:
    """The rest of the line that a context was imported from; None if there is none."""
    if metadata is None:
        return None
    tree = parse_verbatim(metadata)
    rest = tree.get(_KEY) if isinstance(tree, dict) else None
    return rest if isinstance(rest, str) else None


def _members(metadata: str | None) -> dict[str, Verbatim]:
    tree = {} if metadata is None else parse_verbatim(metadata)
    if not isinstance(tree, dict):
        raise CallerError(
            "the metadata of this context is no JSON object, so the other keys of the line can't"
            " be kept in it",
            hint="import it under another id, or set the metadata to an object",
        )
    return tree
