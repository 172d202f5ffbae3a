"""Who may touch notes: a bearer of the right `write`, not one that may only append.

What only appends sets keys of the roots `events` and `streams`. A struct that names another root,
or no root, because it stands behind something that is there, is refused by its bytes. A delete
says in its bytes only whose elements it takes away: so those are looked up, among what comes with
it and in the journal, newest first, and have to be such keys. That is how a stream ends: its pieces
go when its event is there.

Foreign records were written by a relay that has asked the same of its client, and come with its
certificate. Must never know: links, tokens.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from weft_engine.errors import LinkRefused
from weft_engine.limits import MIB
from weft_engine.names import ClientId, ContextName, Incarnation, Position
from weft_engine.records.envelope import Kind, Record, decode_envelope
from weft_engine.records.identity import client_id
from weft_engine.storage import reading
from weft_engine.sync.driving.inspection import Inspected
from weft_engine.yjs.encoder import EVENTS_ROOT, STREAMS_ROOT
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Kind as StructKind
from weft_engine.yjs.update import Struct, Update
from weft_server.elements import Elements

T = TypeVar("T")

DELETED_RANGES_MAX: Final = 8192
"""Ranges that records of one context in one message may delete. A stream is one, unless its writer
appended beside it."""
_LOOKED_AT_MAX: Final = 20_000
"""Records. What was broken off ends when its store is opened again, so its pieces are not far."""
_LOOKED_AT_BYTES_MAX: Final = 64 * MIB
_LOOKED_AT_PER_RECORD: Final = 4
"""So many are as much work as taking one record in: who makes the relay look far pays for it."""
_STEP_RECORDS: Final = 512
_STEP_BYTES: Final = 4 * MIB
"""Looked at before other questions to the journal have their turn."""
_INLINE_BYTES_MAX: Final = 16 * 1024
"""Read on the event loop, in about a millisecond; more goes to a thread."""


class Journal(Protocol):
    """What is asked of a journal."""

    async def read(self, question: Callable[[sqlite3.Connection], T], /) -> T: ...


async def refuse_notes(
    journal: Journal,
    offered: Inspected,
    settled: Callable[[], Awaitable[None]],
    pace: Callable[[int], Awaitable[None]],
) -> None:
    """LinkRefused if one of these sound records does more than add to events and streams. Once
    `settled` is awaited, what was offered before is in the journal. `pace` is told of the work that
    a look-up is, as of so many records."""
    size = sum(len(record.payload) for record in offered.records)
    if size <= _INLINE_BYTES_MAX:
        deleted = deletes_of_appends(offered.records)
    else:
        deleted = await asyncio.to_thread(deletes_of_appends, offered.records)
    if deleted:
        await settled()
    for context, (record, left) in deleted.items():
        if not await _are_appends(journal, context, left, pace):
            raise _refused(record, "deletes what stands in no events or streams")


def deletes_of_appends(records: Sequence[Record]) -> dict[ContextName, tuple[Record, Elements]]:
    """What these records delete and do not bring themselves, by context, with the last record that
    deletes something there. LinkRefused if one brings more than keys of `events` and `streams`."""
    updates = [
        (record, read_update(record.payload))
        for record in records
        if record.envelope.kind is Kind.NATIVE
    ]
    deletes: dict[ContextName, list[tuple[ClientId, int, int]]] = {}
    last: dict[ContextName, Record] = {}
    for record, update in updates:
        if not all(_is_append(struct) for struct in update.structs):
            raise _refused(record, "touches a note")
        if update.deletes:
            context = record.envelope.context
            last[context] = record
            some = deletes.setdefault(context, [])
            some += update.deletes
            if len(some) > DELETED_RANGES_MAX:
                raise _refused(record, f"deletes more than {DELETED_RANGES_MAX} ranges")
    found: dict[ContextName, tuple[Record, Elements]] = {}
    for context, some in deletes.items():
        left = Elements(some)
        for record, update in updates:
            if record.envelope.context == context:
                _take_appends(left, update)
        if left:
            found[context] = (last[context], left)
    return found


async def _are_appends(
    journal: Journal,
    context: ContextName,
    left: Elements,
    pace: Callable[[int], Awaitable[None]],
) -> bool:
    """Whether the journal holds all these elements as keys of `events` and `streams`."""
    looked = _Looked(None, 0, 0)
    while left and looked.records < _LOOKED_AT_MAX and looked.size < _LOOKED_AT_BYTES_MAX:
        step = await journal.read(partial(_look, context=context, left=left, before=looked.before))
        looked = _Looked(step.before, looked.records + step.records, looked.size + step.size)
        await pace(step.records // _LOOKED_AT_PER_RECORD)
        if step.before is None:
            break
    return not left


@dataclass(frozen=True, slots=True)
class _Looked:
    before: Position | None
    """Where to go on, None at the context's beginning."""
    records: int
    size: int


def _look(
    connection: sqlite3.Connection,
    *,
    context: ContextName,
    left: Elements,
    before: Position | None,
) -> _Looked:
    """Take what some records before a position hold as such keys out of `left`."""
    state = reading.context(connection, context)
    if state is None:
        return _Looked(None, 0, 0)
    rows = connection.execute(
        "SELECT position, envelope, payload FROM records WHERE context = ? AND position < ?"
        " ORDER BY position DESC LIMIT ?",
        (state.id, state.position + 1 if before is None else before, _STEP_RECORDS),
    )
    clients: dict[Incarnation, ClientId] = {}
    records = size = 0
    at: Position | None = None
    for at, envelope_bytes, payload in rows:
        records, size = records + 1, size + len(payload)
        envelope = decode_envelope(envelope_bytes)
        client = clients.get(envelope.origin)
        if client is None:
            client = clients[envelope.origin] = client_id(envelope.origin, context)
        if envelope.kind is Kind.NATIVE and left.has_of(client):
            _take_appends(left, read_update(payload))
        if not left or size > _STEP_BYTES:
            return _Looked(at, records, size)
    return _Looked(at if records == _STEP_RECORDS else None, records, size)


def _take_appends(left: Elements, update: Update) -> None:
    for struct in update.structs:
        if struct.kind is not StructKind.SKIP and _is_append(struct):
            left.take(struct.client, struct.clock, struct.clock + struct.length)


def _is_append(struct: Struct) -> bool:
    if struct.kind in (StructKind.GC, StructKind.SKIP):
        return True  # Nothing is in it any more, or nothing was.
    return struct.key is not None and struct.parent in (EVENTS_ROOT, STREAMS_ROOT)


def _refused(record: Record, what: str) -> LinkRefused:
    return LinkRefused(
        f"record {record.hash.hex()[:16]} of context {record.envelope.context!r} {what}, for which"
        " the token needs the right write",
        hint="ask for a token with the right write; the right append is for events only",
    )
