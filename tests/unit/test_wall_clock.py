"""The wall clock of a replica: corrections, jumps, and how far ahead is too far."""

from __future__ import annotations

import pytest

from tests.machines import DAY_MS, NOW_MS, Clocks
from weft_engine.limits import CLOCK_JUMP_MS_MAX, CLOCK_SKEW_MS_MAX, CLOCK_STEP_BACK_MS_MAX
from weft_engine.replica.wall_clock import WallClock


def clock(clocks: Clocks) -> WallClock:
    return WallClock(lambda: clocks.wall_ms, lambda: clocks.monotonic_ms)


@pytest.mark.parametrize(("off_ms", "expected_ms"), [(999, 0), (-999, 0), (1_000, 1_000)])
def test_a_correction_counts_from_a_second_on(off_ms: int, expected_ms: int) -> None:
    wall = clock(Clocks())
    wall.correct(NOW_MS + off_ms)
    assert wall.now_ms() == NOW_MS + expected_ms


def test_the_next_correction_replaces_the_one_before() -> None:
    wall = clock(Clocks())
    wall.correct(NOW_MS + DAY_MS)
    wall.correct(NOW_MS - DAY_MS)
    assert wall.now_ms() == NOW_MS - DAY_MS
    wall.correct(NOW_MS)
    assert wall.now_ms() == NOW_MS


@pytest.mark.parametrize("relay_ms", [0, 1_672_531_199_999, 1 << 47, (1 << 48) - 1])
def test_a_time_that_can_not_be_corrects_nothing(relay_ms: int) -> None:
    wall = clock(Clocks())
    wall.correct(relay_ms)
    assert wall.now_ms() == NOW_MS
    assert wall.latest_ms() == NOW_MS + CLOCK_STEP_BACK_MS_MAX


def test_once_corrected_a_minute_ahead_is_too_far() -> None:
    wall = clock(Clocks())
    assert wall.latest_ms() == NOW_MS + CLOCK_STEP_BACK_MS_MAX
    wall.correct(NOW_MS)
    assert wall.latest_ms() == NOW_MS + CLOCK_SKEW_MS_MAX


def test_a_clock_that_shows_1970_judges_nobody() -> None:
    assert clock(Clocks(0)).latest_ms() is None


@pytest.mark.parametrize("way", [1, -1])
def test_a_jump_is_seen_once_and_voids_the_correction(way: int) -> None:
    clocks = Clocks()
    wall = clock(clocks)
    wall.correct(NOW_MS + DAY_MS)
    clocks.wall_ms += way * CLOCK_JUMP_MS_MAX
    assert not wall.has_jumped()
    assert wall.now_ms() == clocks.wall_ms + DAY_MS
    clocks.wall_ms += way * (CLOCK_JUMP_MS_MAX + 1)
    assert wall.has_jumped()
    assert not wall.has_jumped()
    assert wall.now_ms() == clocks.wall_ms


def test_time_that_passes_on_both_clocks_is_no_jump() -> None:
    clocks = Clocks()
    wall = clock(clocks)
    for _ in range(3):
        clocks.wall_ms += DAY_MS
        clocks.monotonic_ms += DAY_MS - 4_000
        assert not wall.has_jumped()


def test_without_a_monotonic_clock_no_jump_is_seen() -> None:
    clocks = Clocks()
    wall = WallClock(lambda: clocks.wall_ms)
    clocks.wall_ms += DAY_MS
    assert not wall.has_jumped()


def test_a_correction_that_came_after_the_jump_stays() -> None:
    clocks = Clocks()
    wall = clock(clocks)
    clocks.wall_ms += 365 * DAY_MS
    wall.correct(NOW_MS)
    assert wall.has_jumped()
    assert wall.now_ms() == NOW_MS
    assert wall.latest_ms() == NOW_MS + CLOCK_SKEW_MS_MAX
    clocks.wall_ms += CLOCK_JUMP_MS_MAX + 1
    assert wall.has_jumped()
    assert wall.now_ms() == clocks.wall_ms
