"""When bytes arrive over a bad network: the arithmetic, with time and dice as arguments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from weft_engine.errors import CallerError
from weft_server.local_mesh.wire import SEGMENT_BYTES, STALL_S, Conditions, Wire


def dice(*values: float) -> Iterator[float]:
    yield from values


def test_delay_is_added_once() -> None:
    wire = Wire(Conditions(delay_s=0.08), random=lambda: 0.0)
    assert wire.arrival_s(10, 5.0) == pytest.approx(5.08)
    assert wire.arrival_s(1_000_000, 5.0) == pytest.approx(5.08)


def test_nothing_is_sent_before_the_handshake() -> None:
    wire = Wire(Conditions(delay_s=0.08), random=lambda: 0.0, free_s=5.16)
    assert wire.arrival_s(10, 5.0) == pytest.approx(5.24)
    assert wire.arrival_s(10, 6.0) == pytest.approx(6.08)


def test_bandwidth_makes_pieces_wait_for_each_other() -> None:
    wire = Wire(Conditions(delay_s=0.5, bytes_per_s=1_000), random=lambda: 0.0)
    assert wire.arrival_s(2_000, 1.0) == pytest.approx(3.5)
    assert wire.arrival_s(1_000, 1.0) == pytest.approx(4.5)
    assert wire.arrival_s(1_000, 9.0) == pytest.approx(10.5)


def test_a_lost_piece_stalls_all_behind_it_and_none_overtakes() -> None:
    thrown = dice(0.0, 0.9, 0.9)
    wire = Wire(Conditions(delay_s=0.1, loss=0.01), random=thrown.__next__)
    stalled = 0.1 + STALL_S + 0.2
    assert wire.arrival_s(10, 0.0) == pytest.approx(stalled)
    assert wire.arrival_s(10, 0.01) == pytest.approx(stalled)
    assert wire.arrival_s(10, 1.0) == pytest.approx(1.1)


def test_loss_is_of_segments() -> None:
    share = 1 - (1 - 0.01) ** 45
    just_lost = Wire(Conditions(loss=0.01), random=lambda: share - 1e-9)
    assert just_lost.arrival_s(45 * SEGMENT_BYTES, 0.0) == pytest.approx(STALL_S)
    just_not = Wire(Conditions(loss=0.01), random=lambda: share + 1e-9)
    assert just_not.arrival_s(45 * SEGMENT_BYTES, 0.0) == 0.0
    ends = Wire(Conditions(loss=0.9), random=lambda: 0.0)
    assert ends.arrival_s(0, 0.0) == 0.0


@pytest.mark.parametrize(
    ("delay_s", "loss", "bytes_per_s", "said"),
    [
        (-0.001, 0.0, None, "delay of -1 ms"),
        (61.0, 0.0, None, "delay"),
        (float("nan"), 0.0, None, "delay"),
        (0.0, -0.1, None, "loss"),
        (0.0, 0.91, None, "loss of 0.91"),
        (0.0, float("nan"), None, "loss"),
        (0.0, 0.0, 0.0, "bandwidth"),
        (0.0, 0.0, float("nan"), "bandwidth"),
    ],
)
def test_conditions_that_can_not_be(
    delay_s: float, loss: float, bytes_per_s: float | None, said: str
) -> None:
    with pytest.raises(CallerError, match=said):
        Conditions(delay_s, loss, bytes_per_s)
