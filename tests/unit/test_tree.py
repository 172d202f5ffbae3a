"""The tree over contexts: a function of what is in it, whatever the order."""

from __future__ import annotations

import random

import pytest

from weft_engine.limits import TREE_DEPTH_MAX, TREE_LEAVES_MAX
from weft_engine.sync.tree import (
    EMPTY,
    ROOT,
    Salted,
    Tree,
    depth_of,
    entries_in,
    entry,
    key_of,
    row_of,
)

SALTED = Salted(bytes(range(16)))


def leaf(index: int, version: int = 0) -> bytes:
    return entry(f"acme/chat-{index}", version.to_bytes(32, "big"), index + 1)


def colliding(key: bytes, version: int, row: int) -> bytes:
    """A context whose name has this key."""
    return key + version.to_bytes(16, "big") + row.to_bytes(4, "big")


def tree(*entries: bytes) -> Tree:
    made = Tree()
    made.update(entries)
    return made


@pytest.mark.parametrize("count", [0, 1, TREE_LEAVES_MAX, TREE_LEAVES_MAX + 1, 3000])
def test_equal_sets_have_equal_values_whatever_the_order(count: int) -> None:
    rng = random.Random(count)
    entries = [leaf(index) for index in range(count)]
    at_once = tree(*entries)
    one_by_one = Tree()
    for one in rng.sample(entries, count):
        one_by_one.update([leaf(row_of(one) - 1, 7)])  # Another state of it, before.
        if rng.random() < 0.1:
            one_by_one.value()
        one_by_one.update([one])
    assert at_once.value() == one_by_one.value()
    assert at_once.count == one_by_one.count == count
    assert sorted(at_once.entries(ROOT)) == sorted(entries) == one_by_one.entries(ROOT)


def test_rows_are_no_part_of_the_value() -> None:
    """They are this store's own."""
    one = tree(*(entry(f"c/{i}", bytes(32), i + 1) for i in range(100)))
    other = tree(*(entry(f"c/{i}", bytes(32), 1000 - i) for i in range(100)))
    assert one.value() == other.value()


@pytest.mark.parametrize("count", [5, 40, 2000])
def test_nodes_at_any_depth_are_those_of_their_leaves(count: int) -> None:
    """Two trees that have the same leaves below a path have the same value there, whatever else
    they have."""
    rng = random.Random(count)
    shared = [leaf(index) for index in range(count)]
    ours = tree(*shared)
    theirs = tree(*shared, *(leaf(count + index) for index in range(10)))
    for depth in range(11):
        for bits in range(1 << depth):
            path = (1 << depth) + bits
            assert depth_of(path) == depth
            entries = ours.entries(path)
            assert len(entries) == ours.count_below(path)
            assert (ours.value(path) == EMPTY) == (not entries)
            if theirs.entries(path) == entries:
                assert theirs.value(path) == ours.value(path)
            else:
                assert theirs.value(path) != ours.value(path)
    for _ in range(60):
        depth, levels = rng.randrange(11), rng.randint(1, 8)
        path = (1 << depth) + rng.randrange(1 << depth)
        below = [ours.value((path << levels) + index) for index in range(1 << levels)]
        assert ours.values(path, levels) == below


def test_one_change_changes_the_values_on_its_way_only() -> None:
    made = tree(*(leaf(index) for index in range(5000)))
    before = made.values(ROOT, 8)
    made.update([leaf(77, 1)])
    after = made.values(ROOT, 8)
    assert [i for i in range(256) if before[i] != after[i]] == [leaf(77)[0]]
    made.update([leaf(77)])
    assert made.values(ROOT, 8) == before


@pytest.mark.parametrize("count", [2, TREE_LEAVES_MAX + 8])
def test_names_with_the_same_key_are_kept_apart(count: int) -> None:
    key = bytes(range(8))
    entries = [colliding(key, 100 + row, row) for row in range(1, count + 1)]
    rest = [leaf(1000 + index) for index in range(50)]
    one, other = tree(*rest, *entries), tree(*reversed(entries), *rest)
    assert one.value() == other.value()
    assert one.count == count + 50
    path = (1 << TREE_DEPTH_MAX) + (int.from_bytes(key, "big") >> (64 - TREE_DEPTH_MAX))
    assert {row_of(each) for each in one.entries(path)} >= set(range(1, count + 1))
    one.update([colliding(key, 5000, 1)])
    assert one.count == count + 50
    assert one.value() != other.value()
    other.update([colliding(key, 5000, 1)])
    assert one.value() == other.value()


def test_digests_are_salted_and_tell_where_nothing_is() -> None:
    value = tree(leaf(1)).value()
    assert SALTED.nodes([EMPTY, value])[:5] == bytes(5)
    assert SALTED.nodes([value]) != Salted(bytes(16)).nodes([value])
    assert SALTED.leaf(leaf(1)) != SALTED.leaf(leaf(1, 1))


def test_an_empty_tree() -> None:
    made = Tree()
    made.update([])
    assert made.value() == EMPTY
    assert made.values(ROOT, 4) == [EMPTY] * 16
    assert made.entries(ROOT) == []
    assert entries_in(b"") == []


def test_what_rests_since_a_mark() -> None:
    made = tree(*(leaf(index) for index in range(50)))
    first = made.mark()
    assert made.rests(first, 12) == [True] * 4096
    made.update([leaf(7, 1)])
    second = made.mark()
    made.update([leaf(8, 1), leaf(99)])

    def places(levels: int, *indices: int) -> set[int]:
        return {key_of(leaf(index)) >> 64 - levels for index in indices}

    for levels in (1, 5, 12):
        moved = {at for at, rests in enumerate(made.rests(first, levels)) if not rests}
        assert moved == places(levels, 7, 8, 99)
        moved = {at for at, rests in enumerate(made.rests(second, levels)) if not rests}
        assert moved == places(levels, 8, 99)
        assert all(made.rests(made.mark(), levels))
    assert made.value() == tree(*(leaf(i, int(i in (7, 8))) for i in (*range(50), 99))).value()
