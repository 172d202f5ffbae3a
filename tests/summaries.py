"""Helpers for tests of summaries: what stands according to the definition, found the slow way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b

from tests.stores import all_records
from weft_engine.events.codec import decode_event
from weft_engine.events.event import Branch, Event, Revoke, Summary
from weft_engine.events.row import MESSAGE, Row
from weft_engine.names import EventId, Position, RecordHash
from weft_engine.records.frontier import Frontier
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.storage.event_table import EventTable
from weft_engine.storage.lineage import Lineage
from weft_engine.storage.summaries import standing_summary
from weft_engine.views.marks import StandingSummary


async def stands(
    replica: Replica, name: str, branch: EventId | None = None
) -> StandingSummary | None:
    """As views find it: with what is remembered."""
    context = replica.context(name)
    return await replica.ask(
        context.name, lambda table, _: standing_summary(Lineage(table, branch))
    )


async def stands_at(
    replica: Replica, context: Context, cut: Frontier | None = None
) -> StandingSummary | None:
    """At a cut, or the present one, from an index made for it: where nothing is remembered."""
    if cut is None:
        cut = await context.frontier()
    if not cut:
        return None
    try:
        return await replica.ask_at(
            context.name, cut, lambda table, _: standing_summary(Lineage(table, context.branch_id))
        )
    finally:
        await replica.cuts.forget(context.name)


async def by_definition(replica: Replica, context: Context) -> StandingSummary | None:
    """The summary that stands on a branch, from the records and the reading order alone. Leaves out
    the rule on tool calls."""
    records = {
        one.record.hash: one
        for one in await all_records(replica)
        if one.record.envelope.context == context.name
    }

    def past(hashes: Iterable[RecordHash]) -> set[Position]:
        found: set[RecordHash] = set()
        open_ = [hash_ for hash_ in hashes if hash_ in records]
        while open_:
            hash_ = open_.pop()
            if hash_ not in found:
                found.add(hash_)
                open_.extend(records[hash_].record.envelope.parents)
        return {records[hash_].position for hash_ in found}

    def question(table: EventTable, _: object) -> list[tuple[Row, Event]]:
        rows = table.by_time(after=None, before=None, limit=1 << 30)
        bodies = table.bodies(rows)
        return [(row, decode_event(bodies[row.key])) for row in rows]

    everything = await replica.ask(context.name, question) or []
    by_id = {row.id: (row, event) for row, event in everything}
    way: list[tuple[EventId | None, Callable[[Row], bool]]] = [(context.branch_id, lambda _: True)]
    while (branch := way[-1][0]) is not None:
        _, event = by_id[branch]
        assert isinstance(event.body, Branch)
        way.append((event.branch, _within(past(event.body.frontier), event.body)))

    def included(row: Row, event: Event) -> bool:
        for branch, shares in way:
            if not shares(row):
                return False
            if event.branch == branch:
                return True
        return False

    events = [(row, event.body) for row, event in everything if included(row, event)]
    revoked: set[EventId] = set()
    for row, body in sorted(events, key=lambda e: e[0].key, reverse=True):
        if not isinstance(body, Revoke) or row.id in revoked or body.target not in by_id:
            continue
        if by_id[body.target][0].key < row.key:
            revoked.add(body.target)
    order = [said.id for said in await context.page(limit=1000)]
    shown = [by_id[id_][0] for id_ in order]
    messages = [row for row, _ in events if row.kind == MESSAGE]
    best: StandingSummary | None = None
    for row, body in events:
        if not isinstance(body, Summary) or row.id in revoked:
            continue
        inside = past(body.covers)
        end = None if body.upto is None else by_id.get(body.upto)

        def lies(
            one: Row,
            inside: set[Position] = inside,
            end: Row | None = None if end is None else end[0],
        ) -> bool:
            behind = end is not None and one.position == end.position and one.id > end.id
            return one.position in inside and not behind

        covered: dict[EventId, bytes] = {}
        for one in shown:
            alike = [one]
            if one.digest is not None:
                alike = [member for member in messages if member.digest == one.digest]
            keys = [member.key for member in alike if lies(member)]
            if keys:
                covered[one.id] = min(keys)[8:]
        digest = blake2b(
            b"".join(sorted(covered.values())), digest_size=32, person=b"weft-summary"
        ).hexdigest()
        if len(covered) != body.count or digest != body.digest:
            continue
        last = max(order.index(id_) for id_ in covered)
        late = frozenset(order[:last]).difference(covered)
        found = StandingSummary(row.key, row.id, body.text, body.count, order[last], late)
        if best is None or (-found.count, found.id) < (-best.count, best.id):
            best = found
    return best


def _within(shared: set[Position], body: Branch) -> Callable[[Row], bool]:
    """What a branch shares with its parent. (An honest one names records of its own past.)"""

    def shares(one: Row) -> bool:
        if body.upto is not None and one.position == max(shared):
            return one.id <= body.upto
        return one.position in shared

    return shares
