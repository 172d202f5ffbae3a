"""From settings and a reading order to a view: resolves the spec, feeds `build` what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weft_engine.errors import CallerError, RendererMismatch, ReplayMismatch
from weft_engine.names import ContextName, EventId, RecordHash
from weft_engine.replica.loading import load_source
from weft_engine.replica.settings import BUDGET_DEFAULT, Settings
from weft_engine.storage.lineage import ReadingOrder
from weft_engine.views.all_policies import find_policy
from weft_engine.views.build import build
from weft_engine.views.cache import ViewCache
from weft_engine.views.count import tool_set
from weft_engine.views.policy import Policy
from weft_engine.views.receipt import Receipt
from weft_engine.views.source import Source
from weft_engine.views.spec import RENDERER, ViewSpec, view_spec
from weft_engine.views.start import NeedMore
from weft_engine.views.tokenizer import Tokenizer, tokenizer_id
from weft_engine.views.view import Settings as Trigger
from weft_engine.views.view import View


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call of `view` asks for; None is what the context is configured to. `as_of` in
    milliseconds since 1970."""

    budget: int | None = None
    reserved: int | None = None
    policy: Policy | None = None
    tokenizer: str | None = None
    tools: Sequence[Mapping[str, object]] | None = None
    form: str | None = None
    as_of: int | None = None


def resolve_spec(asked: Asked, settings: Settings, branch: EventId | None = None) -> ViewSpec:
    """The spec of a view. Loads the tokenizer only if there are tools to count."""
    tokenizer = tokenizer_id(asked.tokenizer or settings.tokenizer)
    tools = tool_set(asked.tools, Tokenizer(tokenizer)) if asked.tools else None
    return view_spec(
        budget=settings.budget if asked.budget is None else asked.budget,
        reserved=settings.reserved if asked.reserved is None else asked.reserved,
        tools=tools,
        policy=asked.policy or find_policy(settings.policy),
        tokenizer=tokenizer,
        format=asked.form or settings.format,
        branch=branch,
        as_of=asked.as_of,
    )


def lasting_spec(asked: Asked, settings: Settings, branch: EventId | None) -> ViewSpec:
    """The spec that a timeline is loaded for. Who only writes, or asks for the settings, needs
    nothing of what views are configured to, which another version may know and this one not."""
    try:
        return resolve_spec(asked, settings, branch)
    except CallerError:
        if asked != Asked():
            raise
        return view_spec(budget=BUDGET_DEFAULT, branch=branch)


def build_from_source(
    source: Source,
    context: ContextName,
    spec: ViewSpec,
    *,
    cut: Sequence[RecordHash],
    settings: Settings,
    trace_id: str,
    cache: ViewCache,
    before: View | None = None,
) -> View | NeedMore:
    """The view of what is in memory, if that is enough."""
    return build(
        source,
        cut=cut,
        context=context,
        spec=spec,
        trace_id=trace_id,
        tokenizer=Tokenizer(spec.tokenizer),
        settings=Trigger(settings.trigger, settings.clear_at_least),
        cache=cache,
        before=before,
    )


def replay(order: ReadingOrder, receipt: Receipt) -> View:
    """The view of a receipt, from the index at its cut: the same bytes, or an error."""
    spec = receipt.spec
    if spec.renderer != RENDERER:
        raise RendererMismatch(
            f"the receipt is of renderer {spec.renderer}, this is renderer {RENDERER}",
            hint="replay it with the version of weft that made it",
        )
    view = view_at(
        order,
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
    order: ReadingOrder,
    context: ContextName,
    *,
    cut: tuple[RecordHash, ...],
    spec: ViewSpec,
    settings: Settings,
    trace_id: str,
) -> View:
    """The view of an index as it is at `cut`."""
    cache = ViewCache()
    shelf = cache.shelf(Tokenizer(spec.tokenizer), spec.media, spec.format)
    need: NeedMore | None = None
    while True:
        source = load_source(order, spec, shelf, need=need).source
        made = build_from_source(
            source, context, spec, cut=cut, settings=settings, trace_id=trace_id, cache=cache
        )
        if isinstance(made, View):
            return made
        need = made
