"""What is measured of a strategy: a row of the report.

Must never know: how views are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.validators import VALIDATORS
from tests.views_report.corpus import Said
from tests.views_report.counting import VIEW_TOKENS, Meter, spelled


@dataclass(slots=True)
class Row:
    """Sums over all calls of one strategy at one budget, in requests and tokens.

    `refused`: requests that break a rule of the provider; `orphans`: tool messages in them whose
    call is not there. `step`: a request that does not begin with the whole one before it.
    `shares`: of each request before, the share that the next one begins with; `kept` of `before`
    is the same in tokens, in which long requests count more. What a view fills is counted only
    where there was more history than room, `full` calls.
    """

    strategy: str
    budget: int
    calls: int = 0
    orphans: int = 0
    refused: int = 0
    over: int = 0
    empty: int = 0
    steps: int = 0
    shares: float = 0.0
    before: int = 0
    kept: int = 0
    full: int = 0
    filled: int = 0

    @property
    def room(self) -> int:
        """What is left of the budget for the view: an eighth is reserved for tools and reply."""
        return self.budget - self.budget // 8

    @property
    def kept_share(self) -> float:
        """Of the request before, on average over all calls."""
        return self.shares / (self.calls - 1) if self.calls > 1 else 1.0

    @property
    def kept_tokens(self) -> float:
        """Of all tokens of the requests before."""
        return self.kept / self.before if self.before else 1.0

    @property
    def steps_per_100(self) -> float:
        return 100 * self.steps / self.calls if self.calls else 0.0

    @property
    def filled_share(self) -> float:
        return self.filled / (self.full * self.room) if self.full else 1.0


class Watch:
    """Sees one request after the other of one strategy at one budget."""

    def __init__(self, row: Row, meter: Meter) -> None:
        self.row = row
        self._meter = meter
        self._before: list[str] = []

    def saw(self, sent: Sequence[Said], *, history_tokens: int) -> None:
        row = self.row
        texts = [spelled(said) for said in sent]
        tokens = VIEW_TOKENS + sum(map(self._meter.message, texts))
        row.orphans += orphans(sent)
        row.refused += bool(VALIDATORS["openai"](list(sent)))
        row.over += tokens > row.room
        row.empty += all(said["role"] in ("system", "developer") for said in sent)
        if history_tokens > row.room:
            row.full += 1
            row.filled += tokens
        if row.calls:
            common = 0
            for old, new in zip(self._before, texts, strict=False):
                if old != new:
                    break
                common += 1
            before = VIEW_TOKENS + sum(map(self._meter.message, self._before))
            kept = VIEW_TOKENS + sum(map(self._meter.message, self._before[:common]))
            row.before += before
            row.kept += kept
            row.shares += kept / before
            row.steps += common < len(self._before)
        row.calls += 1
        self._before = texts


def orphans(sent: Sequence[Said]) -> int:
    """How many tool messages answer no call that is open there."""
    open_calls: set[str] = set()
    found = 0
    for said in sent:
        if said["role"] == "tool":
            found += said["tool_call_id"] not in open_calls
            open_calls.discard(said["tool_call_id"])
        else:
            open_calls = {call["id"] for call in said.get("tool_calls", ())}
    return found
