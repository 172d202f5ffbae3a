"""Helpers for tests of summaries: what stands according to the definition, found the slow way."""

from __future__ import annotations

from hashlib import blake2b

from tests.stores import all_records
from weft_engine.events.codec import decode_event
from weft_engine.events.event import Revoke, Summary
from weft_engine.events.row import MESSAGE, Row
from weft_engine.names import EventId, Position, RecordHash
from weft_engine.records.frontier import Frontier
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.summaries import standing_summary
from weft_engine.views.marks import StandingSummary


async def stands(replica: Replica, name: str) -> StandingSummary | None:
    """As views find it: with what is remembered."""
    context = replica.context(name)
    return await replica.ask(context.name, lambda table, _: standing_summary(table))


async def stands_at(
    replica: Replica, context: Context, cut: Frontier | None = None
) -> StandingSummary | None:
    """At a cut, or the present one, from an index made for it: where nothing is remembered."""
    if cut is None:
        cut = await context.frontier()
    if not cut:
        return None
    try:
        return await replica.ask_at(context.name, cut, lambda table, _: standing_summary(table))
    finally:
        await replica.cuts.forget(context.name)


async def by_definition(replica: Replica, context: Context) -> StandingSummary | None:
    """The summary that stands, from the records and the reading order alone. Leaves out the rule on
    tool calls."""
    records = {
        one.record.hash: one
        for one in await all_records(replica)
        if one.record.envelope.context == context.name
    }

    def past(hashes: tuple[RecordHash, ...]) -> set[Position]:
        found: set[RecordHash] = set()
        open_ = list(hashes)
        while open_:
            hash_ = open_.pop()
            if hash_ not in found:
                found.add(hash_)
                open_.extend(records[hash_].record.envelope.parents)
        return {records[hash_].position for hash_ in found}

    def question(table: EventTable, _: object) -> list[tuple[Row, object, int | None]]:
        rows = table.by_time(after=None, before=None, limit=1 << 30)
        bodies = table.bodies(rows)
        return [(row, decode_event(bodies[row.key]).body, row.place) for row in rows]

    events = await replica.ask(context.name, question) or []
    revoked: set[EventId] = set()
    for row, body, _ in sorted(events, key=lambda e: e[0].key, reverse=True):
        if isinstance(body, Revoke) and row.id not in revoked:
            target = next((other for other, _, _ in events if other.id == body.target), None)
            if target is not None and target.key < row.key:
                revoked.add(body.target)
    messages = [row for row, _, _ in events if row.kind == MESSAGE]
    shown = sorted((row for row in messages if row.place is not None), key=lambda r: r.place or 0)
    best: StandingSummary | None = None
    for row, body, _ in events:
        if not isinstance(body, Summary) or row.id in revoked:
            continue
        inside = past(body.covers)
        end = next((other for other, _, _ in events if other.id == body.upto), None)

        def lies(one: Row, inside: set[Position] = inside, end: Row | None = end) -> bool:
            behind = end is not None and one.position == end.position and one.id > end.id
            return one.position in inside and not behind

        covered: dict[bytes, bytes] = {}
        for one in shown:
            alike = [m for m in messages if m.digest is not None and m.digest == one.digest]
            keys = [member.key for member in alike or [one] if lies(member)]
            if keys:
                covered[one.key] = min(keys)[8:]
        digest = blake2b(
            b"".join(sorted(covered.values())), digest_size=32, person=b"weft-summary"
        ).hexdigest()
        if len(covered) != body.count or digest != body.digest:
            continue
        order = [one for one in shown if one.key in covered]
        late = frozenset(
            one.id
            for one in shown
            if one.key not in covered and (one.place or 0) < (order[-1].place or 0)
        )
        found = StandingSummary(row.key, row.id, body.text, body.count, order[-1].id, late)
        if best is None or (-found.count, found.id) < (-best.count, best.id):
            best = found
    return best
