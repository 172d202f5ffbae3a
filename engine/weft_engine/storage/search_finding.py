"""Asking the full-text index: which events and notes match, in which order.

Each shard is asked for its best or newest, as many as are wanted; what comes back is checked
against the event index, and more is asked for where too much of it no longer stands. Scores are
those of BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009) as FTS5
computes them; each shard weighs words by how rare they are in it alone, so its scores are brought
to the weights of the whole. Must never know: texts, who asks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log
from typing import Final

from weft_engine.names import Hlc, NoteName, Position
from weft_engine.records.clock import hlc_ms
from weft_engine.storage.search_query import Query
from weft_engine.storage.search_tables import WORDS

_FIRST: Final = 64
_GROWTH: Final = 4
_CHUNK: Final = 256
_LABELS_MAX: Final = 64
"""Contexts that are looked for by their labels; more are picked from what is found."""
_LEAST_WEIGHT: Final = 1e-6
"""FTS5 gives it to words of more than half of the rows."""
_COLUMNS: Final = "e.id, v.context, v.key, v.position, v.start, v.size, v.kind, v.role"
_STANDS: Final = "v.context = e.context AND v.key = e.key AND v.position = e.position WHERE TRUE"
_IN_STORE: Final = (
    f"SELECT {_COLUMNS} FROM main.search_entries AS e CROSS JOIN main.events AS v ON {_STANDS}"
)
_IN_MEMORY: Final = (
    f"SELECT {_COLUMNS} FROM temp.search_entries AS e CROSS JOIN temp.search_rows AS v ON {_STANDS}"
)
_NOT_IN_MEMORY: Final = (
    " AND NOT EXISTS (SELECT 1 FROM temp.search_rows AS r"
    " WHERE r.context = e.context AND r.id = substr(e.key, 9))"
)
_OF_CLASS: Final = (
    "SELECT m.key FROM main.events AS m WHERE m.context = v.context AND m.class = v.class"
    " AND m.branch = v.branch"
)
_OF_CLASS_IN_MEMORY: Final = _OF_CLASS.replace("main.events", "temp.search_rows")


@dataclass(frozen=True, slots=True)
class Source:
    """An index: in the store (``main``) or in the connection's memory (``temp``), which then says
    more of an event than the store does. `without_notes`: contexts whose notes it does not know."""

    schema: str = "main"
    is_completed: bool = False
    """Whether there is one in memory beside it."""
    without_notes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of all are wanted. `contexts` by id, None for all; `labels`: alternatives, one of each
    of which must be there; `since_ms` and `until_ms` are both within."""

    contexts: frozenset[int] | None
    labels: tuple[tuple[str, ...], ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None

    def takes(self, context: int, time_ms: int) -> bool:
        return (
            (self.contexts is None or context in self.contexts)
            and (self.since_ms is None or time_ms >= self.since_ms)
            and (self.until_ms is None or time_ms <= self.until_ms)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """An event (`key`, and where it stands) or a note (`note`)."""

    context: int
    time_ms: int
    score: float
    kind: int = 0
    role: int = 0
    key: bytes = b""
    position: Position = Position(0)  # noqa: RUF009 - an int
    start: int = 0
    size: int = 0
    note: NoteName | None = None


@dataclass(frozen=True, slots=True)
class _Shard:
    source: Source
    number: int
    is_notes: bool
    entries: int

    @property
    def name(self) -> str:
        return f"{WORDS}{self.number}"

    @property
    def table(self) -> str:
        return f"{self.source.schema}.{self.name}"


def find(
    connection: sqlite3.Connection,
    sources: Sequence[Source],
    query: Query,
    choice: Choice,
    *,
    newest_first: bool,
    count: int,
) -> list[Found]:
    """The best `count` of what matches, or the newest."""
    shards = [shard for source in sources for shard in _shards(connection, source)]
    factors = [1.0] * len(shards) if newest_first else _factors(connection, shards, query)
    found: list[Found] = []
    for shard, factor in zip(shards, factors, strict=True):
        if factor:
            matching = _matching(connection, shard, query, choice, factor, newest_first)
            found.extend(islice(matching, count))
    # Ties stay as the shards gave them, so that one page of hits goes on where another ended.
    found.sort(key=lambda one: -one.time_ms if newest_first else -one.score)
    return found[:count]


def _shards(connection: sqlite3.Connection, source: Source) -> list[_Shard]:
    rows = connection.execute(
        f"SELECT shard, is_notes, entries FROM {source.schema}.search_shards ORDER BY shard DESC"
    )
    return [_Shard(source, row[0], bool(row[1]), row[2]) for row in rows.fetchall()]


def _factors(connection: sqlite3.Connection, shards: Sequence[_Shard], query: Query) -> list[float]:
    """By which the scores of each shard are to be multiplied; 0 where nothing can match."""
    if len(shards) == 1:
        return [1.0]
    phrases = query.phrases
    counts = [
        [
            connection.execute(
                f"SELECT count(*) FROM {shard.table} WHERE {shard.name} MATCH ?",
                (f"text : {phrase.expression}",),
            ).fetchone()[0]
            for phrase in phrases
        ]
        for shard in shards
    ]
    entries = sum(shard.entries for shard in shards)
    totals = [_weight(entries, sum(column)) for column in zip(*counts, strict=True)]
    factors: list[float] = []
    for shard, row in zip(shards, counts, strict=True):
        here = [
            (total, _weight(shard.entries, matching))
            for total, matching in zip(totals, row, strict=True)
            if matching
        ]
        own = sum(weight for _, weight in here)
        factors.append(sum(total for total, _ in here) / own if here else 0.0)
    return factors


def _weight(entries: int, matching: int) -> float:
    """How much a phrase counts that stands in `matching` of so many."""
    return max(log((max(entries - matching, 0) + 0.5) / (matching + 0.5)), _LEAST_WEIGHT)


def _matching(
    connection: sqlite3.Connection,
    shard: _Shard,
    query: Query,
    choice: Choice,
    factor: float,
    newest_first: bool,
) -> Iterator[Found]:
    """What matches in one shard and still stands, in order."""
    expression = _expression(query, choice)
    if newest_first:
        table, time = ("search_notes", "time_ms") if shard.is_notes else ("search_entries", "key")
        question = (
            f"SELECT w.rowid, 0.0 FROM {shard.table} AS w"
            f" CROSS JOIN {shard.source.schema}.{table} AS e ON e.id = w.rowid"
            f" WHERE w.{shard.name} MATCH ? ORDER BY e.{time} DESC, e.id DESC LIMIT ? OFFSET ?"
        )
    else:
        question = (
            f"SELECT rowid, rank FROM {shard.table} WHERE {shard.name} MATCH ?"
            " ORDER BY rank, rowid DESC LIMIT ? OFFSET ?"
        )
    limit, offset = _FIRST, 0
    while True:
        rows = connection.execute(question, (expression, limit, offset)).fetchall()
        scores = {id_: 0.0 if newest_first else -rank * factor for id_, rank in rows}
        known = (
            _notes(connection, shard, scores)
            if shard.is_notes
            else _events(connection, shard, scores)
        )
        for id_ in scores:
            one = known.get(id_)
            if one is not None and choice.takes(one.context, one.time_ms):
                yield one
        if len(rows) < limit:
            return
        offset += limit
        limit *= _GROWTH


def _expression(query: Query, choice: Choice) -> str:
    labels = list(choice.labels)
    if choice.contexts is not None and len(choice.contexts) <= _LABELS_MAX:
        labels.append(tuple(f"c{context}" for context in sorted(choice.contexts)) or ("none",))
    terms = [f"labels : ({' OR '.join(alternatives)})" for alternatives in labels]
    return " AND ".join([*terms, f"text : ({query.expression})"])


def _events(
    connection: sqlite3.Connection, shard: _Shard, scores: dict[int, float]
) -> dict[int, Found]:
    """Those of these entries whose event still stands in the record it was indexed from, and of a
    class of imports only the one that is shown on its branch."""
    source = shard.source
    question = _IN_MEMORY if source.schema == "temp" else _IN_STORE
    classes = f"({_OF_CLASS}" + (
        f" UNION ALL {_OF_CLASS_IN_MEMORY})" if source.is_completed else ")"
    )
    if source.is_completed and source.schema == "main":
        question += _NOT_IN_MEMORY
    found: dict[int, Found] = {}
    ids = list(scores)
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        for id_, context, key, position, begin, size, kind, role in connection.execute(
            f"{question} AND (v.class IS NULL OR v.key = (SELECT min(key) FROM {classes}))"
            f" AND e.id IN ({','.join('?' * len(some))})",
            some,
        ):
            time_ms = hlc_ms(Hlc(int.from_bytes(key[:8], "big")))
            found[id_] = Found(
                context, time_ms, scores[id_], kind, role, key, Position(position), begin, size
            )
    return found


def _notes(
    connection: sqlite3.Connection, shard: _Shard, scores: dict[int, float]
) -> dict[int, Found]:
    found: dict[int, Found] = {}
    ids = list(scores)
    for start in range(0, len(ids), _CHUNK):
        some = ids[start : start + _CHUNK]
        for id_, context, name, time_ms in connection.execute(
            f"SELECT id, context, name, time_ms FROM {shard.source.schema}.search_notes"
            f" WHERE is_current = 1 AND id IN ({','.join('?' * len(some))})",
            some,
        ):
            if context not in shard.source.without_notes:
                found[id_] = Found(context, time_ms, scores[id_], note=NoteName(name))
    return found
