"""Whether a relay's clock is off the median of its peers', and what is said then."""

from __future__ import annotations

import pytest

from weft_server.mesh.clocks import ALARM_MS, alarm, offset_ms


@pytest.mark.parametrize(
    ("ahead_of_ours", "ours"),
    [
        ([], None),
        ([120], -120),
        ([-40_000], 40_000),
        ([-10, 5, 90_000], -5),
        ([31_000, 32_000], -31_000),  # of two the closer one
        ([100, 90_000], -100),
        ([-90_000, -100], 100),
        ([-90_000, 90_000], 0),
        ([1, 2, 40_000, 50_000], -2),
    ],
)
def test_ours_is_compared_with_the_middle_one(ahead_of_ours: list[int], ours: int | None) -> None:
    assert offset_ms(ahead_of_ours) == ours


def test_thirty_seconds_are_an_alarm() -> None:
    assert alarm(None, 0) is None
    assert alarm(ALARM_MS - 1, 3) is None
    assert alarm(1 - ALARM_MS, 3) is None
    assert "30 s ahead of the median of its 2 peers: it is wrong" in str(alarm(ALARM_MS, 2))
    assert "45 s behind the median of its 3 peers: it is wrong" in str(alarm(-45_000, 3))
    assert "one of the two is wrong" in str(alarm(-45_000, 1))
