"""Reading from an index what views are built from: no more of the history than they need.

Walks back from the newest message until enough is found, goes on to the milestone before that,
and begins there.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Final

from weft_engine.errors import BudgetTooSmall
from weft_engine.events.event import Role
from weft_engine.events.row import ROLES, SESSION, Row, id_bytes
from weft_engine.names import EventId
from weft_engine.storage import tail
from weft_engine.storage.lineage import ReadingOrder
from weft_engine.storage.marks import load_marks
from weft_engine.storage.stated import EventMemo
from weft_engine.storage.windows import Hint
from weft_engine.views.cache import Shelf
from weft_engine.views.entry import Entry
from weft_engine.views.marks import Marks
from weft_engine.views.milestones import Chain
from weft_engine.views.plan import grid_of
from weft_engine.views.policy import LOOK_BACK
from weft_engine.views.room import Grid
from weft_engine.views.source import Earlier, Source
from weft_engine.views.spec import ViewSpec
from weft_engine.views.start import NeedMore

HINT_ROWS: Final = 256
"""A milestone that took more rows to find than this is worth a hint."""
_CHUNK: Final = 128
_ASSISTANT: Final = ROLES[Role.ASSISTANT]
_USER: Final = ROLES[Role.USER]
_TOOL: Final = ROLES[Role.TOOL]


@dataclass(frozen=True, slots=True)
class Loaded:
    """`hint`: a milestone worth remembering."""

    source: Source
    hint: Hint | None


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A milestone at `place`; `opening` is that of the last user message before it; `rows`: how
    many were looked at to find it."""

    place: int
    opening: int | None
    rows: int


def load_source(
    order: ReadingOrder,
    spec: ViewSpec,
    shelf: Shelf,
    *,
    need: NeedMore | None = None,
    rows: int = 0,
    memo: EventMemo | None = None,
) -> Loaded:
    """What the first view by `spec` needs, and what `need` says; at least `rows` messages. `memo`
    of the same order."""
    marks = load_marks(order, memo=memo)
    head_rows = tail.head_rows(order)
    head = tail.entries(order, head_rows)
    base = _base(order, head_rows, marks)
    grid = _grid(head, spec, shelf)
    tokens, limit = 0, None
    if need is not None:
        grid, tokens, limit, rows = need.grid, need.tokens, need.messages, max(rows, need.rows)
    elif grid is not None:
        tokens, limit = grid.window * 9 // 8, grid.limit
    newest, complete = _newest(order, base, tokens, limit, rows)
    anchor: _Anchor | None = None
    hint: Hint | None = None
    if not complete and grid is not None:
        anchor, hint = _anchor(order, grid, base, marks, newest[0])
        newest = _from(order, anchor.place, newest)
    found = tail.entries(order, newest)
    opening = None
    if anchor is not None and anchor.opening is not None:
        (opening,) = tail.entries(order, order.placed_before(anchor.opening + 1, 1))
    source = Source(
        head=head,
        tail=found,
        complete=complete,
        late=_late(order, marks),
        opening=opening,
        marks=marks,
        before=_before(
            order,
            marks,
            head_rows[-1].place if head_rows else None,
            newest[0].place if newest else None,
        ),
    )
    if anchor is not None and grid is not None:
        source.anchors[grid] = 0
    return Loaded(source, hint)


def _grid(head: Sequence[Entry], spec: ViewSpec, shelf: Shelf) -> Grid | None:
    """None if there is no room for any window: the view will say so."""
    try:
        return grid_of(head, spec, shelf)
    except BudgetTooSmall:
        return None


def _base(order: ReadingOrder, head: Sequence[Row], marks: Marks) -> int | None:
    """The place behind which windows begin: that of the head's end, or of the summary's."""
    base = head[-1].place if head else None
    if marks.summary is None:
        return base
    last = id_bytes(marks.summary.last)
    row = order.by_ids([last]).get(last)
    if row is None or row.place is None:
        return base
    return row.place if base is None else max(base, row.place)


def _newest(
    order: ReadingOrder, base: int | None, tokens: int, messages: int | None, rows: int
) -> tuple[list[Row], bool]:
    """The newest messages behind `base`, oldest first: more than `tokens` of weight or more than
    `messages`, and at least `rows`; and whether these are all."""
    found: list[Row] = []
    left = tokens
    for row in order.newest(chunk=_CHUNK):
        if base is not None and row.place is not None and row.place <= base:
            break
        is_enough = left < 0 or (messages is not None and len(found) > messages)
        if is_enough and len(found) >= rows:
            return found[::-1], False
        left -= row.tokens or 0
        found.append(row)
    return found[::-1], True


def _anchor(
    order: ReadingOrder, grid: Grid, base: int | None, marks: Marks, upto: Row
) -> tuple[_Anchor, Hint | None]:
    """The last milestone at or before the row `upto`, from the last one that is known."""
    assert upto.place is not None, "a row of the reading order has a place"
    name = f"{grid.window}/{grid.limit}/{'' if marks.summary is None else marks.summary.last}"
    windows = order.windows
    known = None if windows is None else windows.find(name, upto=upto.place)
    after = base if known is None else known.place - 1
    chain = Chain(grid)
    places: list[int] = []
    users: list[int] = []
    for place, role, weight in order.weights(after=after, upto=upto.place):
        places.append(place)
        if role == _USER:
            users.append(place)
        chain.add(weight, is_user=role == _USER, is_tool=role == _TOOL)
    place = places[chain.found[-1]]
    opening = next((user for user in reversed(users) if user < place), None)
    if opening is None and known is not None:
        opening = known.opening
    anchor = _Anchor(place, opening, len(places))
    if windows is None or anchor.rows < HINT_ROWS:
        return anchor, None
    return anchor, Hint(name, place, opening, windows.moves())


def _from(order: ReadingOrder, place: int, newest: list[Row]) -> list[Row]:
    """The rows from `place` on, of which `newest` are known."""
    first = newest[0].place
    assert first is not None, "a row of the reading order has a place"
    between: list[Row] = []
    after = place - 1
    while after < first - 1:
        page = [row for row in order.oldest(after=after, limit=_CHUNK) if row.place is not None]
        page = [row for row in page if row.place is not None and row.place < first]
        between.extend(page)
        if len(page) < _CHUNK or page[-1].place is None:
            break
        after = page[-1].place
    return [*between, *newest]


def _late(order: ReadingOrder, marks: Marks) -> tuple[Entry, ...]:
    """What the summary does not cover of what stands before its end."""
    if marks.summary is None or not marks.summary.late:
        return ()
    rows = _placed(order, marks.summary.late)
    return tuple(tail.entries(order, rows))


def _before(
    order: ReadingOrder, marks: Marks, after: int | None, first: int | None
) -> tuple[Earlier, ...]:
    """What may be taken along from between the places `after` and `first`."""
    rows = {row.key: row for row in _placed(order, {pin.target for pin in marks.pins})}
    pinned = set(rows)
    rows |= {row.key: row for row in order.carried()}
    recent: dict[bytes, int] | None = None
    found: list[Earlier] = []
    for row in sorted(rows.values(), key=_place):
        if (after is not None and _place(row) <= after) or (
            first is not None and _place(row) >= first
        ):
            continue
        depth = 0
        if row.carry == SESSION and row.key not in pinned:
            if recent is None:
                newest = order.placed_before(first, LOOK_BACK)
                recent = {one.key: len(newest) - place for place, one in enumerate(newest)}
            if row.key not in recent:
                continue
            depth = recent[row.key]
        group = [row]
        if row.role == _ASSISTANT:
            for behind in order.oldest(after=row.place, limit=_CHUNK):
                if behind.role != _TOOL or (first is not None and _place(behind) >= first):
                    break
                group.append(behind)
        found.append(Earlier(tuple(tail.entries(order, group)), depth))
    return tuple(found)


def _place(row: Row) -> int:
    assert row.place is not None, "a row of the reading order has a place"
    return row.place


def _placed(order: ReadingOrder, ids: Set[EventId]) -> list[Row]:
    """Those of the events that stand in the reading order, in that order."""
    rows = order.by_ids([id_bytes(id_) for id_ in sorted(ids)]).values()
    placed = [(row.place, row) for row in rows if row.place is not None]
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]
