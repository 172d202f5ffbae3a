"""Compacting a branch of a context: a summary takes the place of older messages in views.

First it is found out what to cover, then the summarizer is asked, then the summary is recorded:
one event. Nothing is written before that and no message is ever touched, so whatever ends this in
between costs the summarizer's work and nothing else; a revoke of the event gives back what was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from weft_engine.errors import BudgetTooSmall, CallerError, Conflict, StoreClosed
from weft_engine.events.event import Event, Summary
from weft_engine.names import ContextName, EventId
from weft_engine.records.clock import hlc_ms
from weft_engine.replica.covering import Plan, plan, still_there
from weft_engine.replica.settings import Settings
from weft_engine.replica.summarizing import Summarizer, summarize
from weft_engine.storage import tail
from weft_engine.storage.lineage import Lineage, ReadingOrder
from weft_engine.storage.summaries import Covering, Summaries
from weft_engine.views.all_policies import find_policy
from weft_engine.views.count import VIEW_TOKENS
from weft_engine.views.spec import RESERVED_DIVISOR
from weft_engine.views.summarize import Summarize
from weft_engine.views.tokenizer import Tokenizer, tokenizer_id

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica

T = TypeVar("T")

AUTHOR: Final = "summary"


class SummaryState(StrEnum):
    STANDS = "stands"
    BEATEN = "beaten"
    """Another one goes before it; revoking that brings it back."""
    REVOKED = "revoked"
    DOES_NOT_APPLY = "does not apply"


@dataclass(frozen=True, slots=True)
class SummaryInfo:
    """A summary of a branch, its own or one of those it comes from. `count` messages are covered by
    it; `late` of those before the last one are not. `reason` says why one does not apply."""

    id: EventId
    time_ms: int
    by: str
    count: int
    text: str
    state: SummaryState
    late: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Measures:
    """Tokens: of the newest messages to `keep` at least, and at `most` if a turn begins there; of
    what a summarizer takes at once (`room`), and of a summary that views show whole (`allowance`).
    """

    keep: int
    most: int
    room: int
    allowance: int


class Compacting:
    """Of one branch; None is main. One compaction at a time; the next one waits and covers what is
    left then."""

    def __init__(self, replica: Replica, name: ContextName, branch: EventId | None) -> None:
        self._replica = replica
        self._name = name
        self._branch = branch
        self._turn = asyncio.Lock()

    async def compact(
        self, summarizer: Summarizer, settings: Settings, *, keep: int | None, by: str | None
    ) -> EventId | None:
        if not callable(summarizer):
            raise CallerError(
                f"{type(summarizer).__name__} is no summarizer",
                hint="give a function that makes a text of messages, async or not",
            )
        if keep is not None and (type(keep) is not int or keep < 0):
            raise CallerError(f"keep is a number of tokens, 0 or more, not {keep!r}")
        if self._replica.journal.readonly:
            raise StoreClosed(
                f"the store {self._replica.path} is open for reading only",
                hint="open it without readonly to compact",
            )
        async with self._turn:
            return await self._compact(summarizer, settings, keep=keep, by=by)

    async def _compact(
        self, summarizer: Summarizer, settings: Settings, *, keep: int | None, by: str | None
    ) -> EventId | None:
        def question(order: ReadingOrder) -> tuple[Plan, _Measures] | None:
            measures = _measures(order, settings, keep)
            made = plan(order, keep=measures.keep, most=measures.most)
            return None if made is None else (made, measures)

        found = await self._ask(question)
        if found is None:
            return None
        made, measures = found
        previous = made.replaces
        text = await summarize(
            summarizer,
            made.entries,
            previous=None if previous is None else previous.candidate.summary.text,
            tokenizer=Tokenizer(tokenizer_id(settings.tokenizer)),
            room=measures.room,
            token_budget=measures.allowance,
        )
        obstacle = await self._ask(partial(still_there, made=made))
        if obstacle is not None:
            raise Conflict(
                f"the summary of context {self._name!r} was not recorded: {obstacle}",
                hint="compact it again",
            )
        body = Summary(made.covers, made.count, made.digest, text, by, made.upto)
        event = Event(by or AUTHOR, body, branch=self._branch)
        (id_,) = await self._replica.scribe.append(self._name, [lambda _: event])
        return id_

    async def summaries(self) -> list[SummaryInfo]:
        return await self._ask(listed) or []

    async def _ask(self, question: Callable[[ReadingOrder], T]) -> T | None:
        return await self._replica.ask(
            self._name, lambda table, _: question(Lineage(table, self._branch))
        )


def listed(order: ReadingOrder) -> list[SummaryInfo]:
    """Every summary, oldest first, with what has become of it."""
    summaries = Summaries(order)
    standing = summaries.standing()
    found: list[tuple[bytes, SummaryInfo]] = []
    for candidate in (*summaries.candidates, *summaries.revoked):
        covering = summaries.covering(candidate)
        state, late, reason = SummaryState.BEATEN, 0, None
        if candidate in summaries.revoked:
            state = SummaryState.REVOKED
        elif not isinstance(covering, Covering):
            state, reason = SummaryState.DOES_NOT_APPLY, covering
        elif standing is not None and candidate == standing.candidate:
            state, late = SummaryState.STANDS, len(covering.late)
        elif summaries.splits(covering):
            state = SummaryState.DOES_NOT_APPLY
            reason = "the result of a call that it covers stands behind it"
        row, summary = candidate.row, candidate.summary
        info = SummaryInfo(
            row.id,
            hlc_ms(row.time),
            summary.by or candidate.author,
            summary.count,
            summary.text,
            state,
            late,
            reason,
        )
        found.append((row.key, info))
    return [info for _, info in sorted(found, key=lambda pair: pair[0])]


def _measures(order: ReadingOrder, settings: Settings, keep: int | None) -> _Measures:
    reserved = settings.reserved
    if reserved is None:
        reserved = settings.budget // RESERVED_DIVISOR
    head = sum(row.tokens or 0 for row in tail.head_rows(order)) + VIEW_TOKENS
    room = settings.budget - reserved - head
    if room <= 0:
        raise BudgetTooSmall(
            needed=head, budget=settings.budget - reserved, culprit="the leading instructions"
        )
    policy = find_policy(settings.policy)
    if keep is None and isinstance(policy, Summarize):
        keep = policy.keep
    allowance = room // policy.allowance_divisor
    window = room - allowance
    keep = window // 2 if keep is None else keep
    return _Measures(keep, keep + window // 4, room, allowance)
