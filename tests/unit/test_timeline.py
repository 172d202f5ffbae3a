"""How long a peer has been without a record: kept within bounds, the newest exactly."""

from __future__ import annotations

import random

import pytest

from weft_engine.names import Position
from weft_server.mesh.timeline import STEP_S, STEPS_MAX, Timeline


def test_it_tells_since_when_the_oldest_missing_record_is_here() -> None:
    line = Timeline(Position(10), 100.0)
    line.grew(Position(11), 101.0)
    line.grew(Position(12), 101.0 + STEP_S / 2)  # counts as come together
    line.grew(Position(20), 105.0)
    assert line.head == 20
    assert line.waits_s(Position(20), 200.0) == 0.0
    assert line.waits_s(Position(12), 106.0) == 1.0
    assert line.waits_s(Position(19), 106.0) == 1.0
    assert line.waits_s(Position(11), 106.0) == 5.0
    assert line.waits_s(Position(10), 106.0) == 5.0
    assert line.waits_s(Position(3), 106.0) == 6.0  # at least: it was here before this began


def test_what_was_known_before_it_began_counts() -> None:
    known = [(Position(7), 80.0), (Position(3), 50.0), (Position(10), 99.0), (Position(7), 70.0)]
    line = Timeline(Position(10), 100.0, known)
    assert line.head == 10
    assert line.waits_s(Position(3), 101.0) == 51.0
    assert line.waits_s(Position(6), 101.0) == 51.0
    assert line.waits_s(Position(7), 101.0) == 31.0
    assert line.waits_s(Position(10), 101.0) == 0.0
    line.grew(Position(11), 102.0)
    assert line.waits_s(Position(10), 103.0) == 1.0
    # A clock that was wrong then does no harm.
    odd = Timeline(Position(10), 100.0, [(Position(3), 500.0), (Position(7), -5.0)])
    assert odd.waits_s(Position(3), 100.0) == 0.0
    assert odd.waits_s(Position(7), 101.0) == 1.0


def test_nothing_new_changes_nothing() -> None:
    line = Timeline(Position(5), 0.0)
    line.grew(Position(5), 9.0)
    assert line.waits_s(Position(5), 9.0) == 0.0
    assert line.head == 5


@pytest.mark.parametrize("steps", [STEPS_MAX, STEPS_MAX + 1, 3 * STEPS_MAX])
def test_what_is_far_back_gets_coarser_and_never_younger(steps: int) -> None:
    rng = random.Random(steps)
    grown = [rng.randint(1, 9) for _ in range(steps)]
    line, at, position = Timeline(Position(0), 0.0), 0.0, 0
    times: dict[int, float] = {}
    for count in grown:
        at += 1.0
        for one in range(position + 1, position + count + 1):
            times[one] = at
        position += count
        line.grew(Position(position), at)
    now = at + 1.0
    for held in range(0, position, 97):
        waits = line.waits_s(Position(held), now)
        assert waits >= now - times[held + 1]
    for held in range(position - 500, position):
        assert line.waits_s(Position(held), now) == now - times[held + 1]
