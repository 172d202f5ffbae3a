"""Reading from the event index what events beside the messages amount to: pins, hides, facts.

Every event of these kinds is looked at, so loading takes time by their number: about 30 us each,
3 us if a memo knows them. Who makes views keeps the answer until one more of them comes. Must never
know: budgets, windows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from weft_engine.events.codec import decode_event
from weft_engine.events.event import Body, Close, Event, Fact, Hide, Message, Pin, Revoke, Role
from weft_engine.events.facts import FactBook, SaidFact
from weft_engine.events.part import Result
from weft_engine.events.row import KINDS, MESSAGE, ROLES, Row, id_bytes
from weft_engine.events.standing import Revocation, Standing
from weft_engine.names import EventId
from weft_engine.views.marks import Marks, StandingPin, StandingSummary

_TOOL: Final = ROLES[Role.TOOL]
_CHUNK_ROWS: Final = 256
_CHUNK_BYTES: Final = 4 * 1024 * 1024

MEMO_BYTES_MAX: Final = 16 * 1024 * 1024
_EVENT_BYTES: Final = 512
"""What an event takes in memory beside its text."""

Includes = Callable[[Row, Event], bool]
"""Whether an event has effect in the branch that is looked at."""


class MarkTable(Protocol):
    """An event index, or what a branch sees of one."""

    def of_kind(self, kind: int) -> Sequence[Row]: ...

    def bodies(self, rows: Sequence[Row]) -> Mapping[bytes, bytes]: ...

    def by_ids(self, ids: Iterable[bytes]) -> Mapping[bytes, Row]: ...

    def by_classes(self, digests: Iterable[bytes]) -> Mapping[bytes, Sequence[Row]]: ...


@dataclass(frozen=True, slots=True)
class Stated:
    """The events of one kind that stand, by (time, id)."""

    key: bytes
    id: EventId
    event: Event


class EventMemo:
    """Events that were read before, by where they stand, so that they need not be decoded again.
    Bounded: what goes beyond is read each time. Used by one thread at a time."""

    __slots__ = ("_bytes", "_events")

    def __init__(self) -> None:
        self._events: dict[tuple[bytes, int, int], Event] = {}
        self._bytes = 0

    def find(self, row: Row) -> Event | None:
        return self._events.get((row.key, row.position, row.start))

    def keep(self, row: Row, event: Event) -> None:
        if self._bytes + row.size + _EVENT_BYTES <= MEMO_BYTES_MAX:
            self._bytes += row.size + _EVENT_BYTES
            self._events[row.key, row.position, row.start] = event


def on_main(row: Row, event: Event) -> bool:
    return event.branch is None


def load_marks(
    table: MarkTable,
    *,
    includes: Includes = on_main,
    summary: StandingSummary | None = None,
    memo: EventMemo | None = None,
) -> Marks:
    """What stands in a branch at the cut that `table` is of. Pins and hides of imported messages
    name the id that they are shown under; those of a tool result, beside it, the message with the
    call, for both go together."""
    standing = load_standing(table, includes)
    pins = list(stated(table, Pin, standing, includes))
    hides = list(stated(table, Hide, standing, includes))
    shown = shown_ids(table, {_target(one) for one in (*pins, *hides)})
    callers = _callers(table, set(shown.values()))
    first_pins: dict[EventId, StandingPin] = {}
    for one in pins:
        for target in _meant(_target(one), shown, callers):
            first_pins.setdefault(target, StandingPin(one.key, target))
    hidden: dict[EventId, EventId] = {}
    for one in hides:
        for target in _meant(_target(one), shown, callers):
            hidden.setdefault(target, one.id)
    return Marks(
        pins=tuple(first_pins.values()),
        hidden=hidden,
        book=FactBook(load_facts(table, standing, includes, memo)),
        summary=summary,
        closes=tuple(one.key for one in stated(table, Close, standing, includes)),
    )


def load_standing(table: MarkTable, includes: Includes = on_main) -> Standing:
    """What the revokes of a branch leave standing."""
    revokes = []
    for row, event in _read(table, Revoke):
        if includes(row, event):
            assert isinstance(event.body, Revoke)
            revokes.append(Revocation(row.key, row.id, event.body.target))
    return Standing(revokes)


def load_facts(
    table: MarkTable,
    standing: Standing,
    includes: Includes = on_main,
    memo: EventMemo | None = None,
) -> list[SaidFact]:
    """The facts that are not revoked, by (time, id)."""
    said = []
    for one in stated(table, Fact, standing, includes, memo):
        assert isinstance(one.event.body, Fact)
        said.append(SaidFact(one.key, one.id, one.event.body))
    return said


def stated(
    table: MarkTable,
    kind: type[Body],
    standing: Standing,
    includes: Includes = on_main,
    memo: EventMemo | None = None,
) -> Iterator[Stated]:
    """The events of a kind that have effect in a branch, by (time, id)."""
    for row, event in _read(table, kind, memo):
        if standing.stands(row.key, row.id) and includes(row, event):
            yield Stated(row.key, row.id, event)


def shown_ids(table: MarkTable, targets: Collection[EventId]) -> dict[EventId, EventId]:
    """The ids under which messages are shown: of an import known under several ids, the least.
    What is no message is left out."""
    rows = table.by_ids([id_bytes(target) for target in sorted(targets)])
    shown: dict[EventId, EventId] = {}
    for row in rows.values():
        if row.kind != MESSAGE:
            continue
        shown[row.id] = row.id
        if row.place is None and row.digest is not None:
            members = table.by_classes([row.digest]).get(row.digest, ())
            shown[row.id] = next((m.id for m in members if m.place is not None), row.id)
    return shown


def _callers(table: MarkTable, messages: Collection[EventId]) -> dict[EventId, EventId]:
    """Of those that are tool results, the messages whose calls they name first."""
    rows = [
        row
        for row in table.by_ids([id_bytes(message) for message in sorted(messages)]).values()
        if row.role == _TOOL
    ]
    called: dict[EventId, EventId] = {}
    for row, event in _decoded(table, rows, None):
        assert isinstance(event.body, Message)
        named = [part.call for part in event.body.parts if isinstance(part, Result) and part.call]
        if named:
            called[row.id] = named[0].event
    shown = shown_ids(table, set(called.values()))
    return {id_: shown[caller] for id_, caller in called.items() if caller in shown}


def _meant(
    target: EventId, shown: Mapping[EventId, EventId], callers: Mapping[EventId, EventId]
) -> list[EventId]:
    id_ = shown.get(target)
    if id_ is None:
        return []
    return [id_, callers[id_]] if id_ in callers else [id_]


def _read(
    table: MarkTable, kind: type[Body], memo: EventMemo | None = None
) -> Iterator[tuple[Row, Event]]:
    """In chunks, so that no more than some of the bodies are in memory at once."""
    chunk: list[Row] = []
    size = 0
    for row in table.of_kind(KINDS[kind]):
        chunk.append(row)
        size += row.size
        if len(chunk) == _CHUNK_ROWS or size >= _CHUNK_BYTES:
            yield from _decoded(table, chunk, memo)
            chunk, size = [], 0
    yield from _decoded(table, chunk, memo)


def _decoded(
    table: MarkTable, rows: Sequence[Row], memo: EventMemo | None
) -> Iterator[tuple[Row, Event]]:
    known = {} if memo is None else {r.key: event for r in rows if (event := memo.find(r))}
    new = [row for row in rows if row.key not in known]
    bodies = table.bodies(new) if new else {}
    for row in rows:
        event = known.get(row.key)
        if event is None:
            event = decode_event(bodies[row.key])
            if memo is not None:
                memo.keep(row, event)
        yield row, event


def _target(one: Stated) -> EventId:
    body = one.event.body
    assert isinstance(body, (Pin, Hide))
    return body.target
