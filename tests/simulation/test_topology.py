from __future__ import annotations

import random

import pytest

from tests.simulation.topology import Shape, edges, parts

NAMES = ("a", "b", "c", "d", "e")
COUNTS = {Shape.FULL: 10, Shape.RING: 5, Shape.STAR: 4, Shape.LINE: 4}


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_shape_connects_all(shape: Shape, count: int) -> None:
    names = NAMES[:count]
    found = edges(shape, names, random.Random(1))
    assert len(set(found)) == len(found)
    assert [sorted(part) for part in parts(names, found)] == [list(names)]
    if count == 5 and shape in COUNTS:
        assert len(found) == COUNTS[shape]


def test_parts_are_told_apart() -> None:
    assert parts(NAMES, [("a", "c"), ("b", "d")]) == [["a", "c"], ["b", "d"], ["e"]]
