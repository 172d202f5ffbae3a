"""Where the candidates of a context's records stand. Must never know: documents, who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from weft_engine.document.authoring import candidate_ids
from weft_engine.names import ContextName, Position
from weft_engine.records.envelope import Kind
from weft_engine.replica.pages import page
from weft_engine.storage import reading
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.ledger import Stored
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Id


async def held_candidates(journal: SqliteJournal, name: ContextName, upto: Position) -> set[Id]:
    """Those of all records up to a position."""
    held: set[Id] = set()
    state = await journal.read(lambda connection: reading.context(connection, name))
    after = Position(0)
    while state is not None and after < upto:
        some = await journal.read(partial(page, state.id, after))
        held |= await asyncio.to_thread(_of, some)
        after = some[-1].position
    return held


def _of(some: Sequence[Stored]) -> set[Id]:
    return {
        one
        for stored in some
        if stored.record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN)
        for one in candidate_ids(read_update(stored.record.payload))
    }
