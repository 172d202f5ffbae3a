"""From settings and a reading order to a view: resolves the spec, feeds `build` what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from weft_engine.errors import RendererMismatch, ReplayMismatch
from weft_engine.events.row import id_bytes
from weft_engine.names import ContextName, EventId, RecordHash
from weft_engine.replica.settings import Settings
from weft_engine.replica.timeline import Timeline
from weft_engine.storage import tail
from weft_engine.storage.lineage import ReadingOrder
from weft_engine.views.count import count_message, tool_set
from weft_engine.views.entry import Entry
from weft_engine.views.policy import Policy, find_policy
from weft_engine.views.receipt import Receipt
from weft_engine.views.spec import RENDERER, ViewSpec, view_spec
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, Tokenizer, tokenizer_id
from weft_engine.views.view import NeedMore, View, build
from weft_engine.views.view import Settings as Trigger

ROWS_FIRST: Final = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call of `view` asks for; None is what the context is configured to."""

    budget: int | None = None
    reserved: int | None = None
    policy: Policy | None = None
    tokenizer: str | None = None
    tools: Sequence[Mapping[str, object]] | None = None


def resolve_spec(asked: Asked, settings: Settings) -> ViewSpec:
    """The spec of a view. Loads the tokenizer only if there are tools to count."""
    tokenizer = tokenizer_id(asked.tokenizer or settings.tokenizer)
    tools = tool_set(asked.tools, Tokenizer(tokenizer)) if asked.tools else None
    return view_spec(
        budget=settings.budget if asked.budget is None else asked.budget,
        reserved=settings.reserved if asked.reserved is None else asked.reserved,
        tools=tools,
        policy=asked.policy or find_policy(settings.policy),
        tokenizer=tokenizer,
    )


def build_from_timeline(
    timeline: Timeline, context: ContextName, spec: ViewSpec, trace_id: str
) -> View | NeedMore:
    """The view of what is in memory, if that is enough."""
    return build(
        head=_counted(timeline.head, spec),
        tail=_counted(timeline.tail, spec),
        complete=timeline.complete,
        absent=timeline.absent,
        cut=timeline.frontier,
        context=context,
        spec=spec,
        trace_id=trace_id,
        tokenizer=Tokenizer(spec.tokenizer),
        settings=Trigger(timeline.settings.trigger, timeline.settings.clear_at_least),
        cache=timeline.cache,
    )


def replay(table: ReadingOrder, receipt: Receipt) -> View:
    """The view of a receipt, from the index at its cut: the same bytes, or an error."""
    spec = receipt.spec
    if spec.renderer != RENDERER:
        raise RendererMismatch(
            f"the receipt is of renderer {spec.renderer}, this is renderer {RENDERER}",
            hint="replay it with the version of weft that made it",
        )
    view = view_at(
        table,
        receipt.context,
        cut=receipt.cut,
        spec=spec,
        settings=Settings(),
        trace_id=receipt.trace_id,
    )
    if view.fingerprint != receipt.fingerprint:
        raise ReplayMismatch(
            f"the view of receipt {receipt.trace_id!r} comes out as {view.fingerprint[:16]}, not"
            f" {receipt.fingerprint[:16]}",
            hint="the receipt was altered, or this store is damaged: run weft verify",
        )
    return view


def view_at(
    table: ReadingOrder,
    context: ContextName,
    *,
    cut: tuple[RecordHash, ...],
    spec: ViewSpec,
    settings: Settings,
    trace_id: str,
) -> View:
    """The view of an index as it is at `cut`."""
    rows = ROWS_FIRST
    absent: set[EventId] = set()
    while True:
        timeline = load(table, settings, cut=cut, tokens=spec.budget, rows=rows, absent=absent)
        view = build_from_timeline(timeline, context, spec, trace_id)
        if isinstance(view, View):
            return view
        absent |= not_in_order(table, view.calls)
        rows = max(rows, view.given) * 2


def load(
    table: ReadingOrder,
    settings: Settings,
    *,
    cut: tuple[RecordHash, ...],
    tokens: int,
    rows: int,
    absent: set[EventId],
) -> Timeline:
    """The newest messages from the index: more than `tokens` of them, and at least `rows`."""
    head = tail.head_rows(table)
    after = head[-1].place if head else None
    newest, complete = tail.tail_rows(table, after=after, tokens=tokens, rows=rows)
    found = tail.entries(table, [*head, *newest])
    return Timeline(
        head=found[: len(head)],
        tail=found[len(head) :],
        complete=complete,
        frontier=cut,
        position=table.position,
        settings=settings,
        absent=absent,
    )


def not_in_order(table: ReadingOrder, calls: Sequence[EventId]) -> set[EventId]:
    """Those of `calls` that are no messages of the reading order."""
    rows = table.by_ids([id_bytes(call) for call in calls])
    return {
        call for call in calls if (row := rows.get(id_bytes(call))) is None or row.place is None
    }


def _counted(entries: Sequence[Entry], spec: ViewSpec) -> Sequence[Entry]:
    """The entries with their tokens in the spec's tokenizer; the index has the default's."""
    if spec.tokenizer == DEFAULT_TOKENIZER:
        return entries
    tokenizer = Tokenizer(spec.tokenizer)
    return [replace(entry, tokens=count_message(entry.message, tokenizer)) for entry in entries]
