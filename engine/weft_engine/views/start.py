"""Where a window begins: at the earliest milestone from which everything fits.

"Fits" is measured by the window's bound, which never shrinks as the history grows. So a milestone
that was passed over stays passed over: the start never moves back, and it can be found without
looking at anything before a milestone from which too much follows.

Costs are not weights: a policy may leave out most of what weighs, a format may say more than what
the index counts. Where even from the last milestone not everything fits, milestones are laid anew
behind it, as if the window were half as large, and so on. Must never know: preambles, budgets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from weft_engine.errors import BudgetTooSmall
from weft_engine.events.event import Role
from weft_engine.events.part import Result
from weft_engine.views.entry import Entry
from weft_engine.views.milestones import milestones
from weft_engine.views.policy import UNEDITED
from weft_engine.views.room import Grid
from weft_engine.views.source import Source
from weft_engine.views.unit import Unit
from weft_engine.views.walk import Walk
from weft_engine.views.window import Terms, Window

Front = Callable[[int, Window], tuple[Unit, ...]]
"""What stands between the head and a window that begins at a place."""


@dataclass(frozen=True, slots=True)
class Start:
    """`place` in the source, and the window from there on; `front`: what stands between it and the
    head. `is_coarse`: it is a milestone of the
    full grid, so it is the start for as long as everything from there on fits."""

    place: int
    window: Window
    is_coarse: bool
    front: tuple[Unit, ...] = ()


@dataclass(frozen=True, slots=True)
class NeedMore:
    """The view may depend on messages before those at hand. Give a history that begins with a
    milestone of `grid`, with at least `rows` messages from there on, and more than `tokens` of
    weight or than `messages`."""

    grid: Grid
    tokens: int
    messages: int | None
    rows: int


def find_start(source: Source, terms: Terms, grid: Grid, front: Front) -> Start | NeedMore:
    """BudgetTooSmall if not even the last message fits."""
    if not source.tail and not source.late:
        window = _window(source, terms, 0)
        return Start(0, window, is_coarse=True, front=front(0, window))
    anchor = source.anchors.get(grid, 0 if source.complete else None)
    if anchor is None:
        return _more(source, terms, grid)
    while True:
        laid = [anchor + index for index in milestones(_from(source.tail, anchor), grid)]
        candidates, settled = _may_fit(source, terms, anchor, laid)
        if settled is not None:
            source.anchors[grid] = settled
            break
        if not source.complete:
            return _more(source, terms, grid)
        if anchor == 0:
            before = milestones(source.late, grid)
            candidates = [*(index - len(source.late) for index in before), *candidates]
            laid = [*(index - len(source.late) for index in before), *laid]
            break
        anchor = 0
    newest = _newest_shown(source, terms)
    candidates = [place for place in candidates if place <= newest]
    start = _earliest(source, terms, candidates, front, is_coarse=True)
    base = max(place for place in laid if place <= newest)
    return start or _finer(source, terms, grid, base, newest, front)


def _newest_shown(source: Source, terms: Terms) -> int:
    """The place of the newest message that is shown at all: no window begins behind that. The last
    place if none is."""
    last = len(source.tail) - 1
    for place in range(last, source.first - 1, -1):
        entry = source.late[place] if place < 0 else source.tail[place]
        if Walk(terms.shelf, hidden=terms.hidden).add(entry):
            return place
    return last


def _more(source: Source, terms: Terms, grid: Grid) -> NeedMore:
    tokens = max((terms.room + terms.spare) * 9 // 8, 2 * source.weights[-1])
    limit = None if terms.limit is None else max(terms.limit, 2 * len(source.tail))
    return NeedMore(grid, tokens, limit, 2 * len(source.tail))


def _may_fit(
    source: Source, terms: Terms, anchor: int, laid: Sequence[int]
) -> tuple[list[int], int | None]:
    """Of the milestones `laid`, those from which everything may fit, and the last from which it
    can't, if there is one: then from all before it, it can't either.

    What is added up is less than any bound, and grows with every row-unit further back: a result
    that does not stand right behind its call counts nothing, for as part of that call's unit, or
    with a hidden call, it may cost nothing more.
    """
    found: list[int] = []
    wanted = set(laid)
    total = rows = 0
    behind: list[Entry] = []
    for index in range(len(source.tail) - 1, anchor - 1, -1):
        entry = source.tail[index]
        if entry.message.role is Role.TOOL and index != anchor:
            behind.append(entry)
        else:
            counted = [one for one in (entry, *behind) if _counts(one, entry, terms)]
            behind = []
            total += min(sum(_least(one, terms) for one in counted), terms.room)
            rows += len(counted) if terms.limit is None else min(len(counted), terms.limit)
        if index in wanted:
            if total > terms.room + terms.spare or (terms.limit is not None and rows > terms.limit):
                return found[::-1], index
            found.append(index)
    return found[::-1], None


def _counts(entry: Entry, first: Entry, terms: Terms) -> bool:
    """Whether `entry`, of the row-unit that begins with `first`, costs something where it stands,
    whatever else is in the window."""
    if entry.id in terms.hidden:
        return False
    called = {ref.event for _, ref in terms.shelf.facts(entry).answers if ref is not None}
    return not called or (called == {first.id} and first.id not in terms.hidden)


def _least(entry: Entry, terms: Terms) -> int:
    """What `entry` costs at least, whatever stands before it."""
    facts = terms.shelf.facts(entry)
    message = entry.message
    if facts.plain is not None:
        if not terms.policy.edits:
            return facts.plain.tokens
        spared = terms.policy.edit((entry,), False)
        return facts.plain.tokens if spared is UNEDITED else 0
    if terms.policy.edits or message.tokens is not None:
        return 0
    if facts.calls and not facts.answers:
        return facts.whole.tokens
    if message.role is Role.TOOL and len(facts.answers) == len(message.parts):
        # As text it goes without its name.
        names = sum(
            1 + len(part.name.encode())
            for part in message.parts
            if isinstance(part, Result) and part.name is not None
        )
        return max(0, facts.whole.tokens - names)
    return 0


def _earliest(
    source: Source, terms: Terms, places: Iterable[int], front: Front, *, is_coarse: bool
) -> Start | None:
    for place in places:
        window = _window(source, terms, place)
        if not window.fits:
            continue
        units = front(place, window)
        window.spare = terms.spare - sum(unit.tokens for unit in units)
        if window.fits:
            return Start(place, window, is_coarse, units)
    return None


def _finer(source: Source, terms: Terms, grid: Grid, base: int, newest: int, front: Front) -> Start:
    """The earliest fitting milestone behind `base`, the last one of `grid`, in the first finer
    grid that has one; in the end every message up to the `newest` is one."""
    while not grid.is_finest:
        grid = grid.finer()
        laid = [base + index for index in milestones(source.entries_from(base), grid)]
        laid = [place for place in laid if place <= newest]
        start = _earliest(source, terms, laid, front, is_coarse=False)
        if start is not None:
            return start
        base = laid[-1]
    start = _earliest(source, terms, range(base, newest + 1), front, is_coarse=False)
    if start is not None:
        return start
    quiet = replace(terms, is_quiet=True)
    start = _earliest(source, quiet, [newest], front, is_coarse=False)
    if start is not None:
        return start
    alone = _window(source, quiet, newest)
    if alone.trouble is not None:
        raise alone.trouble
    raise BudgetTooSmall(
        needed=alone.total_bound, budget=terms.room, culprit="the newest message, which is late"
    )


def _window(source: Source, terms: Terms, place: int) -> Window:
    """The window from `place` on; only its beginning, if that is too much already."""
    window = Window(terms)
    late = source.late[place:] if place < 0 else ()
    if late:
        window.note_late(len(late))
    for entry in source.entries_from(place):
        window.add(entry)
        if not (window.fits or terms.policy.keeps_all):
            break
    return window


def _from(entries: list[Entry], index: int) -> list[Entry]:
    return entries[index:] if index else entries
