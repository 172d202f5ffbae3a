"""What is left to be announced: each once, in order, and what moves first."""

from __future__ import annotations

import random

import pytest

from tests.unit.test_tree import colliding, leaf, tree
from weft_engine.limits import CONTEXTS_PER_QUESTION
from weft_engine.sync.end.regions.unannounced import Unannounced
from weft_engine.sync.tree import ROOT, key_of, row_of

MADE = [leaf(index) for index in range(2000)]
ROWS = {key_of(one): row_of(one) for one in MADE}


def left_of(seed: int) -> tuple[Unannounced, set[int]]:
    """Leaves in one half of the tree, and a few nodes in the other; with the keys of all."""
    rng = random.Random(seed)
    made = tree(*MADE)
    low = sorted(key for key in ROWS if key < 1 << 63)
    some = rng.sample(low, 300)
    nodes = [0b1100, 0b11010, 0b111]
    below = {key_of(one) for path in nodes for one in made.entries(path)}
    return Unannounced(made, nodes, some, [ROWS[key] for key in some]), {*some, *below}


@pytest.mark.parametrize("seed", range(5))
def test_each_is_handed_out_once_and_what_is_hastened_next(seed: int) -> None:
    rng = random.Random(seed)
    left, wanted = left_of(seed)
    assert {key for key in ROWS if left.holds(key)} == wanted
    found: list[int] = []
    while not left.is_empty:
        key = rng.choice(list(ROWS))
        was_left = ROWS[key] not in found and key in wanted
        assert left.holds(key) == was_left
        assert left.hasten(key) == was_left
        rows = left.next(hastened_only=rng.random() < 0.3)
        assert not was_left or rows == [ROWS[key]]
        assert len(rows) <= CONTEXTS_PER_QUESTION
        assert all(left.holds(key) for key in wanted if ROWS[key] in rows), "not named yet"
        left.named()
        found += rows
    assert len(found) == len(set(found))
    assert set(found) == {ROWS[key] for key in wanted}


def test_they_go_in_the_order_of_their_keys() -> None:
    left, wanted = left_of(1)
    found: list[int] = []
    while not left.is_empty:
        found += left.next(hastened_only=False)
        left.named()
    order = sorted(wanted)
    assert found == [ROWS[key] for key in order]


def test_many_with_one_key_go_together() -> None:
    key = bytes(8)
    made = tree(*(colliding(key, row, row) for row in range(1, 200)), leaf(1))
    left = Unannounced(made, [ROOT], (), ())
    assert left.hasten(0)
    assert sorted(left.next(hastened_only=True)) == list(range(1, 200))
    left.named()
    assert not left.holds(0)
    assert left.next(hastened_only=False) == [row_of(leaf(1))]
