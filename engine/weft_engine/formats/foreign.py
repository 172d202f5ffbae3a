"""Fields of foreign messages, read from a tree that keeps how they were written.

Must never know: any format.
"""

from __future__ import annotations

from collections.abc import Mapping

from weft_engine.errors import InvalidMessage
from weft_engine.formats.verbatim_json import Pairs, Verbatim, well_formed

Members = Mapping[str, Verbatim]


def object_of(tree: Verbatim, path: str) -> Members:
    """The members of an object. InvalidMessage if it is none."""
    if isinstance(tree, dict):
        return tree
    if isinstance(tree, Pairs):  # the last one counts, as in every common reader
        return dict(tree.items)
    raise InvalidMessage("must be an object", path=path)


def array_of(members: Members, key: str, path: str) -> list[Verbatim]:
    value = members.get(key)
    if isinstance(value, list):
        return value
    problem = "must be an array" if key in members else "missing"
    raise InvalidMessage(problem, path=f"{path}.{key}")


def string_of(members: Members, key: str, path: str) -> str:
    value = members.get(key)
    if isinstance(value, str):
        return well_formed(value)
    problem = "must be a string" if key in members else "missing"
    raise InvalidMessage(problem, path=f"{path}.{key}")


def optional_string(members: Members, key: str, path: str) -> str | None:
    value = members.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        return well_formed(value)
    raise InvalidMessage("must be a string or null", path=f"{path}.{key}")


def string_or(members: Members, key: str, default: str | None) -> str | None:
    """The string under `key`, or `default` where there is none: for what only decorates."""
    value = members.get(key)
    return well_formed(value) if isinstance(value, str) else default
