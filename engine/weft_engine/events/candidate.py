"""Candidates: what an update proposes as events, read from its bytes alone.

A candidate is a struct in the root map `events` with a key, without origin, that holds exactly one
string: a first set of that key. Whatever else an update visibly puts into `events` is an oddity,
listed so that it can be shown as a problem. A struct with an origin has no parent in its bytes,
so overwrites show in neither.
Must never know: records, which candidate wins, whether a key is a well-formed event id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from weft_engine.names import ClientId
from weft_engine.yjs.encoder import EVENTS_ROOT
from weft_engine.yjs.update import Kind, Struct, Update


@dataclass(frozen=True, slots=True)
class Candidate:
    client: ClientId
    clock: int
    key: str
    """Any string: the caller checks that it is an event id."""
    offset: int
    """Where the JSON begins in the update."""
    length: int
    """Bytes of the JSON, which is UTF-8 but may be no JSON."""


class OddityKind(StrEnum):
    NO_KEY = "no_key"
    """An item of a list or text under the name `events`."""
    DELETED = "deleted"
    """A set whose content was deleted or overwritten before the update was made."""
    NOT_ONE_STRING = "not_one_string"
    """A set of a number, an object, a nested type ..."""


@dataclass(frozen=True, slots=True)
class Oddity:
    client: ClientId
    clock: int
    key: str | None
    kind: OddityKind


def candidates(update: Update) -> tuple[Candidate, ...]:
    """In the order of the bytes; one key can come more than once."""
    return tuple(
        [
            Candidate(struct.client, struct.clock, struct.key, *struct.content)
            for struct in update.structs
            if struct.parent == EVENTS_ROOT
            and struct.key is not None
            and struct.kind is Kind.ANY
            and struct.content is not None
        ]
    )


def oddities(update: Update) -> tuple[Oddity, ...]:
    """What stands in `events` by the bytes alone and is no candidate, in the order of the bytes."""
    found: list[Oddity] = []
    for struct in update.structs:
        if struct.parent == EVENTS_ROOT:
            kind = _oddity(struct)
            if kind is not None:
                found.append(Oddity(struct.client, struct.clock, struct.key, kind))
    return tuple(found)


def _oddity(struct: Struct) -> OddityKind | None:
    if struct.key is None:
        return OddityKind.NO_KEY
    if struct.kind is Kind.ANY and struct.content is not None:
        return None
    return OddityKind.DELETED if struct.kind is Kind.DELETED else OddityKind.NOT_ONE_STRING
