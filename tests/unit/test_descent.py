"""How two ends find where their trees differ: turns, bounds, and what a hostile end may not do."""

from __future__ import annotations

import random

import pytest

from tests.unit.test_tree import colliding, leaf, tree
from weft_engine.limits import TREE_DIGESTS_PER_MESSAGE, TREE_LEVELS_MAX
from weft_engine.sync.end.regions.descent import Descent, levels_to_open
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.frames import decode_frame, encode
from weft_engine.sync.framing.messages import Branches
from weft_engine.sync.tree import ROOT, Tree, row_of

SALTS = bytes(range(16))


def facing(a: Tree, b: Tree, *, far: bool = True) -> tuple[Descent, Descent]:
    return (
        Descent(a, SALTS, leads=True, is_far=far),
        Descent(b, SALTS, leads=False, is_far=far),
    )


def descend(ends: tuple[Descent, Descent]) -> list[bytes]:
    """Until both are through; what was said."""
    said: list[bytes] = []
    for turn in range(1000):
        end, other = ends if turn % 2 == 0 else ends[::-1]
        message = end.next()
        if message is None:
            other.ended()
            break
        said.append(encode(message))
        decoded = decode_frame(said[-1])
        assert isinstance(decoded, Branches)
        other.receive(decoded)
        if end.is_over:
            assert other.next() is None
            break
    assert [end.is_over for end in ends] == [True, True]
    return said


def found(end: Descent, made: Tree) -> set[int]:
    """Rows."""
    rows = [row_of(one) for path in end.nodes for one in made.entries(path)]
    assert len({*rows, *end.rows}) == len(rows) + len(end.rows), "each is found once"
    return {*rows, *end.rows}


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("count", [1, 3, 40, 700, 6000])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.5, 1.0])
def test_each_finds_what_the_other_does_not_have(count: int, share: float, far: bool) -> None:
    rng = random.Random(count)
    ours, theirs = set(range(count)), set(range(count))
    versions = {}
    differ: tuple[set[int], set[int]] = (set(), set())
    for index in rng.sample(range(count), max(1, int(share * count))):
        kind = rng.randrange(3)
        if kind == 0:
            ours.discard(index)
            differ[1].add(index + 1)
        elif kind == 1:
            theirs.discard(index)
            differ[0].add(index + 1)
        else:
            versions[index] = 1
            differ[0].add(index + 1)
            differ[1].add(index + 1)
    a = tree(*(leaf(index) for index in ours))
    b = tree(*(leaf(index, versions.get(index, 0)) for index in theirs))
    ends = facing(a, b, far=far)
    if a.count and b.count:  # Otherwise nobody goes down.
        said = descend(ends)
        assert (found(ends[0], a), found(ends[1], b)) == differ
        for frame in said:
            assert len(frame) < 5 * (TREE_DIGESTS_PER_MESSAGE + (1 << TREE_LEVELS_MAX)) + 70_000


def test_many_differences_take_several_messages_and_none_is_large() -> None:
    a = tree(*(leaf(index) for index in range(30_000)))
    b = tree(*(leaf(index, 1) for index in range(30_000)))
    ends = facing(a, b)
    said = descend(ends)
    assert len(found(ends[0], a)) == len(found(ends[1], b)) == 30_000
    assert len(said) > 6
    assert max(map(len, said)) < 100_000


def test_names_with_one_key_are_compared_as_leaves() -> None:
    key = bytes(8)
    shared = [colliding(key, version, version) for version in range(1, 60)]
    a, b = tree(*shared, colliding(key, 100, 100)), tree(*shared, colliding(key, 200, 200))
    ends = facing(a, b)
    descend(ends)
    assert (list(ends[0].rows), list(ends[1].rows)) == ([100], [200])


def test_a_million_differences_are_told_by_their_node() -> None:
    """Where the other end has nothing, nobody goes further down."""
    a = tree(*(leaf(index) for index in range(3000)))
    b = tree(leaf(0))
    ends = facing(a, b)
    assert len(descend(ends)) <= 4
    assert found(ends[0], a) == set(range(2, 3001))


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_levels_stay_within_their_bounds(far: bool, dense: bool) -> None:
    for count in (1, 2, 3, 33, 1000, 10**6, 10**9):
        for nodes in (1, 100, 4096, 10**6):
            for depth in (0, 7, 48, 59, 60):
                levels = levels_to_open(count, depth=depth, nodes=nodes, dense=dense, far=far)
                assert 0 <= levels <= min(TREE_LEVELS_MAX, 60 - depth)


# ---- what a hostile end may not do ------------------------------------------------------------


def opened(levels: int, path: int = ROOT, *, more: bool = False) -> Branches:
    return Branches(((path, levels, b"\x01" * (5 << levels)),), (), (), more)


def fresh() -> tuple[Descent, Descent]:
    return facing(tree(*map(leaf, range(500))), tree(*map(leaf, range(400))))


def test_out_of_turn() -> None:
    leads, follows = fresh()
    with pytest.raises(ProtocolViolation, match="out of turn"):
        leads.receive(opened(1))
    follows.receive(opened(1))
    with pytest.raises(ProtocolViolation, match="out of turn"):
        follows.receive(opened(1, 2))


@pytest.mark.parametrize(
    "message",
    [
        opened(4, 5),  # nothing was said of that node
        Branches((), ((3, b""),), ()),
        Branches(((ROOT, 1, b"\x01" * 10), (ROOT, 1, b"\x01" * 10)), (), ()),  # twice
        Branches(((ROOT, 1, b"\x01" * 10),), ((ROOT, b""),), ()),
    ],
)
def test_what_answers_nothing(message: Branches) -> None:
    _, follows = fresh()
    with pytest.raises(ProtocolViolation, match="answers nothing"):
        follows.receive(message)


def test_a_node_that_was_answered_is_not_answered_again() -> None:
    leads, _ = fresh()
    first = leads.next()
    assert first is not None
    levels = first.opened[0][1]
    below = ROOT << levels
    leads.receive(opened(1, below, more=True))
    assert leads.next() is not None
    with pytest.raises(ProtocolViolation, match="answers nothing"):
        leads.receive(opened(1, below))


def test_leaves_that_were_not_told() -> None:
    _, follows = fresh()
    with pytest.raises(ProtocolViolation, match="lacking that were not told"):
        follows.receive(Branches((), (), ((ROOT, b"\x01" * 5),)))
    small = Descent(tree(*map(leaf, range(5))), SALTS, leads=True, is_far=True)
    assert small.next() is not None  # the list at once
    with pytest.raises(ProtocolViolation, match="lacking that was not told"):
        small.receive(Branches((), (), ((ROOT, b"\x01" * 5),)))


def test_an_end_comes_when_nothing_is_to_be_answered() -> None:
    leads, follows = fresh()
    with pytest.raises(ProtocolViolation, match="before its end"):
        leads.ended()  # It is our turn.
    follows.receive(opened(4, more=True))
    assert follows.next() is not None
    with pytest.raises(ProtocolViolation, match="before its end"):
        follows.ended()  # It has more.


def test_turns_with_an_end_that_only_has_more_are_passed_on() -> None:
    _, follows = fresh()
    follows.receive(Branches((), (), (), True))
    assert follows.next() == Branches((), (), (), False)
    follows.receive(Branches((), ((ROOT, b""),), ()))
    assert follows.next() is None
    assert follows.is_over
    assert len(follows.rows) == 400
