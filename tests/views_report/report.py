"""All strategies over one corpus, and what Weft has to reach.

Must never know: how the report is shown.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final

import weft
from tests.stores import FAST_DISK
from tests.views_report.corpus import Corpus, Said
from tests.views_report.counting import VIEW_TOKENS, Meter, spelled
from tests.views_report.measures import Row, Watch
from tests.views_report.strategies import LastMessages, Start, Strategy, Trimmed

BUDGETS: Final = (8_000, 16_000, 32_000, 128_000)
KEPT_AT_LEAST: Final = {8_000: 0.94, 16_000: 0.97, 32_000: 0.97, 128_000: 0.97}
WEFT: Final = "Weft"
USUAL_MESSAGES: Final = 400
"""As many messages a view has at most, unless a context is configured otherwise."""
_STARTS: Final[Sequence[tuple[str, Start]]] = (
    ("trim_messages", None),
    ('trim_messages, start_on="human"', "human"),
)


def measure(corpus: Corpus, budgets: Sequence[int] = BUDGETS) -> list[Row]:
    """A row for each budget and strategy, with a request before each message of the assistant."""
    meter = Meter()
    messages = corpus.messages
    tokens = [VIEW_TOKENS, *(meter.message(spelled(said)) for said in messages)]
    said_tokens = list(accumulate(tokens))
    rows = asyncio.run(_weft(messages, budgets, meter, said_tokens))
    for budget in budgets:
        for name, strategy in _others(messages, Row(WEFT, budget).room, meter):
            rows.append(Row(name, budget))
            watch = Watch(rows[-1], meter)
            for said in _calls(messages):
                watch.saw(strategy(said), history_tokens=said_tokens[said])
    return sorted(rows, key=lambda row: row.budget)


def failures(rows: Sequence[Row]) -> list[str]:
    """What Weft promises and did not keep."""
    found = []
    for row in rows:
        if not row.strategy.startswith(WEFT):
            continue
        at = f"{row.strategy} at {row.budget // 1_000}k"
        found += [
            f"{at}: {count:,} {what}"
            for count, what in (
                (row.refused, "requests would be refused"),
                (row.orphans, "tool messages are orphaned"),
                (row.over, "views are over budget"),
                (row.empty, "views are empty"),
            )
            if count
        ]
        least = KEPT_AT_LEAST.get(row.budget)
        if least is not None and row.kept_share < least:
            found.append(f"{at}: {row.kept_share:.1%} of the prefix kept, not {least:.0%}")
    return found


def _calls(messages: Sequence[Said]) -> Iterator[int]:
    """How many messages are said when the model is asked."""
    return (index for index, said in enumerate(messages) if said["role"] == "assistant")


def _others(messages: Sequence[Said], room: int, meter: Meter) -> Iterator[tuple[str, Strategy]]:
    for name, start in _STARTS:
        yield name, Trimmed(messages, meter, room=room, start_on=start)
    last = LastMessages(messages, meter, room=room)
    yield f"last {last.count} messages", last


async def _weft(
    messages: Sequence[Said], budgets: Sequence[int], meter: Meter, said_tokens: Sequence[int]
) -> list[Row]:
    """As an application does it: a view, the answer, what the tools say, the next view. Once with
    the policy of every new context, and where more than it takes would fit, once with more."""
    usual = [(Watch(Row(WEFT, budget), meter), None) for budget in budgets]
    wide = [
        (Watch(Row(f"{WEFT}, last_n of {len(messages):,}", budget), meter), len(messages))
        for budget in budgets
        if budget * len(messages) > USUAL_MESSAGES * said_tokens[-1]
    ]
    with tempfile.TemporaryDirectory(dir=FAST_DISK) as folder:
        async with weft.open(Path(folder) / "report.db") as store:
            chat = store.context("report/all")
            written = 0
            for said in _calls(messages):
                if said > written:
                    await chat.append(list(messages[written:said]))
                for watch, limit in (*usual, *wide):
                    policy = None if limit is None else weft.LastN(limit)
                    view = await chat.view(budget=watch.row.budget, policy=policy)
                    watch.saw(view.openai(), history_tokens=said_tokens[said])
                await chat.append(messages[said], view=view)
                written = said + 1
    return [watch.row for watch, _ in (*usual, *wide)]
