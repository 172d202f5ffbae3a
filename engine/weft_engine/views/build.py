"""Building a view: dividing the budget, finding the window, putting the parts together.

Must never know: where entries are stored, what time it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from weft_engine.errors import BudgetTooSmall, OverBudget, TokenizerMissing
from weft_engine.names import ContextName, Hlc, RecordHash
from weft_engine.records.clock import hlc_ms
from weft_engine.views.cache import ViewCache
from weft_engine.views.causes import Shape, causes
from weft_engine.views.count import VIEW_TOKENS, Counter
from weft_engine.views.entry import Entry
from weft_engine.views.marks import Marks
from weft_engine.views.past import TooShort, past_of
from weft_engine.views.plan import Plan, units_of
from weft_engine.views.preamble import preamble
from weft_engine.views.remark import notice
from weft_engine.views.shorten import shorten
from weft_engine.views.shown import Rule
from weft_engine.views.source import Source
from weft_engine.views.spec import ViewSpec
from weft_engine.views.standing import Standing
from weft_engine.views.start import NeedMore, Start, find_start
from weft_engine.views.unit import Unit
from weft_engine.views.view import Settings, View
from weft_engine.views.window import Window

_NO_SETTINGS = Settings()
_MARGIN = 64


def build(
    source: Source,
    *,
    cut: Sequence[RecordHash],
    context: ContextName,
    spec: ViewSpec,
    tokenizer: Counter,
    settings: Settings = _NO_SETTINGS,
    cache: ViewCache | None = None,
    total: int | None = None,
    trace_id: str = "",
    before: View | None = None,
) -> View | NeedMore:
    """The view of the history at `cut`, whose newest part is `source`; `total` is how many messages
    it has, if known. `tokenizer` is the spec's. `before`: the view that it is compared with. Takes
    time by what is new since the last view of this `source` and spec with this `cache`, else by
    the size of the window, not of `source`.

    Raises BudgetTooSmall, OverBudget, PolicyMissing, TokenizerMissing.
    """
    if tokenizer.id != spec.tokenizer:
        raise TokenizerMissing(
            f"the spec counts with {spec.tokenizer.name!r}, the tokenizer given is another",
            hint="views are never counted with another tokenizer than their spec names",
        )
    cache = ViewCache() if cache is None else cache
    source.weigh()
    standing = cache.standing(source, spec)
    if standing is None or not _goes_on(standing, source):
        plan = Plan.of(source, spec, cache.shelf(tokenizer, spec.media, spec.format))
        try:
            made = _anew(source, plan)
        except TooShort as error:
            weight = 2 * source.weights[-1] + plan.grid.window
            return NeedMore(plan.grid, weight, None, len(source.tail) + error.messages)
        if isinstance(made, NeedMore):
            return made
        standing = made
        cache.keep(source, standing)
    needs_compaction = _demand(source, standing, settings)
    if isinstance(needs_compaction, NeedMore):
        return needs_compaction
    digest = standing.renew()
    used = VIEW_TOKENS + standing.tokens
    assert used <= spec.room, "the parts of a view keep to their rooms"
    if total is None and source.complete and source.marks.summary is None:
        total = len(source.head) + len(source.tail)
    visible = standing.start.window.visible
    shape = Shape(
        spec,
        source.marks,
        tuple(standing.units),
        len(standing.front),
        None if visible is None else visible.id,
    )
    return View(
        context=context,
        cut=tuple(sorted(cut)),
        spec=spec,
        used_tokens=used,
        needs_compaction=needs_compaction,
        fingerprint=digest,
        ids=tuple(standing.ids),
        shown=tuple(standing.shown),
        left_out=None if total is None else total - len(standing.ids),
        shape=shape,
        trace_id=trace_id,
        changed_because=() if before is None else causes(before.shape, shape),
    )


def _goes_on(standing: Standing, source: Source) -> bool:
    """Take what is new into the window; False if that has to be laid anew."""
    if standing.head != len(source.head) or not standing.start.is_coarse:
        return False
    window = standing.start.window
    if standing.marks is not source.marks and not _takes_facts(standing, source.marks):
        return False
    new = source.tail[standing.taken :]
    if new and window.visible is None:
        return False  # What stands before it is as of its first entry.
    standing.taken = len(source.tail)
    for entry in new:
        window.add(entry)
    return window.fits


def _takes_facts(standing: Standing, marks: Marks) -> bool:
    """Take what was said of facts into the window; False if it does not simply stand last."""
    new = marks.new_facts(standing.marks)
    if new is None:
        return False
    window, shelf = standing.start.window, standing.plan.shelf
    if not all(window.add_notice(fact.key, notice(fact, shelf)) for fact in new):
        return False
    standing.marks = marks
    return True


def _anew(source: Source, plan: Plan) -> Standing | NeedMore:
    if plan.policy.keeps_all:
        found = _everything(source, plan)
    else:
        found = find_start(source, plan.terms, plan.grid, partial(_front, source, plan))
    if isinstance(found, NeedMore):
        return found
    return Standing(
        plan=plan,
        front=(*plan.top, *found.front),
        heads=len(plan.top),
        start=found,
        taken=len(source.tail),
        head=len(source.head),
        marks=source.marks,
    )


def _everything(source: Source, plan: Plan) -> Start | NeedMore:
    """The window of a policy that lets nothing go."""
    if not source.complete:
        weight = 2 * source.weights[-1] + plan.grid.window
        return NeedMore(plan.grid, weight, None, 2 * len(source.tail))
    window = Window(plan.terms)
    if source.late:
        window.note_late(len(source.late))
    for entry in source.entries_from(source.first):
        window.add(entry)
    if window.trouble is not None:
        raise window.trouble
    front = _front(source, plan, source.first, window)
    window.spare -= sum(unit.tokens for unit in front)
    if not window.fits:
        reserved = plan.spec.reserved + plan.spec.surplus
        raise OverBudget(
            f"everything needs {plan.top_tokens + window.total_bound} tokens, the budget has room"
            f" for {plan.top_tokens + plan.terms.room + window.spare} beside {reserved} reserved",
            hint="hide or summarize some of it, raise the budget, or choose another policy",
        )
    return Start(source.first, window, is_coarse=True, front=front)


def _front(source: Source, plan: Plan, place: int, window: Window) -> tuple[Unit, ...]:
    """What stands between head and window: the preamble, then the opening."""
    shelf, allowance = plan.shelf, plan.room.allowance
    opening = source.opening_of(place)
    opened = () if opening is None else _opening(opening, plan)
    allowance -= sum(unit.tokens for unit in opened)
    spec, visible = plan.spec, window.visible
    past = past_of(source, place, plan.policy.look_back, shelf)
    if spec.as_of is not None:
        now_ms = spec.as_of
    else:
        now_ms = source.marks.book.time_ms if visible is None else hlc_ms(Hlc(visible.time))
    units = preamble(
        source.marks,
        past.units,
        plan.policy,
        now_ms,
        allowance,
        shelf,
        start=window.facts_upto,
        shown=frozenset(id_ for unit in opened for id_ in unit.ids),
        authors=past.authors,
    )
    assert sum(unit.tokens for unit in units) <= allowance, "a preamble keeps to its room"
    return (*units, *opened)


def _opening(entry: Entry, plan: Plan) -> tuple[Unit, ...]:
    """Cut to its part of the allowance; nothing if that can't be."""
    cut: list[Unit] = []
    for unit in units_of([entry], plan.shelf):
        if unit.tokens > plan.room.opening:
            try:
                unit = shorten(unit, plan.room.opening, plan.shelf)
            except BudgetTooSmall:
                return ()
        cut.append(replace(unit, rules=unit.rules | {Rule.OPENING}))
    return tuple(cut)


def _demand(source: Source, standing: Standing, settings: Settings) -> bool | NeedMore:
    """Whether what the policy selects, whether it fits or not, calls for compaction."""
    plan = standing.plan
    spec, limit, weights = plan.spec, plan.terms.limit, source.weights
    above = spec.budget * settings.trigger // 1_000 - plan.top_tokens
    least = max(above + 1, settings.clear_at_least)
    count = len(source.tail)
    begin = 0 if limit is None else max(0, count - limit)
    start = max(0, standing.start.place)
    if plan.policy.edits:
        selected = weights[start] - weights[min(begin, start)] + standing.start.window.bound
    else:
        selected = weights[count] - weights[begin]
    if selected < least and begin == 0 and not source.complete:
        return NeedMore(plan.grid, least + weights[count] - selected, None, count + _MARGIN)
    return selected >= least
