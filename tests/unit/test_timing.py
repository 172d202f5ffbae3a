"""Regions ask each other for their time: how long the way is, and whose clock is how far off."""

from __future__ import annotations

from weft_engine.limits import CLOCK_ASKED_MS
from weft_engine.sync.end.regions.timing import Timing
from weft_engine.sync.framing.messages import Clock

NOW_MS = 1_700_000_000_000


def test_half_of_the_way_is_taken_off() -> None:
    ours, theirs = Timing(), Timing()
    question = ours.ask(5_000_000)
    assert not ours.has_news
    theirs.receive(question)
    assert theirs.has_news
    # 80 ms there, 80 ms back, and their clock is 1.5 s ahead.
    answer = theirs.settle(999, NOW_MS + 80 + 1500)
    assert answer == Clock(5_000_000, NOW_MS + 1580)
    assert not theirs.has_news
    assert theirs.offset_ms is None
    ours.receive(answer)
    assert ours.settle(5_160_000, NOW_MS + 160) is None
    assert ours.rtt_ms == 160
    assert ours.offset_ms == 1500


def test_only_the_answer_to_the_open_question_counts() -> None:
    ours = Timing()
    ours.ask(10)
    ours.ask(20)
    for mark in (10, 30):
        ours.receive(Clock(mark, NOW_MS))
        assert not ours.has_news
    ours.receive(Clock(20, NOW_MS))
    assert ours.has_news
    ours.settle(20, NOW_MS)
    ours.receive(Clock(20, NOW_MS + 99))
    assert not ours.has_news


def test_of_many_questions_one_is_answered() -> None:
    ours = Timing()
    for mark in range(100):
        ours.receive(Clock(mark, None))
    assert ours.settle(0, NOW_MS) == Clock(99, NOW_MS)
    assert ours.settle(0, NOW_MS) is None


def test_it_is_asked_at_once_and_then_now_and_again() -> None:
    ours = Timing()
    assert ours.is_due(7)
    assert not ours.is_due(7 + CLOCK_ASKED_MS - 1)
    assert ours.is_due(7 + CLOCK_ASKED_MS)
