"""What an end asks its store to find out what the peer holds of a context (`end.regions.zooming`).

Must never know: the session.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.storage import ancestry, context_rows, reading
from weft_engine.storage.ancestry import Chains


@dataclass(frozen=True, slots=True)
class ReadShared:
    """Which of these are journaled here: of each context some hashes."""

    lists: tuple[tuple[ContextName, tuple[RecordHash, ...]], ...]


@dataclass(frozen=True, slots=True)
class SharedRead:
    question: ReadShared
    held: tuple[frozenset[RecordHash] | None, ...]
    """None where nothing of the context is here."""


@dataclass(frozen=True, slots=True)
class ReadChains:
    """The chains of a context, as `ancestry.chains` says."""

    context: ContextName
    frontier: tuple[RecordHash, ...]
    records_max: int
    told: Position | None


@dataclass(frozen=True, slots=True)
class ChainsRead:
    context: ContextName
    chains: Chains


def read_shared(connection: sqlite3.Connection, question: ReadShared) -> SharedRead:
    """All of them together: most lists are one hash long."""
    ids = context_rows.ids_of(connection, [name for name, _ in question.lists])
    places = reading.places_of(connection, [one for _, hashes in question.lists for one in hashes])
    held: list[frozenset[RecordHash] | None] = []
    for name, hashes in question.lists:
        id_ = ids.get(name)
        if id_ is None:
            held.append(None)
        else:
            held.append(
                frozenset([one for one in hashes if one in places and places[one][0] == id_])
            )
    return SharedRead(question, tuple(held))


def read_chains(connection: sqlite3.Connection, question: ReadChains) -> ChainsRead:
    state = reading.context(connection, question.context)
    assert state is not None, "what was announced is here"
    chains = ancestry.chains(
        connection,
        state.id,
        question.frontier,
        records_max=question.records_max,
        told=question.told,
    )
    return ChainsRead(question.context, chains)
