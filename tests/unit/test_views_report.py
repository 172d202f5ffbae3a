"""What the report measures is what it says, and it fails where it should."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import weft
from tests.views_report.corpus import Corpus, corpus
from tests.views_report.counting import Meter, spelled
from tests.views_report.measures import Row, Watch, orphans
from tests.views_report.report import failures, measure
from tests.views_report.strategies import LastMessages, Trimmed
from tests.views_report.table import markdown

HEAD = {"role": "system", "content": "Be brief."}
NOWHERE = Path("nowhere.jsonl")


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def generated(count: int) -> Corpus:
    """The beginning of the made-up conversation, up to an answer that is no call."""
    messages = corpus(NOWHERE).messages
    while "tool_calls" in messages[count - 1] or messages[count - 1]["role"] != "assistant":
        count += 1
    return Corpus("some", messages[:count])


def test_the_corpus_is_one_conversation_with_one_head(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(json.dumps({"messages": [HEAD, user(text)]}) for text in "ab"))
    assert corpus(file).messages == (HEAD, user("a"), user("b"))
    made_up = corpus(NOWHERE)
    assert "generated" in made_up.name
    assert made_up == corpus(NOWHERE)
    assert orphans(made_up.messages) == 0


def test_it_counts_as_weft_does(tmp_path: Path) -> None:
    asked = generated(120)

    async def used() -> int:
        async with weft.open(tmp_path / "a.db") as store:
            chat = store.context("a")
            await chat.append(list(asked.messages))
            view = await chat.view(budget=1_000_000)
            assert len(view.openai()) == len(asked.messages)
            return view.used_tokens

    assert asyncio.run(used()) == Meter().view(asked.messages)
    named = {"role": "tool", "name": "find", "tool_call_id": "c", "content": [{"text": "a"}]}
    assert Meter().message(spelled(named)) == 4 + 2 + 1


def test_what_is_kept_is_the_common_beginning() -> None:
    meter = Meter()
    row = Row("some", 8_000)
    watch = Watch(row, meter)
    cost = meter.message(spelled(user("a")))
    watch.saw([user("a"), user("b")], history_tokens=0)
    assert (row.calls, row.steps, row.before) == (1, 0, 0)
    watch.saw([user("a"), user("b"), user("c")], history_tokens=0)
    assert (row.steps, row.before, row.kept) == (0, 3 + 2 * cost, 3 + 2 * cost)
    watch.saw([user("a"), user("c"), user("d")], history_tokens=0)
    assert (row.steps, row.before, row.kept) == (1, 6 + 5 * cost, 6 + 3 * cost)
    assert row.kept_tokens == row.kept / row.before
    assert row.kept_share == (1 + (3 + cost) / (3 + 3 * cost)) / 2
    assert row.steps_per_100 == pytest.approx(100 / 3)


def test_what_breaks_a_rule_is_counted() -> None:
    row = Row("some", 8_000)
    watch = Watch(row, Meter())
    watch.saw([HEAD], history_tokens=0)
    watch.saw(
        [HEAD, {"role": "tool", "tool_call_id": "c", "content": "a"}], history_tokens=row.room
    )
    watch.saw([HEAD, user("word " * 7_500)], history_tokens=row.room + 1)
    assert (row.calls, row.empty, row.orphans, row.refused, row.over) == (3, 1, 1, 1, 1)
    assert row.full == 1
    assert row.filled_share > 1


def test_weft_is_held_to_its_promises_and_nobody_else() -> None:
    good = Row("Weft", 8_000, calls=101, shares=94.0)
    assert failures([good, Row("other", 8_000, calls=9, refused=9, over=9)]) == []
    assert failures([replace(good, shares=93.0)]) == [
        "Weft at 8k: 93.0% of the prefix kept, not 94%"
    ]
    assert failures([replace(good, budget=16_000)]) != []
    assert failures([replace(good, budget=16_000, shares=97.0)]) == []
    for field in ("refused", "orphans", "over", "empty"):
        bad = replace(good)
        setattr(bad, field, 1)
        assert len(failures([bad])) == 1
    assert failures([replace(good, strategy="Weft, last_n of 9", over=1)]) != []


@pytest.mark.parametrize("start_on", [None, "human"])
def test_trim_messages_says_the_same_of_the_whole_history(start_on: Any) -> None:
    messages = generated(400).messages
    meter = Meter()
    near = Trimmed(messages, meter, room=7_000, start_on=start_on)
    all_of_it = Trimmed(messages, meter, room=7_000, start_on=start_on, enough=1e9)
    for said in range(1, len(messages), 37):
        sent = near(said)
        assert sent == all_of_it(said)
        assert meter.view(sent) <= 7_000
        assert sent[0] == messages[0]


def test_the_last_messages_fit_on_average() -> None:
    messages = generated(400).messages
    meter = Meter()
    last = LastMessages(messages, meter, room=7_000)
    sizes = [meter.view(last(said)) for said in range(200, len(messages))]
    assert 6_000 < sum(sizes) / len(sizes) < 8_000
    assert last(3) == list(messages[:3])


def test_a_small_report() -> None:
    rows = measure(generated(300), budgets=(8_000,))
    assert [row.strategy for row in rows][:3] == [
        "Weft",
        "trim_messages",
        'trim_messages, start_on="human"',
    ]
    ours, plain = rows[0], rows[1]
    assert ours.calls == plain.calls > 100
    assert (ours.orphans, ours.refused, ours.over, ours.empty) == (0, 0, 0, 0)
    assert plain.orphans > 0
    assert plain.refused > 0
    table = markdown(rows).splitlines()
    assert len(table) == 2 + len(rows)
    assert len({len(line) for line in table}) == 1
    assert table[1].replace("-", "").replace(":", "").replace("|", "").strip() == ""
