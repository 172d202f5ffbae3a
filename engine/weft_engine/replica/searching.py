"""Full-text search in one open store.

Nothing is indexed while something is written. The first search makes the index; each search first
brings it up with all that was committed before it was called; from then on what is written is
indexed in small steps whenever writing pauses. Must never know: how the index is kept.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from weft_engine.background import begin
from weft_engine.errors import MachineError
from weft_engine.events.codec import decode_event
from weft_engine.events.event import Message
from weft_engine.events.row import MESSAGE, id_bytes
from weft_engine.names import ContextName, EventId, NoteName
from weft_engine.replica.search_hit import KIND_NAMES, Hit, check_page, labels, milliseconds
from weft_engine.replica.search_indexing import SearchIndexing
from weft_engine.storage import search_scope
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.lineage import Lineage, no_branch
from weft_engine.storage.reading import ContextState
from weft_engine.storage.search_finding import Choice, Found, find
from weft_engine.storage.search_query import Query, parse
from weft_engine.storage.search_scope import Scope
from weft_engine.storage.search_snippet import snippet
from weft_engine.storage.search_text import searchable

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica

_FIRST: Final = 64
_GROWTH: Final = 4
_IDLE_S: Final = 0.25
_RETRY_S: Final = 1.0
_REST: Final = 4
"""In the background, so many times as long as a step took nothing is done."""


@dataclass(frozen=True, slots=True)
class _Asked:
    scope: Scope
    query: Query
    choice: Choice
    newest_first: bool
    notes: bool
    """Whether notes can be among the hits."""


class Searching:
    """Costs nothing before the first search."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._indexing = SearchIndexing(replica)
        self._turn = asyncio.Lock()
        self._is_used = False
        self._is_busy = False
        self._lagging: set[ContextName] = set()
        self._background: asyncio.Task[None] | None = None
        self._closed = False

    async def find(
        self,
        query: str,
        *,
        context: ContextName | None = None,
        branch: EventId | None = None,
        prefix: str = "",
        kind: str | None = None,
        role: str | None = None,
        author: str | None = None,
        since: datetime | int | None = None,
        until: datetime | int | None = None,
        order: str = "relevance",
        limit: int = 20,
        offset: int = 0,
    ) -> list[Hit]:
        """What matches in one context, or in all whose names start with `prefix`; with `branch`, of
        what that branch of `context` shows. See `Context.search`."""
        check_page(order, limit, offset)
        asked = _Asked(
            scope=Scope(context, prefix),
            query=parse(query),
            choice=Choice(
                None, labels(kind, role, author), milliseconds(since), milliseconds(until)
            ),
            newest_first=order == "newest",
            notes=kind in (None, "note"),
        )
        if branch is None or context is None:
            hits = await self._page(asked, offset, limit)
        else:
            hits = (await self._on_branch(asked, context, branch, offset + limit))[offset:]
        return await self._with_notes(hits, asked.query)

    def note(self, context: ContextName) -> None:
        """Records were journaled in `context`; what they say is indexed soon, if this store is
        searched."""
        if self._is_used and not self._closed:
            self._is_busy = True
            self._lagging.add(context)
            if self._background is None:
                self._background = begin(self._follow(), name="weft-search")

    async def close(self) -> None:
        """Stop; what is not indexed is left to the next search."""
        self._closed = True
        if self._background is not None:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)
            self._background = None
        await self._indexing.close()

    # ---- inside -------------------------------------------------------------------------------

    async def _page(self, asked: _Asked, offset: int, limit: int) -> list[Hit]:
        async with self._turn:
            while True:
                await self._indexing.begin()
                self._is_used = not self._replica.journal.readonly
                await self._indexing.catch_up(asked.scope, notes=asked.notes)
                hits = await self._indexing.run(partial(self._hits, asked, offset, limit))
                if hits is not None:
                    return hits

    async def _on_branch(
        self, asked: _Asked, context: ContextName, branch: EventId, wanted: int
    ) -> list[Hit]:
        """The first `wanted`: more is looked for until as many are the branch's."""
        count = max(_FIRST, wanted)
        while True:
            hits = await self._page(asked, 0, count)
            ids = [hit.id for hit in hits if hit.id is not None]
            shown = await self._replica.ask(context, partial(_shown, branch, ids))
            if shown is None:
                raise no_branch(branch)
            here = [hit for hit in hits if hit.id is None or hit.id in shown]
            if len(here) >= wanted or len(hits) < count:
                return here[:wanted]
            count *= _GROWTH

    def _hits(
        self, asked: _Asked, offset: int, limit: int, connection: sqlite3.Connection
    ) -> list[Hit] | None:
        """On the thread of searches; those of notes without their snippets. None if something was
        dropped meanwhile."""
        connection.execute("BEGIN")  # all of it is of one moment
        try:
            sources = self._indexing.sources(connection)
            if sources is None:
                return None
            found = find(
                connection,
                sources,
                asked.query,
                replace(asked.choice, contexts=search_scope.contexts(connection, asked.scope)),
                newest_first=asked.newest_first,
                count=offset + limit,
            )[offset:]
            names = search_scope.names(connection, frozenset(one.context for one in found))
            return [_hit(connection, names[one.context], one, asked.query) for one in found]
        finally:
            connection.execute("ROLLBACK")

    async def _with_notes(self, hits: list[Hit], query: Query) -> list[Hit]:
        """The same with the snippets of notes; one that was erased meanwhile is left out."""
        texts: dict[ContextName, dict[NoteName, str]] = {}
        found: list[Hit] = []
        for hit in hits:
            if hit.note is None:
                found.append(hit)
                continue
            if hit.context not in texts:
                texts[hit.context], _ = await self._replica.context(hit.context).note_texts()
            text = texts[hit.context].get(hit.note)
            if text is not None:
                cut, marks = snippet(text, query)
                found.append(replace(hit, snippet=cut, marks=marks))
        return found

    async def _follow(self) -> None:
        """Wait until writing pauses, then index what lags, with rests between the steps."""
        loop = asyncio.get_running_loop()
        while self._lagging:
            while self._is_busy:
                self._is_busy = False
                await asyncio.sleep(_IDLE_S)
            name = min(self._lagging)
            since_s = loop.time()
            try:
                async with self._turn:
                    await self._indexing.begin()
                    if not await self._indexing.step(name):
                        self._lagging.discard(name)
            except MachineError:
                # Whoever searches or writes is told; here nobody listens.
                await asyncio.sleep(_RETRY_S)
            await asyncio.sleep(_REST * (loop.time() - since_s))
        self._background = None


def _shown(
    branch: EventId, ids: Sequence[EventId], table: EventTable, _: ContextState
) -> frozenset[EventId]:
    """Those that a branch shows, or that have their effect there."""
    order = Lineage(table, branch)
    return frozenset(
        row.id
        for row in order.by_ids(map(id_bytes, ids)).values()
        if (row.place is not None if row.kind == MESSAGE else order.includes(row))
    )


def _hit(connection: sqlite3.Connection, context: ContextName, one: Found, query: Query) -> Hit:
    if one.note is not None:
        return Hit(
            context, KIND_NAMES[one.kind], None, one.note, None, None, None,
            one.time_ms, "", (), one.score,
        )  # fmt: skip
    (payload,) = connection.execute(
        "SELECT payload FROM main.records WHERE position = ?", (one.position,)
    ).fetchone()
    event = decode_event(payload[one.start : one.start + one.size])
    cut, marks = snippet(searchable(event.body), query)
    return Hit(
        context=context,
        kind=KIND_NAMES[one.kind],
        id=EventId(f"{one.key[8:16].hex()}-{one.key[16:].hex()}"),
        note=None,
        role=event.body.role if isinstance(event.body, Message) else None,
        author=event.author,
        branch=event.branch,
        time_ms=one.time_ms,
        snippet=cut,
        marks=marks,
        score=one.score,
    )
